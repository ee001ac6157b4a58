// e2e_many serve|connect: many connections in one epoll set, few of them busy, each time others.
// Room tests/e2e, no protocol section. Every message must be answered: a lost wake-up is a hang.
//
// serve: any number of threads wait on one set, which has the listener in it, too; level, edge or
// one-shot. connect: keeps `--inflight` requests under way on connections chosen at random, closes
// some and opens others, and pauses at times, so that either side falls asleep.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/e2e/programs/net.hpp"

namespace {

using namespace smcd::e2e;

constexpr std::uint64_t kLast = ~0ULL; ///< request: the server ends with its last connection

struct Message {
    std::uint64_t number = 0;
    std::uint64_t check = 0;
};

void control(int set, int operation, int fd, std::uint32_t events) {
    epoll_event event{};
    event.events = events;
    event.data.fd = fd;
    check(::epoll_ctl(set, operation, fd, &event), "epoll_ctl");
}

/// One message, which always comes as a whole. 0: the end; -1: nothing there.
int take(int fd, Message& message) {
    const ssize_t n = ::recv(fd, &message, sizeof(message), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return -1;
    }
    if (n < 0 && errno != ECONNRESET) {
        die_errno("recv");
    }
    if (n > 0 && n != sizeof(message)) {
        die("%zd bytes of a message, the first is 0x%02x",
            n,
            static_cast<unsigned>(message.number & 0xFFU));
    }
    return n > 0 ? 1 : 0;
}

void put(int fd, const Message& message) {
    if (::send(fd, &message, sizeof(message), MSG_NOSIGNAL) != sizeof(message)) {
        die_errno("send");
    }
}

struct Server {
    int set = -1;
    int listener = -1;
    int end = -1; ///< eventfd: readable for good once all is over
    std::uint32_t mode = 0;
    std::atomic<int> open{0};
    std::atomic<bool> last{false};

    void accept_all() {
        for (;;) {
            const int fd = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK);
            if (fd < 0) {
                return;
            }
            ++open;
            control(set, EPOLL_CTL_ADD, fd, EPOLLIN | mode);
        }
    }

    void leave(int fd) {
        ::close(fd);
        if (--open == 0 && last) {
            check(::eventfd_write(end, 1), "eventfd_write");
        }
    }

    void serve(int fd) {
        for (;;) {
            Message message;
            const int got = take(fd, message);
            if (got == 0) {
                leave(fd);
                return;
            }
            if (got > 0) {
                last = last || message.number == kLast;
                put(fd, message);
            }
            if (got < 0 || (mode & EPOLLET) == 0) {
                break;
            }
        }
        if ((mode & EPOLLONESHOT) != 0) {
            control(set, EPOLL_CTL_MOD, fd, EPOLLIN | mode);
        }
    }

    void run() {
        std::array<epoll_event, 8> events{};
        for (;;) {
            const int n = ::epoll_wait(set, events.data(), events.size(), -1);
            if (n < 0 && errno != EINTR) {
                die_errno("epoll_wait");
            }
            for (int i = 0; i < n; ++i) {
                const int fd = events[static_cast<std::size_t>(i)].data.fd;
                if (fd == end) {
                    return;
                }
                fd == listener ? accept_all() : serve(fd);
            }
        }
    }
};

int serve(int argc, char** argv) {
    Server server;
    const std::string mode = option(argc, argv, "mode", "level");
    server.mode = mode == "edge" ? std::uint32_t{EPOLLET} : mode == "oneshot" ? EPOLLONESHOT : 0U;
    server.listener = listen_on("127.0.0.1", 0, 4096);
    server.end = check(::eventfd(0, EFD_NONBLOCK), "eventfd");
    server.set = check(::epoll_create1(0), "epoll_create1");
    set_nonblocking(server.listener, true);
    control(server.set, EPOLL_CTL_ADD, server.listener, EPOLLIN);
    control(server.set, EPOLL_CTL_ADD, server.end, EPOLLIN);
    announce_port(local_port(server.listener));
    std::vector<std::thread> threads;
    for (std::uint64_t i = 1; i < number_option(argc, argv, "threads", 1); ++i) {
        threads.emplace_back([&server] { server.run(); });
    }
    server.run();
    for (std::thread& thread : threads) {
        thread.join();
    }
    return 0;
}

