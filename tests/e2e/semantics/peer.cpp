// The remote-controlled end of a pair: one text command in, one reply out.
// Room tests/e2e, no protocol section.
#include <fcntl.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <sstream>

#include "tests/e2e/programs/net.hpp"
#include "tests/e2e/semantics/harness.hpp"

extern char** environ; // NOLINT(readability-redundant-declaration): glibc hides it in strict mode

namespace smcd::e2e {
namespace {

constexpr std::size_t kMessageBytesMax = 4096;

// The n-th byte that a peer sends: letters, so that a text shows what was lost.
char letter(std::size_t n) {
    return static_cast<char>('a' + n % 26);
}

class Actor {
public:
    // Performs one command, e.g. "send 5".
    std::string perform(const std::string& command) {
        std::istringstream words(command);
        std::string name;
        std::string value;
        std::string more;
        words >> name >> value >> more;
        if (name == "asleep") {
            wait_asleep(std::stoi(value), std::stoi(more));
            return "ok";
        }
        if (name == "recv" || name == "drain") {
            return receive(name == "drain" ? SIZE_MAX : std::stoull(value));
        }
        if (name == "send") {
            return send_letters(std::stoull(value));
        }
        if (name == "fill") {
            return fill(fd()) > 0 ? "filled" : "nothing";
        }
        if (name == "oob") {
            return text_of(::send(fd(), value.data(), 1, MSG_OOB | MSG_NOSIGNAL));
        }
        return perform_state(name, value);
    }

private:
    [[nodiscard]] int fd() const { return sockets_.at(current_); }

    void add(int fd) {
        sockets_.push_back(fd);
        current_ = sockets_.size() - 1;
    }

    static std::string text_of(ssize_t result) {
        return result == -1 ? ::strerrorname_np(errno) : std::to_string(result);
    }

    std::string perform_state(const std::string& name, const std::string& value) {
        if (name == "listen") {
            listener_ = listen_on("127.0.0.1", 0, 8);
            return std::to_string(local_port(listener_));
        }
        if (name == "connect") {
            add(connect_to("127.0.0.1", static_cast<std::uint16_t>(std::stoi(value))));
            return "ok";
        }
        if (name == "accept") {
            add(accept_one(listener_));
            ::close(listener_);
            return "ok";
        }
        if (name == "use") {
            current_ = std::stoull(value);
            return "ok";
        }
        if (name == "shutdown") {
            const int how = value == "rd" ? SHUT_RD : value == "wr" ? SHUT_WR : SHUT_RDWR;
            return text_of(::shutdown(fd(), how));
        }
        if (name == "reset") {
            const linger value_now{1, 0};
            ::setsockopt(fd(), SOL_SOCKET, SO_LINGER, &value_now, sizeof value_now);
            return text_of(::close(fd()));
        }
        if (name == "close") {
            return text_of(::close(fd()));
        }
        if (name == "kill") {
            ::kill(std::stoi(value), SIGKILL);
            return "ok";
        }
        die("unknown peer command %s", name.c_str());
    }

    // Until `size` bytes, the end or an error: short contents as text, long ones as a count.
    std::string receive(std::size_t size) {
        std::string text;
        std::string how = "full";
        while (text.size() < size) {
            std::array<char, 65536> buffer{};
            const std::size_t want = std::min(buffer.size(), size - text.size());
            const ssize_t got = ::recv(fd(), buffer.data(), want, 0);
            if (got <= 0) {
                how = got == 0 ? "end" : ::strerrorname_np(errno);
                break;
            }
            text.append(buffer.data(), static_cast<std::size_t>(got));
        }
        const std::string shown = text.size() > 64 ? std::to_string(text.size()) : "'" + text + "'";
        return shown + " " + how;
    }

    std::string send_letters(std::size_t size) {
        std::string text(size, ' ');
        for (char& byte : text) {
            byte = letter(sent_++);
        }
        std::size_t done = 0;
        while (done < size) {
            const ssize_t part = ::send(fd(), text.data() + done, size - done, MSG_NOSIGNAL);
            if (part == -1) {
                return ::strerrorname_np(errno);
            }
            done += static_cast<std::size_t>(part);
        }
        return "sent";
    }

    int listener_ = -1;
    std::vector<int> sockets_;
    std::size_t current_ = 0;
    std::size_t sent_ = 0;
};

} // namespace

void serve_peer(int control) {
    Actor actor;
    for (;;) {
        std::array<char, kMessageBytesMax> text{};
        const ssize_t size = ::recv(control, text.data(), text.size() - 1, 0);
        if (size <= 0) {
            break;
        }
        std::istringstream commands(text.data());
        std::string command;
        std::string reply;
        while (std::getline(commands, command, ';')) {
            const std::string part = actor.perform(command);
            reply += (reply.empty() || part == "ok" ? "" : ", ") + (part == "ok" ? "" : part);
        }
        reply = reply.empty() ? "ok" : reply;
        ::send(control, reply.data(), reply.size(), MSG_NOSIGNAL);
    }
    ::close(control);
}

Peer::Peer(bool in_process) {
    std::array<int, 2> ends{};
    check(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()), "socketpair");
    control_ = ends[0];
    if (in_process) {
        thread_ = std::thread(serve_peer, ends[1]);
        return;
    }
    check(::fcntl(ends[1], F_SETFD, 0), "F_SETFD");
    std::string path = "/proc/self/exe";
    std::string mode = "peer";
    std::string number = std::to_string(ends[1]);
    std::array<char*, 4> arguments = {path.data(), mode.data(), number.data(), nullptr};
    const int failed =
        ::posix_spawn(&process_, path.c_str(), nullptr, nullptr, arguments.data(), environ);
    if (failed != 0) {
        die("posix_spawn: %s", std::strerror(failed));
    }
    ::close(ends[1]);
}

Peer::~Peer() {
    ::shutdown(control_, SHUT_RDWR);
    ::close(control_);
    if (thread_.joinable()) {
        thread_.join();
    } else {
        ::waitpid(process_, nullptr, 0);
    }
}

std::string Peer::run(const std::string& commands) {
    post(commands);
    return reply();
}

void Peer::post(const std::string& commands) {
    if (::send(control_, commands.data(), commands.size(), MSG_NOSIGNAL) == -1) {
        die_errno("peer command");
    }
}

std::string Peer::reply() {
    std::array<char, kMessageBytesMax> text{};
    ssize_t size = -1;
    do {
        size = ::recv(control_, text.data(), text.size() - 1, 0);
    } while (size == -1 && errno == EINTR);
    if (size <= 0) {
        die("the peer left");
    }
    return text.data();
}

} // namespace smcd::e2e
