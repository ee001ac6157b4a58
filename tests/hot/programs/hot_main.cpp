// hot: steady state in a program of its own, to be looked at from outside. tests/hot/*_test.py
//
//   hot serve|connect:PORT [--connections N] [--cpu N] [--profile NAME] MODE
//
// MODE pingpong|stream|poll|select [--messages N] [--warmup N] [--strict none|wakes|all] [--stray]:
// messages of 64 B; both ends print what the messages behind the warm-up have cost. A server
// receives first; poll and select wait for each message by that call. --stray: one forbidden call
// in the middle.
//
// MODE script: obeys lines of standard input, each answered by "done". send K, recv K: K messages
// of 64 B on the first connection. poll K, select K, epoll K: K looks at all connections. Each in a
// function hot_WORD, for callgrind.
// child 0|1: a child that is killed at once, or stays.
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/wait.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <iostream>
#include <string>
#include <string_view>

#include "tests/hot/programs/endpoint.hpp"
#include "tests/hot/programs/strict.hpp"

namespace smcd::hot {
namespace {

constexpr std::size_t kMessage = 64;
constexpr int kExitOnTcp = 3;
constexpr int kExitNoSeccomp = 4;
using Message = std::array<char, kMessage>;

struct Plan {
    bool serves = false;
    std::uint16_t port = 0;
    int connections = 1;
    std::string_view mode;
    long messages = 1000;
    long warmup = 1000;
    Strict strict = Strict::none;
    bool stray = false;
    const char* profile = nullptr; ///< of the socket itself
};

void pin(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<unsigned>(cpu), &set);
    if (::sched_setaffinity(0, sizeof(set), &set) != 0) {
        die("sched_setaffinity");
    }
}

std::vector<Handle> open_all(const Plan& plan) {
    std::vector<Handle> all;
    if (!plan.serves) {
        for (int i = 0; i < plan.connections; ++i) {
            all.push_back(connect_to(plan.port, plan.profile));
        }
    } else {
        Handle listener = open_listener(plan.profile);
        std::printf("port %d\n", port_of(fd_of(listener)));
        std::fflush(stdout);
        for (int i = 0; i < plan.connections; ++i) {
            all.push_back(accept_one(listener));
        }
    }
    return all;
}

/// A few bytes each way on each: by then the verdict is known.
void settle(const Plan& plan, const std::vector<Handle>& all) {
    Message message{};
    for (Handle sock : all) {
        for (int i = 0; i < 40; ++i) {
            if (plan.serves) {
                receive_all(sock, message.data(), kMessage);
            }
            send_all(sock, message.data(), kMessage);
            if (!plan.serves) {
                receive_all(sock, message.data(), kMessage);
            }
        }
        if (is_on_tcp(sock, 20 * kMessage)) {
            std::puts("on TCP");
            std::exit(kExitOnTcp);
        }
    }
}

#ifdef SMCD_HOT_LIBRARY
void wait_by(std::string_view mode, Handle sock) {
    smcd_pollfd entry{sock, -1, POLLIN, 0};
    if (mode == "poll" && ::smcd_poll(&entry, 1, -1) != 1) {
        die("smcd_poll");
    }
}
#else
void wait_by(std::string_view mode, Handle fd) {
    pollfd entry{fd, POLLIN, 0};
    if (mode == "poll" && ::poll(&entry, 1, -1) != 1) {
        die("poll");
    }
    if (mode == "select") {
        fd_set in;
        FD_ZERO(&in);
        FD_SET(fd, &in);
        if (::select(fd + 1, &in, nullptr, nullptr, nullptr) != 1) {
            die("select");
        }
    }
}
#endif

void ping_pong(const Plan& plan, Handle sock, long count) {
    Message message{};
    for (long i = 0; i < count; ++i) {
        if (!plan.serves) {
            send_all(sock, message.data(), kMessage);
        }
        wait_by(plan.mode, sock);
        receive_all(sock, message.data(), kMessage);
        if (plan.serves) {
            send_all(sock, message.data(), kMessage);
        }
    }
}

void stream(const Plan& plan, Handle sock, long count) {
    Message message{};
    for (long i = 0; i < count; ++i) {
        if (plan.serves) {
            receive_all(sock, message.data(), kMessage);
        } else {
            send_all(sock, message.data(), kMessage);
        }
    }
}

void run(const Plan& plan, Handle sock, long count) {
    plan.mode == "stream" ? stream(plan, sock, count) : ping_pong(plan, sock, count);
}

/// Until the sender has found the ring full: what it does then for the first time is not to be measured. A warm-up that
/// does not fill it is not waited for.
void await_full(const Plan& plan, Handle sock) {
    constexpr ssize_t kRing = 512 * 1024;
    constexpr ssize_t kFull = kRing - kRing / 8; // what was read lately may not have been told
    std::vector<char> buffer(kRing);
    ssize_t before = -1;
    ssize_t unread = plan.warmup * static_cast<ssize_t>(kMessage) > kRing ? 0 : kRing;
    while (unread < kRing && (unread < kFull || unread != before)) {
        ::sched_yield();
        before = unread;
        unread = peek_some(sock, buffer.data(), buffer.size());
    }
}

[[noreturn]] void measure(const Plan& plan, Handle sock) {
    if (plan.serves && plan.mode == "stream") {
        await_full(plan, sock);
    }
    run(plan, sock, plan.warmup);
    static_cast<void>(cost_so_far());
    if (plan.strict != Strict::none && !forbid(plan.strict)) {
        std::puts("no seccomp");
        std::exit(kExitNoSeccomp);
    }
    const Cost before = cost_so_far();
    run(plan, sock, plan.messages / 2);
    if (plan.stray) {
        stray_call();
    }
    run(plan, sock, plan.messages - plan.messages / 2);
    finish(before);
}

} // namespace
} // namespace smcd::hot

