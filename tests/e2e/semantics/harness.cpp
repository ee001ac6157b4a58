// Socket semantics as text: the context of a case and its helpers.
// Room tests/e2e, no protocol section.
#include "tests/e2e/semantics/harness.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "tests/e2e/programs/net.hpp"

namespace smcd::e2e {
namespace {

constexpr int kWatchdogMs = 8000;

std::atomic<int> sigpipes{0}; // a signal handler has nothing else to write to

struct Bit {
    unsigned value;
    const char* name;
};

constexpr std::array kBits = {
    Bit{POLLIN,    "IN"   },
    Bit{POLLPRI,   "PRI"  },
    Bit{POLLOUT,   "OUT"  },
    Bit{POLLERR,   "ERR"  },
    Bit{POLLHUP,   "HUP"  },
    Bit{POLLNVAL,  "NVAL" },
    Bit{POLLRDHUP, "RDHUP"},
};

} // namespace

std::string mask_names(unsigned revents) {
    std::string names;
    for (const Bit& bit : kBits) {
        if ((revents & bit.value) != 0) {
            names += (names.empty() ? "" : "|") + std::string(bit.name);
            revents &= ~bit.value;
        }
    }
    if (revents != 0) {
        names += "|other";
    }
    return names.empty() ? "none" : names;
}

int take_sigpipes() {
    return sigpipes.exchange(0);
}

void install_sigpipe_counter() {
    struct sigaction action {};

    action.sa_handler = [](int) { sigpipes.fetch_add(1); };
    check(::sigaction(SIGPIPE, &action, nullptr), "sigaction");
}

constexpr int kSettleMs = 300;

ssize_t fill(int fd) {
    const std::vector<char> chunk(65536, 'f');
    ssize_t total = 0;
    bool settled = false;
    for (;;) {
        const ssize_t sent = ::send(fd, chunk.data(), chunk.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent != -1) {
            total += sent;
        } else if (settled) {
            return total;
        } else {
            // Full means that it stays full: buffers may still grow while a connection is young.
            pollfd space{fd, POLLOUT, 0};
            settled = ::poll(&space, 1, kSettleMs) == 0;
        }
    }
}

void wait_asleep(pid_t pid, pid_t tid) {
    const std::string path =
        "/proc/" + std::to_string(pid) + "/task/" + std::to_string(tid) + "/stat";
    const double end = now_s() + kWatchdogMs * 1e-3;
    int seen = 0;
    while (seen < 3 && now_s() < end) {
        std::ifstream file(path);
        std::string text;
        std::getline(file, text);
        const std::size_t at = text.rfind(')');
        const bool sleeps = at != std::string::npos && at + 2 < text.size() && text[at + 2] == 'S';
        seen = sleeps ? seen + 1 : 0;
        ::poll(nullptr, 0, 1); // no event tells that a thread sleeps
    }
}

std::jthread when_caller_sleeps(void (*action)(void*), void* argument) {
    const pid_t tid = static_cast<pid_t>(::syscall(SYS_gettid));
    return std::jthread([=] {
        wait_asleep(::getpid(), tid);
        action(argument);
    });
}

Context::Context(std::string name, const Settings& settings)
    : name_(std::move(name)), settings_(settings), peer_(settings.in_process) {}

int Context::open() {
    int fd = -1;
    if (settings_.server) {
        const int listener = listen_on("127.0.0.1", 0, 8);
        peer_.run("connect " + std::to_string(local_port(listener)));
        fd = accept_one(listener);
        ::close(listener);
    } else {
        const std::string port = peer_.run("listen");
        fd = connect_to("127.0.0.1", static_cast<std::uint16_t>(std::stoi(port)));
        peer_.run("accept");
    }
    if (settings_.warm) {
        char byte = 'w';
        ::send(fd, &byte, 1, MSG_NOSIGNAL);
        peer_.run("recv 1; send 1");
        ::recv(fd, &byte, 1, 0);
    }
    peer_.run("use " + std::to_string(connections_));
    ++connections_;
    return fd;
}

void Context::say(const char* format, ...) const {
    std::array<char, 1024> text{};
    std::va_list args;
    va_start(args, format);
    std::vsnprintf(text.data(), text.size(), format, args);
    va_end(args);
    std::printf("%s: %s\n", name_.c_str(), text.data());
    std::fflush(stdout);
}

void Context::result(const char* what, ssize_t value) const {
    if (value == -1) {
        say("%s -> -1 %s", what, ::strerrorname_np(errno));
    } else {
        say("%s -> %zd", what, value);
    }
}

void Context::mask(const char* what, int revents) const {
    say("%s: %s", what, mask_names(static_cast<unsigned>(revents) & 0xffffU).c_str());
}

void Context::await(int fd, int events) const {
    pollfd wait{fd, static_cast<short>(events), 0};
    int ready = -1;
    do {
        ready = ::poll(&wait, 1, kWatchdogMs);
    } while (ready == -1 && errno == EINTR);
    if (ready != 1) {
        say("WATCHDOG: no event like %s", mask_names(static_cast<unsigned>(events)).c_str());
    }
}

void Context::poll_now(const char* what, int fd) const {
    pollfd wait{fd, POLLIN | POLLOUT | POLLPRI | POLLRDHUP, 0};
    const int count = ::poll(&wait, 1, 0);
    if (count == -1) {
        result(what, -1);
        return;
    }
    mask(what, wait.revents);
}

void Context::receive(int fd, std::size_t size, int flags) const {
    std::vector<char> buffer(size + 1);
    const ssize_t got = ::recv(fd, buffer.data(), size, flags);
    if (got > 0 && got <= 64) {
        say("recv(%zu) -> %zd '%.*s'", size, got, static_cast<int>(got), buffer.data());
    } else {
        result("recv", got);
    }
}

std::string Context::when_asleep() {
    return "asleep " + std::to_string(::getpid()) + " " + std::to_string(::syscall(SYS_gettid)) +
           "; ";
}

} // namespace smcd::e2e
