// Semantics: one connection in one epoll set: level, edge, oneshot, changes.
// Room tests/e2e, no protocol section.
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>

#include "tests/e2e/programs/net.hpp"
#include "tests/e2e/semantics/harness.hpp"

namespace smcd::e2e {
namespace {

constexpr int kWaitMs = 8000;

// An epoll set with one connection; every call is printed.
struct Set {
    Context& c;
    int set = check(::epoll_create1(0), "epoll_create1");

    void control(const char* what, int operation, int fd, unsigned events) const {
        epoll_event event{};
        event.events = events;
        event.data.fd = fd;
        c.result(what, ::epoll_ctl(set, operation, fd, &event));
    }

    void add(int fd, unsigned events) const { control("add", EPOLL_CTL_ADD, fd, events); }

    void modify(int fd, unsigned events) const { control("mod", EPOLL_CTL_MOD, fd, events); }

    void remove(int fd) const { control("del", EPOLL_CTL_DEL, fd, 0); }

    void wait(const char* what, int time_ms = 0) const {
        epoll_event event{};
        const int count = ::epoll_wait(set, &event, 1, time_ms);
        if (count == 1) {
            c.mask(what, static_cast<int>(event.events & 0xffffU));
        } else {
            c.result(what, count);
        }
    }
};

void level(Context& c) {
    const int fd = c.open();
    const Set set{c};
    set.add(fd, EPOLLIN);
    set.wait("idle");
    c.peer().run("send 4");
    set.wait("data", kWaitMs);
    set.wait("again");
    c.receive(fd, 2);
    set.wait("half read");
    c.receive(fd, 2);
    set.wait("all read");
    c.peer().post(Context::when_asleep() + "send 4");
    set.wait("woken", kWaitMs);
    c.peer().reply();
    set.modify(fd, EPOLLOUT);
    set.wait("for space");
    set.modify(fd, EPOLLIN | EPOLLOUT);
    set.wait("both");
    set.remove(fd);
    set.wait("removed");
}

void edge(Context& c) {
    const int fd = c.open();
    const Set set{c};
    set.add(fd, EPOLLIN | EPOLLET);
    set.wait("idle");
    c.peer().run("send 4");
    set.wait("data", kWaitMs);
    set.wait("no new edge");
    c.receive(fd, 2);
    set.wait("reading is no edge");
    c.peer().run("send 4");
    c.await(fd, POLLIN);
    set.wait("new data, old unread", kWaitMs);
    set.wait("no new edge");
    c.receive(fd, 20);
    c.receive(fd, 20, MSG_DONTWAIT);
    c.peer().post(Context::when_asleep() + "send 4");
    set.wait("woken", kWaitMs);
    c.peer().reply();
    set.modify(fd, EPOLLIN | EPOLLET);
    set.wait("armed again");
    set.wait("once");
    c.peer().run("close");
    c.await(fd, POLLRDHUP);
    set.wait("end", kWaitMs);
    set.wait("once");
}

void edge_for_space(Context& c) {
    const int fd = c.open();
    const Set set{c};
    set.add(fd, EPOLLOUT | EPOLLET);
    set.wait("at first");
    set.wait("once");
    const ssize_t filled = fill(fd);
    set.wait("full");
    c.peer().post(Context::when_asleep() + "recv " + std::to_string(filled));
    set.wait("drained", kWaitMs);
    c.peer().reply();
}

void added_with_data(Context& c) {
    const int fd = c.open();
    c.peer().run("send 3");
    c.await(fd, POLLIN);
    const Set set{c};
    set.add(fd, EPOLLIN | EPOLLET);
    set.wait("edge");
    set.wait("once");
    const Set other{c};
    other.add(fd, EPOLLIN);
    other.wait("level");
}

void oneshot(Context& c) {
    const int fd = c.open();
    const Set set{c};
    set.add(fd, EPOLLIN | EPOLLOUT | EPOLLONESHOT);
    set.wait("first");
    c.peer().run("send 2");
    c.await(fd, POLLIN);
    set.wait("disabled");
    set.modify(fd, EPOLLIN | EPOLLONESHOT);
    set.wait("armed", kWaitMs);
    set.wait("disabled");
    c.peer().run("close");
    c.await(fd, POLLRDHUP);
    set.wait("disabled for HUP too");
    set.modify(fd, EPOLLIN | EPOLLRDHUP | EPOLLONESHOT);
    set.wait("armed", kWaitMs);
}

void ends(Context& c) {
    const int fd = c.open();
    const Set set{c};
    set.add(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP);
    c.peer().run("shutdown wr");
    c.await(fd, POLLRDHUP);
    set.wait("peer ended", kWaitMs);
    ::shutdown(fd, SHUT_WR);
    c.await(fd, POLLHUP);
    set.wait("both ended", kWaitMs);
    set.modify(fd, 0);
    set.wait("nothing asked");
}

void reset(Context& c) {
    const int fd = c.open();
    const Set set{c};
    set.add(fd, EPOLLIN);
    c.peer().post(Context::when_asleep() + "reset");
    set.wait("reset", kWaitMs);
    c.peer().reply();
    c.receive(fd, 8);
    set.wait("after the error");
}

void errors(Context& c) {
    const int fd = c.open();
    const Set set{c};
    set.modify(fd, EPOLLIN);
    set.remove(fd);
    set.add(fd, EPOLLIN);
    set.add(fd, EPOLLOUT);
    set.wait("still the first");
    set.modify(-1, EPOLLIN);
    set.add(set.set, EPOLLIN);
    epoll_event event{};
    c.result("not a set", ::epoll_ctl(fd, EPOLL_CTL_ADD, fd, &event));
    c.result("bad operation", ::epoll_ctl(set.set, 77, fd, &event));
    c.result("null event", ::epoll_ctl(set.set, EPOLL_CTL_MOD, fd, nullptr));
    c.result("null event for del", ::epoll_ctl(set.set, EPOLL_CTL_DEL, fd, nullptr));
    c.result("no room", ::epoll_wait(set.set, &event, 0, 0));
    c.result("negative room", ::epoll_wait(set.set, &event, opaque(-1), 0));
    c.result("wait on a socket", ::epoll_wait(fd, &event, 1, 0));
    set.add(fd, EPOLLIN | EPOLLEXCLUSIVE);
    set.modify(fd, EPOLLIN | EPOLLEXCLUSIVE);
    set.modify(fd, EPOLLIN);
    c.result("bad pointer",
             (c.peer().run("send 1"),
              c.await(fd, POLLIN),
              ::epoll_wait(set.set, opaque(reinterpret_cast<epoll_event*>(8)), 1, 0)));
}

void data_of_the_event(Context& c) {
    const int fd = c.open();
    const Set set{c};
    epoll_event event{};
    event.events = EPOLLOUT;
    event.data.u64 = 0x1122334455667788ULL;
    c.result("add", ::epoll_ctl(set.set, EPOLL_CTL_ADD, fd, &event));
    event.data.u64 = 0;
    c.result("wait", ::epoll_wait(set.set, &event, 1, 0));
    c.say("%llx", static_cast<unsigned long long>(event.data.u64));
    event.data.u64 = 7;
    c.result("mod", ::epoll_ctl(set.set, EPOLL_CTL_MOD, fd, &event));
    event.data.u64 = 0;
    c.result("wait", ::epoll_wait(set.set, &event, 1, 0));
    c.say("%llx", static_cast<unsigned long long>(event.data.u64));
}

void times_out(Context& c) {
    const int fd = c.open();
    const Set set{c};
    set.add(fd, EPOLLIN);
    double start = now_s();
    set.wait("60 ms", 60);
    c.say("not early: %d", now_s() - start >= 0.059 ? 1 : 0);
    epoll_event event{};
    start = now_s();
    c.result("epoll_pwait", ::epoll_pwait(set.set, &event, 1, 60, nullptr));
    c.say("not early: %d", now_s() - start >= 0.059 ? 1 : 0);
    const timespec limit{0, 60'000'000};
    start = now_s();
    c.result("epoll_pwait2", ::epoll_pwait2(set.set, &event, 1, &limit, nullptr));
    c.say("not early: %d", now_s() - start >= 0.059 ? 1 : 0);
    c.peer().run("send 1");
    c.result("epoll_pwait2", ::epoll_pwait2(set.set, &event, 1, nullptr, nullptr));
}

void closed_while_registered(Context& c) {
    const int fd = c.open();
    const Set set{c};
    set.add(fd, EPOLLIN | EPOLLOUT);
    set.wait("before");
    ::close(fd);
    set.wait("after");
    set.remove(fd);
    const int again = c.open();
    c.say("same number: %d", again == fd ? 1 : 0);
    set.wait("new connection, not registered");
    set.add(again, EPOLLOUT);
    set.wait("registered");
}

void closed_but_duplicated(Context& c) {
    const int fd = c.open();
    const int copy = check(::dup(fd), "dup");
    const Set set{c};
    set.add(fd, EPOLLIN);
    ::close(fd);
    set.remove(fd);
    set.wait("idle");
    c.peer().run("send 2");
    c.await(copy, POLLIN);
    set.wait("the duplicate keeps it", kWaitMs);
    ::close(copy);
    set.wait("gone");
}

constexpr std::array kCases = {
    Case{"epoll_level",                   level                  },
    Case{"epoll_edge",                    edge                   },
    Case{"epoll_edge_for_space",          edge_for_space         },
    Case{"epoll_added_with_data",         added_with_data        },
    Case{"epoll_oneshot",                 oneshot                },
    Case{"epoll_ends",                    ends                   },
    Case{"epoll_reset",                   reset                  },
    Case{"epoll_errors",                  errors                 },
    Case{"epoll_data_of_the_event",       data_of_the_event      },
    Case{"epoll_times_out",               times_out              },
    Case{"epoll_closed_while_registered", closed_while_registered},
    Case{"epoll_closed_but_duplicated",   closed_but_duplicated  },
};

} // namespace

std::span<const Case> epoll_cases() {
    return kCases;
}

} // namespace smcd::e2e
