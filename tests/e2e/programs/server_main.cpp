// e2e_server echo|banner|discard|silent: a small server that serves until it is told to stop.
// Room tests/e2e, no protocol section. SIGTERM ends it with status 0.
#include <poll.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <string>
#include <unordered_map>

#include "tests/e2e/programs/net.hpp"

namespace {

using namespace smcd::e2e;

constexpr const char* kBanner = "220 ready\r\n";
constexpr std::size_t kBacklogBytesMax = 1 << 20U;

// What the server does with a connection: banner and echo send, discard only reads.
struct Connection {
    std::string out; // accepted from the peer, not sent back yet
    bool input_end = false;
    unsigned interest = 0; // events now asked for
};

// SIGTERM, which is blocked from now on.
sigset_t stop_signal() {
    sigset_t stop;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    check(::sigprocmask(SIG_BLOCK, &stop, nullptr), "sigprocmask");
    return stop;
}

class Server {
public:
    Server(int listener, std::string mode)
        : listener_(listener), mode_(std::move(mode)),
          set_(check(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1")) {
        set_nonblocking(listener_, true);
        watch(listener_, EPOLLIN, EPOLL_CTL_ADD);
        const sigset_t stop = stop_signal();
        stop_ = check(::signalfd(-1, &stop, SFD_CLOEXEC), "signalfd");
        watch(stop_, EPOLLIN, EPOLL_CTL_ADD);
    }

    void run() {
        std::array<epoll_event, 64> events{};
        for (;;) {
            const int count =
                ::epoll_wait(set_, events.data(), static_cast<int>(events.size()), -1);
            if (count == -1 && errno == EINTR) {
                continue;
            }
            check(count, "epoll_wait");
            for (int i = 0; i < count; ++i) {
                const epoll_event& event = events[static_cast<std::size_t>(i)];
                if (event.data.fd == stop_) {
                    return;
                }
                if (event.data.fd == listener_) {
                    accept_all();
                } else {
                    serve(event.data.fd, event.events);
                }
            }
        }
    }

private:
    void watch(int fd, unsigned events, int operation) const {
        epoll_event event{};
        event.events = events;
        event.data.fd = fd;
        check(::epoll_ctl(set_, operation, fd, &event), "epoll_ctl");
    }

    void accept_all() {
        for (;;) {
            const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (fd == -1 && (errno == EINTR || errno == ECONNABORTED)) {
                continue;
            }
            if (fd == -1 && errno == EAGAIN) {
                return;
            }
            check(fd, "accept4");
            Connection& connection = connections_[fd];
            connection = Connection{};
            connection.out = mode_ == "banner" ? kBanner : "";
            connection.interest = EPOLLIN;
            watch(fd, EPOLLIN, EPOLL_CTL_ADD);
            settle(fd, connection);
        }
    }

    void serve(int fd, unsigned events) {
        const auto found = connections_.find(fd);
        if (found == connections_.end()) {
            return; // closed by an earlier event of this turn
        }
        Connection& connection = found->second;
        if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 && !receive(fd, connection)) {
            drop(fd);
            return;
        }
        settle(fd, connection);
    }

    // False if the connection broke.
    bool receive(int fd, Connection& connection) const {
        std::array<char, 65536> buffer{};
        while (connection.out.size() < kBacklogBytesMax && !connection.input_end) {
            const ssize_t got = ::recv(fd, buffer.data(), buffer.size(), 0);
            if (got == -1) {
                return errno == EAGAIN;
            }
            connection.input_end = got == 0;
            if (mode_ != "discard") {
                connection.out.append(buffer.data(), static_cast<std::size_t>(got));
            }
        }
        return true;
    }

    // Sends what it can, then asks for the events that are needed, or closes.
    void settle(int fd, Connection& connection) {
        while (!connection.out.empty()) {
            const ssize_t sent =
                ::send(fd, connection.out.data(), connection.out.size(), MSG_NOSIGNAL);
            if (sent == -1 && errno == EAGAIN) {
                break;
            }
            if (sent == -1) {
                drop(fd);
                return;
            }
            connection.out.erase(0, static_cast<std::size_t>(sent));
        }
        if (connection.out.empty() && connection.input_end) {
            drop(fd);
            return;
        }
        const bool full = connection.out.size() >= kBacklogBytesMax || connection.input_end;
        const unsigned wanted = (full ? 0U : static_cast<unsigned>(EPOLLIN)) |
                                (connection.out.empty() ? 0U : static_cast<unsigned>(EPOLLOUT));
        if (wanted != connection.interest) {
            connection.interest = wanted;
            watch(fd, wanted, EPOLL_CTL_MOD);
        }
    }

    void drop(int fd) {
        connections_.erase(fd);
        check(::close(fd), "close");
    }

    int listener_;
    std::string mode_;
    int set_;
    int stop_ = -1;
    std::unordered_map<int, Connection> connections_;
};

} // namespace

int main(int argc, char** argv) {
    const std::string mode = argc > 1 ? argv[1] : "";
    if (mode != "echo" && mode != "banner" && mode != "discard" && mode != "silent") {
        die("usage: e2e_server echo|banner|discard|silent [--host ADDRESS] [--port N]");
    }
    const auto port = static_cast<std::uint16_t>(number_option(argc, argv, "port", 0));
    const int listener = listen_on(option(argc, argv, "host", "127.0.0.1"), port, 4096);
    if (mode == "silent") { // listens and never accepts
        const sigset_t stop = stop_signal();
        announce_port(local_port(listener));
        int number = 0;
        return ::sigwait(&stop, &number);
    }
    Server server(listener, mode);
    announce_port(local_port(listener));
    server.run();
    return 0;
}