using namespace smcd::
    hot; // NOLINT(google-build-using-namespace): callgrind knows these by their plain names

extern "C" {

[[gnu::noinline]] void hot_send(Handle sock, long count) {
    Message message{};
    for (long i = 0; i < count; ++i) {
        send_all(sock, message.data(), kMessage);
    }
}

[[gnu::noinline]] void hot_recv(Handle sock, long count) {
    Message message{};
    for (long i = 0; i < count; ++i) {
        receive_all(sock, message.data(), kMessage);
    }
}

#ifndef SMCD_HOT_LIBRARY
[[gnu::noinline]] void hot_poll(const Handle* socks, std::size_t count, long looks) {
    std::vector<pollfd> entries(count);
    for (std::size_t i = 0; i < count; ++i) {
        entries[i] = {socks[i], POLLIN, 0};
    }
    for (long i = 0; i < looks; ++i) {
        if (::poll(entries.data(), count, -1) != 1) {
            die("poll");
        }
    }
}

[[gnu::noinline]] void hot_select(const Handle* socks, std::size_t count, long looks) {
    for (long i = 0; i < looks; ++i) {
        fd_set in;
        FD_ZERO(&in);
        for (std::size_t k = 0; k < count; ++k) {
            FD_SET(socks[k], &in);
        }
        if (::select(socks[count - 1] + 1, &in, nullptr, nullptr, nullptr) != 1) {
            die("select");
        }
    }
}

[[gnu::noinline]] void hot_epoll(int set, long looks) {
    std::array<epoll_event, 16> events;
    for (long i = 0; i < looks; ++i) {
        if (::epoll_wait(set, events.data(), events.size(), -1) != 1) {
            die("epoll_wait");
        }
    }
}
#endif
}

namespace smcd::hot {
namespace {

#ifndef SMCD_HOT_LIBRARY
/// A set with all of them, some looks old: what is idle has been put aside.
int settled_set(const std::vector<Handle>& all) {
    const int set = ::epoll_create1(0);
    for (Handle sock : all) {
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.fd = fd_of(sock);
        ::epoll_ctl(set, EPOLL_CTL_ADD, fd_of(sock), &event);
    }
    std::array<epoll_event, 16> events;
    for (int i = 0; i < 32; ++i) {
        ::epoll_wait(set, events.data(), events.size(), 0);
    }
    return set;
}
#endif

/// A child that inherits everything and ends without a word, at once or when it is killed.
void have_child(bool stays) {
    const pid_t child = ::fork();
    if (child == 0) {
        while (stays) {
            ::pause();
        }
        ::kill(::getpid(), SIGKILL);
    }
    if (stays) {
        std::printf("child %d\n", static_cast<int>(child));
    } else {
        ::waitpid(child, nullptr, 0);
    }
}

void obey(const std::vector<Handle>& all) {
    std::string word;
    long count = 0;
#ifndef SMCD_HOT_LIBRARY
    int set = -1;
#endif
    while (std::cin >> word >> count) {
        if (word == "send") {
            hot_send(all.front(), count);
        } else if (word == "recv") {
            hot_recv(all.front(), count);
        } else if (word == "child") {
            have_child(count != 0);
#ifndef SMCD_HOT_LIBRARY
        } else if (word == "poll") {
            hot_poll(all.data(), all.size(), count);
        } else if (word == "select") {
            hot_select(all.data(), all.size(), count);
        } else if (word == "epoll") {
            set = set < 0 ? settled_set(all) : set;
            hot_epoll(set, count);
#endif
        }
        std::printf("done %s\n", word.c_str());
        std::fflush(stdout);
    }
}

Strict strict_of(std::string_view word) {
    return word == "all" ? Strict::all : word == "wakes" ? Strict::wakes : Strict::none;
}

Plan plan_of(int argc, char** argv) {
    Plan plan;
    for (int i = 1; i < argc; ++i) {
        const std::string_view word = argv[i];
        const auto next = [&] { return i + 1 < argc ? argv[++i] : "0"; };
        if (word == "serve") {
            plan.serves = true;
        } else if (word.starts_with("connect:")) {
            plan.port = static_cast<std::uint16_t>(std::atoi(word.substr(8).data()));
        } else if (word == "--connections") {
            plan.connections = std::atoi(next());
        } else if (word == "--cpu") {
            pin(std::atoi(next()));
        } else if (word == "--messages") {
            plan.messages = std::atol(next());
        } else if (word == "--warmup") {
            plan.warmup = std::atol(next());
        } else if (word == "--strict") {
            plan.strict = strict_of(next());
        } else if (word == "--profile") {
            plan.profile = next();
        } else if (word == "--stray") {
            plan.stray = true;
        } else {
            plan.mode = word;
        }
    }
    return plan;
}

} // namespace
} // namespace smcd::hot

int main(int argc, char** argv) {
    const Plan plan = plan_of(argc, argv);
    const std::vector<Handle> all = open_all(plan);
    settle(plan, all);
    std::puts("accelerated");
    std::fflush(stdout);
    if (plan.mode != "script") {
        measure(plan, all.front());
    }
    obey(all);
    return 0;
}