class Client {
public:
    Client(std::uint16_t port, std::uint64_t seed) : port_(port), random_(seed) {}

    void open(std::uint64_t count) {
        for (std::uint64_t i = 0; i < count; ++i) {
            open_one();
        }
    }

    void run(std::uint64_t inflight, std::uint64_t rounds) {
        std::array<epoll_event, 32> events{};
        std::uint64_t asked = 0;
        for (; asked < std::min(inflight, rounds); ++asked) {
            ask(asked);
        }
        for (std::uint64_t answered = 0; answered < rounds;) {
            const int n = ::epoll_wait(set_, events.data(), events.size(), -1);
            if (n < 0 && errno != EINTR) {
                die_errno("epoll_wait");
            }
            for (int i = 0; i < n; ++i) {
                answered += on_answer(events[static_cast<std::size_t>(i)].data.fd) ? 1 : 0;
            }
            for (; asked < rounds && asked < answered + inflight; ++asked) {
                ask(asked);
            }
        }
        std::printf("answered %llu\n", static_cast<unsigned long long>(rounds));
    }

    void close_all() {
        const Message message{kLast, 0};
        put(idle_.back(), message);
        Message answer;
        while (take(idle_.back(), answer) < 0) {
            std::this_thread::yield();
        }
        for (const int fd : idle_) {
            ::close(fd);
        }
    }

private:
    void open_one() {
        const int fd = connect_to("127.0.0.1", port_);
        expected_.resize(std::max<std::size_t>(expected_.size(), static_cast<std::size_t>(fd) + 1));
        control(set_, EPOLL_CTL_ADD, fd, EPOLLIN);
        idle_.push_back(fd);
    }

    void ask(std::uint64_t number) {
        if (random_() % 16 == 0) {
            // The server has time to fall asleep.
            const timespec pause{0, static_cast<long>(random_() % 100'000)};
            ::nanosleep(&pause, nullptr);
        }
        const std::size_t at = random_() % idle_.size();
        std::swap(idle_[at], idle_.back());
        const int fd = idle_.back();
        idle_.pop_back();
        if (random_() % 64 == 0) {
            ::close(fd);
            open_one();
            ask(number);
            return;
        }
        Message& message = expected_[static_cast<std::size_t>(fd)];
        message = {number, random_()};
        put(fd, message);
    }

    bool on_answer(int fd) {
        Message message;
        const int got = take(fd, message);
        if (got == 0) {
            die("the server has closed");
        }
        if (got < 0) {
            return false;
        }
        const Message& expected = expected_[static_cast<std::size_t>(fd)];
        if (message.number != expected.number || message.check != expected.check) {
            die("a wrong answer");
        }
        idle_.push_back(fd);
        return true;
    }

    std::uint16_t port_;
    std::mt19937_64 random_;
    int set_ = check(::epoll_create1(0), "epoll_create1");
    std::vector<int> idle_;
    std::vector<Message> expected_; ///< by descriptor
};

int connect(int argc, char** argv) {
    const auto port = static_cast<std::uint16_t>(number_option(argc, argv, "port", 0));
    Client client(port, number_option(argc, argv, "seed", 1));
    client.open(number_option(argc, argv, "conns", 400));
    std::printf("opened\n");
    std::fflush(stdout);
    client.run(number_option(argc, argv, "inflight", 8),
               number_option(argc, argv, "rounds", 20000));
    client.close_all();
    return 0;
}

} // namespace

int main(int argc, char** argv) {
    allow_descriptors();
    const std::string role = argc > 1 ? argv[1] : "";
    if (role == "serve") {
        return serve(argc, argv);
    }
    return role == "connect" ? connect(argc, argv) : 2;
}
