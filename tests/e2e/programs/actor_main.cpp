// e2e_actor OP...: performs socket operations in the order of its arguments and prints what came
// back, so that a test in another language can script a program that runs under the library.
// Room tests/e2e, no protocol section.
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "tests/e2e/programs/net.hpp"
#include "tests/e2e/programs/pattern.hpp"

namespace {

using namespace smcd::e2e;

constexpr std::uint64_t kSeed = 77;

// The connections in order of their opening; operations use the newest unless "use:N" came before.
struct Actor {
    int listener = -1;
    std::vector<int> sockets;
    std::size_t current = 0;
    std::uint64_t sent = 0;     // pattern bytes, in sending order over all sockets
    std::uint64_t received = 0; // pattern bytes checked

    [[nodiscard]] int fd() const { return sockets.at(current); }

    void add(int fd) {
        sockets.push_back(fd);
        current = sockets.size() - 1;
    }
};

const char* error_name(int error) {
    return ::strerrorname_np(error);
}

void report(const char* what, ssize_t result) {
    if (result == -1) {
        std::printf("%s -1 %s\n", what, error_name(errno));
    } else {
        std::printf("%s %zd\n", what, result);
    }
    std::fflush(stdout);
}

// Printable characters as they are, the rest as \xNN: one line for whatever arrived.
std::string printable(const std::string& bytes) {
    std::string text;
    for (const char byte : bytes) {
        if (byte >= ' ' && byte <= '~' && byte != '\\') {
            text += byte;
            continue;
        }
        std::array<char, 8> hex{};
        std::snprintf(hex.data(), hex.size(), "\\x%02x", static_cast<unsigned>(byte) & 0xffU);
        text += hex.data();
    }
    return text;
}

void send_all(int fd, const char* data, std::size_t size) {
    while (size > 0) {
        const ssize_t part = ::send(fd, data, size, MSG_NOSIGNAL);
        if (part == -1) {
            report("sent", -1);
            return;
        }
        data += part;
        size -= static_cast<std::size_t>(part);
    }
    std::puts("sent");
    std::fflush(stdout);
}

void send_pattern(Actor& actor, std::size_t size) {
    std::vector<char> data(size);
    pattern_fill(data.data(), size, kSeed, actor.sent);
    actor.sent += size;
    send_all(actor.fd(), data.data(), size);
}

// Until `size` bytes, the end of the stream or an error: "received TEXT", "end" or an errno name.
void receive_text(int fd, std::size_t size) {
    std::string text;
    ssize_t got = 1;
    while (text.size() < size && got > 0) {
        std::array<char, 4096> buffer{};
        got = ::recv(fd, buffer.data(), std::min(buffer.size(), size - text.size()), 0);
        if (got > 0) {
            text.append(buffer.data(), static_cast<std::size_t>(got));
        }
    }
    const char* why = got > 0 ? "full" : got == 0 ? "end" : error_name(errno);
    std::printf("received %s %s\n", why, printable(text).c_str());
    std::fflush(stdout);
}

// The same for the pattern: "pattern N full|end|ERRNO", or a failure at the first wrong byte.
void receive_pattern(Actor& actor, std::uint64_t size) {
    std::vector<char> buffer(65536);
    std::uint64_t done = 0;
    ssize_t got = 1;
    while (done < size && got > 0) {
        const std::size_t want = std::min<std::uint64_t>(buffer.size(), size - done);
        got = ::recv(actor.fd(), buffer.data(), want, 0);
        if (got <= 0) {
            break;
        }
        const auto count = static_cast<std::size_t>(got);
        const std::size_t at = pattern_mismatch(buffer.data(), count, kSeed, actor.received);
        if (at != count) {
            die("wrong byte %llu", static_cast<unsigned long long>(actor.received + at));
        }
        done += count;
        actor.received += count;
    }
    const char* why = got > 0 ? "full" : got == 0 ? "end" : error_name(errno);
    std::printf("pattern %llu %s\n", static_cast<unsigned long long>(done), why);
    std::fflush(stdout);
}

// Sends without waiting until EAGAIN: "filled N" with the bytes accepted.
void fill(Actor& actor) {
    std::vector<char> data(65536);
    std::uint64_t total = 0;
    for (;;) {
        pattern_fill(data.data(), data.size(), kSeed, actor.sent);
        const ssize_t part =
            ::send(actor.fd(), data.data(), data.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (part == -1) {
            break;
        }
        actor.sent += static_cast<std::uint64_t>(part);
        total += static_cast<std::uint64_t>(part);
    }
    std::printf("filled %llu %s\n", static_cast<unsigned long long>(total), error_name(errno));
    std::fflush(stdout);
}

void await_line() {
    std::array<char, 256> line{};
    if (std::fgets(line.data(), static_cast<int>(line.size()), stdin) == nullptr) {
        die("standard input ended");
    }
}

void shut_down(int fd, const std::string& how) {
    const int value = how == "rd" ? SHUT_RD : how == "wr" ? SHUT_WR : SHUT_RDWR;
    report("shutdown", ::shutdown(fd, value));
}

void set_linger_zero(int fd) {
    const linger value{1, 0};
    check(::setsockopt(fd, SOL_SOCKET, SO_LINGER, &value, sizeof value), "SO_LINGER");
}

// Returns false if `main` is to return.
bool leave(const std::string& how) {
    std::fflush(stdout);
    if (how == "exit") {
        std::exit(0);
    }
    if (how == "_exit") {
        ::_exit(0);
    }
    if (how == "exec") {
        ::execl("/bin/true", "true", static_cast<char*>(nullptr));
        die_errno("exec");
    }
    if (how == "kill") {
        ::raise(SIGKILL);
    }
    return false;
}

void wait_readable(int fd) {
    pollfd wait{fd, POLLIN, 0};
    report("readable", ::poll(&wait, 1, -1));
}

// "connected M.MMM": milliseconds that connect() took, so that a driver can compare.
void open_connection(Actor& actor, const std::string& port) {
    const double start = now_s();
    actor.add(connect_to("127.0.0.1", static_cast<std::uint16_t>(parse_number(port))));
    std::printf("connected %.3f\n", (now_s() - start) * 1e3);
    std::fflush(stdout);
}

// Opens `count` connections to an echo server, uses each once, then waits in epoll_wait() or
// poll() on all of them until a line comes on standard input; nothing else may come.
void hold(const std::string& port, std::size_t count, bool use_epoll) {
    std::vector<pollfd> waits = {
        {STDIN_FILENO, POLLIN, 0}
    };
    const int set = check(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
    for (std::size_t i = 0; i < count; ++i) {
        const int fd = connect_to("127.0.0.1", static_cast<std::uint16_t>(parse_number(port)));
        char byte = 'x';
        check(static_cast<int>(::send(fd, &byte, 1, MSG_NOSIGNAL)), "send");
        check(static_cast<int>(::recv(fd, &byte, 1, 0)), "recv");
        waits.push_back({fd, POLLIN, 0});
    }
    for (const pollfd& wait : waits) {
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.fd = wait.fd;
        check(::epoll_ctl(set, EPOLL_CTL_ADD, wait.fd, &event), "epoll_ctl");
    }
    std::puts("holding");
    std::fflush(stdout);
    epoll_event event{};
    if (use_epoll) {
        check(::epoll_wait(set, &event, 1, -1), "epoll_wait");
    } else {
        check(::poll(waits.data(), waits.size(), -1), "poll");
        event.data.fd = waits[0].revents != 0 ? STDIN_FILENO : -1;
    }
    if (event.data.fd != STDIN_FILENO) {
        die("an idle connection woke the program");
    }
    std::puts("woken");
    std::fflush(stdout);
}

bool perform_socket(Actor& actor, const std::string& name, const std::string& value) {
    if (name == "listen") {
        actor.listener = listen_on("127.0.0.1", 0, value.empty() ? 1024 : std::stoi(value));
        announce_port(local_port(actor.listener));
    } else if (name == "accept") {
        actor.add(accept_one(actor.listener));
        std::puts("accepted");
        std::fflush(stdout);
    } else if (name == "connect") {
        open_connection(actor, value);
    } else if (name == "hold-epoll" || name == "hold-poll") {
        const std::size_t comma = value.find(',');
        hold(value.substr(0, comma), parse_number(value.substr(comma + 1)), name == "hold-epoll");
    } else if (name == "use") {
        actor.current = parse_number(value);
    } else if (name == "close") {
        report("close", ::close(actor.fd()));
    } else if (name == "close-listener") {
        report("close-listener", ::close(actor.listener));
    } else if (name == "shutdown") {
        shut_down(actor.fd(), value);
    } else if (name == "linger0") {
        set_linger_zero(actor.fd());
    } else {
        return false;
    }
    return true;
}

bool perform_transfer(Actor& actor, const std::string& name, const std::string& value) {
    if (name == "send") {
        send_all(actor.fd(), value.data(), value.size());
    } else if (name == "pattern-send") {
        send_pattern(actor, parse_number(value));
    } else if (name == "recv") {
        receive_text(actor.fd(), parse_number(value));
    } else if (name == "timed-recv") {
        const double start = now_s();
        receive_text(actor.fd(), parse_number(value));
        std::printf("timed %.3f\n", (now_s() - start) * 1e3);
    } else if (name == "recv-all") {
        receive_text(actor.fd(), SIZE_MAX);
    } else if (name == "pattern-recv") {
        receive_pattern(actor, parse_number(value));
    } else if (name == "fill") {
        fill(actor);
    } else if (name == "readable") {
        wait_readable(actor.fd());
    } else {
        return false;
    }
    return true;
}

} // namespace

int main(int argc, char** argv) {
    Actor actor;
    for (int i = 1; i < argc; ++i) {
        const std::string word = argv[i];
        const std::size_t colon = word.find(':');
        const std::string name = word.substr(0, colon);
        const std::string value = colon == std::string::npos ? "" : word.substr(colon + 1);
        if (name == "leave") {
            if (!leave(value)) {
                return 0;
            }
        } else if (name == "go") {
            await_line();
        } else if (name == "say") {
            std::puts(value.c_str());
            std::fflush(stdout);
        } else if (!perform_socket(actor, name, value) && !perform_transfer(actor, name, value)) {
            die("unknown operation %s", word.c_str());
        }
    }
    return 0;
}
