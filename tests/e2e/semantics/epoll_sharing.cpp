// Semantics: epoll sets inside others, under several numbers, in several processes.
// Room tests/e2e, no protocol section.
#include <poll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <string>
#include <vector>

#include "tests/e2e/semantics/epoll_calls.hpp"
#include "tests/e2e/semantics/harness.hpp"

namespace smcd::e2e {
namespace {

// One event at most: "7:IN".
void wait(const Context& c, const char* what, int set, int time_ms = 0) {
    epoll_event event{};
    if (const int count = ::epoll_wait(set, &event, 1, time_ms); count != 1) {
        c.result(what, count);
        return;
    }
    c.say("%s -> %d:%s", what, static_cast<int>(event.data.u64), mask_names(event.events).c_str());
}

void three_deep(Context& c) {
    const int fd = c.open();
    std::array<int, 2> pipe{};
    check(::pipe(pipe.data()), "pipe");
    const int inner = new_set();
    const int middle = new_set();
    const int outer = new_set();
    add(inner, fd, EPOLLIN, 1);
    add(inner, pipe[0], EPOLLIN, 2);
    add(middle, inner, EPOLLIN, 3);
    add(outer, middle, EPOLLIN, 4);
    wait(c, "idle", outer);
    c.peer().post(Context::when_asleep() + "send 2");
    wait(c, "socket", outer, kWaitMs);
    c.peer().reply();
    wait(c, "middle", middle);
    c.receive(fd, 8);
    wait(c, "read", outer);
    check(static_cast<int>(::write(pipe[1], "p", 1)), "write");
    wait(c, "pipe", outer, kWaitMs);
    ::close(inner);
    wait(c, "inner closed", outer);
    c.peer().run("send 1");
    c.await(fd, POLLIN);
    wait(c, "inner closed, data", outer);
}

void nested_modes(Context& c) {
    const int fd = c.open();
    const int inner = new_set();
    const int edge = new_set();
    const int once = new_set();
    add(inner, fd, EPOLLIN, 1);
    add(edge, inner, EPOLLIN | EPOLLET, 2);
    add(once, inner, EPOLLIN | EPOLLONESHOT, 3);
    c.peer().run("send 2");
    c.await(fd, POLLIN);
    wait(c, "edge", edge, kWaitMs);
    wait(c, "once", once, kWaitMs);
    wait(c, "edge again", edge);
    wait(c, "once again", once);
    c.peer().run("send 2");
    wait(c, "edge, more data", edge, kWaitMs);
    wait(c, "once, more data", once);
    change(EPOLL_CTL_MOD, once, inner, EPOLLIN, 4);
    wait(c, "modified", once, kWaitMs);
    check(::epoll_ctl(once, EPOLL_CTL_DEL, inner, nullptr), "EPOLL_CTL_DEL");
    wait(c, "removed", once);
    epoll_event event{};
    c.result("itself", ::epoll_ctl(once, EPOLL_CTL_ADD, once, &event));
    add(once, edge, EPOLLIN, 5);
    c.result("a loop", ::epoll_ctl(inner, EPOLL_CTL_ADD, once, &event));
    c.result("not there", ::epoll_ctl(once, EPOLL_CTL_DEL, inner, nullptr));
}

void nested_later(Context& c) {
    struct Later {
        int set;
        int fd;
    };

    const int fd = c.open();
    const int inner = new_set();
    const int outer = new_set();
    add(outer, inner, EPOLLIN, 2);
    c.peer().run("send 2");
    c.await(fd, POLLIN);
    Later later{inner, fd};
    const auto put = [](void* argument) {
        const auto* self = static_cast<Later*>(argument);
        add(self->set, self->fd, EPOLLIN, 1);
    };
    {
        const auto helper = when_caller_sleeps(put, &later);
        wait(c, "outer", outer, kWaitMs);
    }
    check(::epoll_ctl(inner, EPOLL_CTL_DEL, fd, nullptr), "EPOLL_CTL_DEL");
    const auto helper = when_caller_sleeps(put, &later);
    pollfd poll_inner{inner, POLLIN, 0};
    c.result("poll", ::poll(&poll_inner, 1, kWaitMs));
}

void selected(Context& c) {
    const int fd = c.open();
    const int set = new_set();
    add(set, fd, EPOLLIN, 1);
    const auto ask = [&](const char* what, long seconds) {
        fd_set readable;
        FD_ZERO(&readable);
        FD_SET(set, &readable);
        timeval limit{seconds, 0};
        c.result(what, ::select(set + 1, &readable, nullptr, nullptr, &limit));
    };
    ask("idle", 0);
    c.peer().post(Context::when_asleep() + "send 2");
    ask("woken", 8);
    c.peer().reply();
    c.receive(fd, 8);
    ask("read", 0);
    pollfd both[] = {
        {fd,  POLLIN, 0},
        {set, POLLIN, 0}
    };
    c.peer().post(Context::when_asleep() + "shutdown wr");
    c.say("poll of both: %d", ::poll(both, 2, kWaitMs) > 0 ? 1 : 0);
    c.peer().reply();
    c.result("poll of both", ::poll(both, 2, kWaitMs));
}

void two_numbers(Context& c) {
    const int fd = c.open();
    const int set = new_set();
    const int copy = check(::dup(set), "dup");
    add(copy, fd, EPOLLIN, 1);
    c.peer().post(Context::when_asleep() + "send 2");
    wait(c, "the first number", set, kWaitMs);
    c.peer().reply();
    change(EPOLL_CTL_MOD, set, fd, EPOLLOUT, 2);
    wait(c, "the second", copy);
    ::close(set);
    const int other = new_set();
    add(other, copy, EPOLLIN, 3);
    wait(c, "around it", other);
    const int third = check(::dup2(copy, other + 20), "dup2");
    ::close(copy);
    change(EPOLL_CTL_MOD, third, fd, EPOLLIN, 4);
    c.receive(fd, 8);
    wait(c, "idle", third);
    c.peer().post(Context::when_asleep() + "send 2");
    wait(c, "the third", third, kWaitMs);
    c.peer().reply();
    ::close(third);
    wait(c, "around it, closed", other);
}

// More sets than there are doorbells, one after the other: each wakes at once.
void many_sets(Context& c) {
    const int fd = c.open();
    int woken = 0;
    for (int i = 0; i < 80; ++i) {
        const int set = new_set();
        add(set, fd, EPOLLIN, 1);
        c.peer().post(Context::when_asleep() + "send 1");
        epoll_event event{};
        woken += ::epoll_wait(set, &event, 1, kWaitMs);
        c.peer().reply();
        std::array<char, 8> buffer{};
        check(static_cast<int>(::recv(fd, buffer.data(), buffer.size(), 0)), "recv");
        ::close(set);
    }
    c.say("woken: %d", woken);
}

// A child waits on the inherited set and goes away again; the parent's own waits are not disturbed.
void child_comes_and_goes(Context& c) {
    const int fd = c.open();
    std::array<int, 2> pipe{};
    std::array<int, 2> told{};
    check(::pipe(pipe.data()), "pipe");
    check(::pipe(told.data()), "pipe");
    const int set = new_set();
    add(set, fd, EPOLLIN, 1);
    add(set, pipe[0], EPOLLIN, 2);
    wait(c, "idle", set, 20);
    const pid_t child = ::fork();
    if (child == 0) {
        epoll_event event{};
        int good = 0;
        for (int i = 0; i < 2; ++i) {
            good += ::epoll_wait(set, &event, 1, kWaitMs) == 1 ? 1 : 0;
            std::array<char, 8> buffer{};
            const int ready = event.data.u64 == 1 ? fd : pipe[0];
            check(static_cast<int>(::read(ready, buffer.data(), buffer.size())), "read");
            check(static_cast<int>(::write(told[1], "t", 1)), "write");
        }
        ::_exit(good == 2 ? 0 : 1);
    }
    wait_asleep(child, child);
    c.peer().run("send 2");
    char told_byte = 0;
    check(static_cast<int>(::read(told[0], &told_byte, 1)), "read");
    wait_asleep(child, child);
    check(static_cast<int>(::write(pipe[1], "p", 1)), "write");
    int status = 0;
    ::waitpid(child, &status, 0);
    c.say("child: %d", status);
    wait(c, "idle", set, 20);
    for (int i = 0; i < 3; ++i) {
        c.peer().post(Context::when_asleep() + "send 2");
        wait(c, "socket", set, kWaitMs);
        c.peer().reply();
        c.receive(fd, 8);
    }
    check(static_cast<int>(::write(pipe[1], "p", 1)), "write");
    wait(c, "pipe", set, kWaitMs);
}

void nested_after_a_fork(Context& c) {
    const int fd = c.open();
    const int inner = new_set();
    const int outer = new_set();
    add(inner, fd, EPOLLIN, 1);
    add(outer, inner, EPOLLIN, 2);
    wait(c, "idle", outer, 20);
    const pid_t child = ::fork();
    if (child == 0) {
        ::_exit(0);
    }
    ::waitpid(child, nullptr, 0);
    for (int i = 0; i < 2; ++i) {
        c.peer().post(Context::when_asleep() + "send 2");
        wait(c, "outer", outer, kWaitMs);
        c.peer().reply();
        wait(c, "inner", inner);
        c.receive(fd, 8);
        wait(c, "read", outer);
        c.peer().post(Context::when_asleep() + "send 2");
        pollfd poll_inner{inner, POLLIN, 0};
        c.result("poll", ::poll(&poll_inner, 1, kWaitMs));
        c.peer().reply();
        c.receive(fd, 8);
        c.result("poll", ::poll(&poll_inner, 1, 20));
    }
}

// A child gives the connection a standard number, on which the library serves none: the parent's
// set must follow, whether it waits meanwhile or later.
void child_takes_over(Context& c) {
    for (const bool asleep : {false, true}) {
        const int fd = c.open();
        const int set = new_set();
        add(set, fd, EPOLLIN, 1);
        wait(c, "idle", set, 20);
        std::array<int, 2> go{};
        check(::pipe(go.data()), "pipe");
        const pid_t parent = ::getpid();
        const pid_t child = ::fork();
        if (child == 0) {
            if (asleep) {
                wait_asleep(parent, parent);
            }
            ::_exit(::dup2(fd, STDIN_FILENO) == STDIN_FILENO ? 0 : 1);
        }
        if (!asleep) {
            ::waitpid(child, nullptr, 0);
        } else {
            wait(c, "meanwhile", set, 300);
            ::waitpid(child, nullptr, 0);
        }
        c.peer().post(Context::when_asleep() + "send 2");
        wait(c, "data", set, kWaitMs);
        c.peer().reply();
        c.receive(fd, 8);
        wait(c, "read", set);
        c.peer().post(Context::when_asleep() + "shutdown wr");
        wait(c, "end", set, kWaitMs);
        c.peer().reply();
    }
}

constexpr std::array kCases = {
    Case{"epoll_three_deep",           three_deep          },
    Case{"epoll_nested_modes",         nested_modes        },
    Case{"epoll_nested_later",         nested_later        },
    Case{"epoll_selected",             selected            },
    Case{"epoll_two_numbers",          two_numbers         },
    Case{"epoll_many_sets",            many_sets           },
    Case{"epoll_child_comes_and_goes", child_comes_and_goes},
    Case{"epoll_nested_after_a_fork",  nested_after_a_fork },
    Case{"epoll_child_takes_over",     child_takes_over    },
};

} // namespace

std::span<const Case> epoll_sharing_cases() {
    return kCases;
}

} // namespace smcd::e2e
