// Semantics: several epoll sets, threads, processes and kinds of descriptors.
// Room tests/e2e, no protocol section.
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <string>
#include <thread>
#include <vector>

#include "tests/e2e/semantics/epoll_calls.hpp"
#include "tests/e2e/semantics/harness.hpp"

namespace smcd::e2e {
namespace {

// "3:IN 5:IN|OUT": the events sorted by their data.
void wait(const Context& c, const char* what, int set, int time_ms = 0, int room = 16) {
    std::vector<epoll_event> events(static_cast<std::size_t>(room));
    const int count = ::epoll_wait(set, events.data(), room, time_ms);
    if (count <= 0) {
        c.result(what, count);
        return;
    }
    events.resize(static_cast<std::size_t>(count));
    std::ranges::sort(events, {}, [](const epoll_event& event) { return event.data.u64 + 0; });
    std::string text;
    for (const epoll_event& event : events) {
        text += " " + std::to_string(event.data.u64) + ":" + mask_names(event.events);
    }
    c.say("%s ->%s", what, text.c_str());
}

void two_sets(Context& c) {
    const int fd = c.open();
    const int one = new_set();
    const int two = new_set();
    add(one, fd, EPOLLIN, 1);
    add(two, fd, EPOLLIN | EPOLLET, 2);
    c.peer().run("send 2");
    wait(c, "one", one, kWaitMs);
    wait(c, "two", two, kWaitMs);
    wait(c, "one again", one);
    wait(c, "two again", two);
    c.receive(fd, 8);
    wait(c, "one read", one);
    check(::epoll_ctl(one, EPOLL_CTL_DEL, fd, nullptr), "EPOLL_CTL_DEL");
    c.peer().run("send 2");
    wait(c, "two only", two, kWaitMs);
    wait(c, "one", one);
    ::close(two);
    c.receive(fd, 8);
    add(one, fd, EPOLLIN, 3);
    c.peer().run("send 1");
    wait(c, "one", one, kWaitMs);
}

void duplicates_in_one_set(Context& c) {
    const int fd = c.open();
    const int copy = check(::dup(fd), "dup");
    const int set = new_set();
    add(set, fd, EPOLLIN, 1);
    add(set, copy, EPOLLIN | EPOLLOUT, 2);
    wait(c, "idle", set);
    c.peer().run("send 2");
    c.await(fd, POLLIN);
    wait(c, "data", set, kWaitMs);
    check(::epoll_ctl(set, EPOLL_CTL_DEL, copy, nullptr), "EPOLL_CTL_DEL");
    wait(c, "one left", set);
}

void nested(Context& c) {
    const int fd = c.open();
    const int inner = new_set();
    const int outer = new_set();
    add(inner, fd, EPOLLIN, 1);
    add(outer, inner, EPOLLIN, 2);
    wait(c, "idle", outer);
    c.peer().post(Context::when_asleep() + "send 2");
    wait(c, "outer", outer, kWaitMs);
    c.peer().reply();
    wait(c, "inner", inner);
    c.receive(fd, 8);
    wait(c, "outer", outer);
    pollfd poll_inner{inner, POLLIN, 0};
    c.result("poll of the inner set", ::poll(&poll_inner, 1, 0));
    c.peer().post(Context::when_asleep() + "send 2");
    c.result("poll of the inner set", ::poll(&poll_inner, 1, kWaitMs));
    c.peer().reply();
    c.mask("events", poll_inner.revents);
    c.receive(fd, 8);
    c.result("poll of the inner set", ::poll(&poll_inner, 1, 0));
}

void among_other_kinds(Context& c) {
    const int fd = c.open();
    const int idle = c.open();
    c.peer().run("use 0");
    std::array<int, 2> pipe{};
    check(::pipe(pipe.data()), "pipe");
    const int event = check(::eventfd(0, 0), "eventfd");
    const int listener = listen_on("127.0.0.1", 0, 4);
    const int set = new_set();
    add(set, fd, EPOLLIN, 1);
    add(set, idle, EPOLLIN, 2);
    add(set, pipe[0], EPOLLIN, 3);
    add(set, event, EPOLLIN, 4);
    add(set, listener, EPOLLIN, 5);
    wait(c, "nothing", set);
    check(static_cast<int>(::write(pipe[1], "p", 1)), "write");
    wait(c, "pipe", set, kWaitMs);
    c.peer().run("send 1");
    c.await(fd, POLLIN);
    check(::eventfd_write(event, 1), "eventfd_write");
    wait(c, "pipe, event, socket", set, kWaitMs);
    const int client = connect_to("127.0.0.1", local_port(listener));
    c.await(listener, POLLIN);
    wait(c, "listener too", set, kWaitMs);
    ::close(client);
}

// Both are ready all the time, there is room for one: neither may starve.
void fair_between_kinds(Context& c) {
    const int fd = c.open();
    std::array<int, 2> pipe{};
    check(::pipe(pipe.data()), "pipe");
    check(static_cast<int>(::write(pipe[1], "p", 1)), "write");
    const int other = c.open();
    c.peer().run("use 0; send 1; use 1; send 1");
    c.await(fd, POLLIN);
    c.await(other, POLLIN);
    const int set = new_set();
    add(set, fd, EPOLLIN, 0);
    add(set, pipe[0], EPOLLIN, 1);
    add(set, other, EPOLLIN, 2);
    std::array<int, 3> seen{};
    for (int i = 0; i < 300; ++i) {
        epoll_event event{};
        if (::epoll_wait(set, &event, 1, 0) == 1) {
            ++seen.at(event.data.u64);
        }
    }
    c.say("each was seen: %d %d %d",
          seen[0] > 10 ? 1 : 0,
          seen[1] > 10 ? 1 : 0,
          seen[2] > 10 ? 1 : 0);
}

struct Later {
    int set;
    int fd;
    int operation;
    unsigned events;

    static void perform(void* argument) {
        const auto* self = static_cast<Later*>(argument);
        epoll_event event{};
        event.events = self->events;
        event.data.u64 = 9;
        check(::epoll_ctl(self->set, self->operation, self->fd, &event), "epoll_ctl");
    }
};

void another_thread_changes_the_set(Context& c) {
    const int fd = c.open();
    c.peer().run("send 1");
    c.await(fd, POLLIN);
    const int set = new_set();
    Later later{set, fd, EPOLL_CTL_ADD, EPOLLIN};
    {
        const auto helper = when_caller_sleeps(Later::perform, &later);
        wait(c, "added", set, kWaitMs);
    }
    later = {set, fd, EPOLL_CTL_MOD, EPOLLONESHOT};
    Later::perform(&later);
    later.events = EPOLLOUT;
    const auto helper = when_caller_sleeps(Later::perform, &later);
    wait(c, "modified", set, kWaitMs);
}

void shared_with_a_child(Context& c) {
    const int fd = c.open();
    const int set = new_set();
    add(set, fd, EPOLLIN, 5);
    const pid_t child = ::fork();
    if (child == 0) {
        epoll_event event{};
        const int count = ::epoll_wait(set, &event, 1, kWaitMs);
        ::_exit(count == 1 && event.data.u64 == 5 ? 0 : 1);
    }
    wait_asleep(child, child);
    c.peer().run("send 2");
    int status = 0;
    ::waitpid(child, &status, 0);
    c.say("child: %d", status);
    wait(c, "parent", set, kWaitMs);
    c.receive(fd, 8);
    wait(c, "parent", set);
}

void two_threads_wait(Context& c) {
    const int fd = c.open();
    const int set = new_set();
    add(set, fd, EPOLLIN | EPOLLONESHOT, 1);
    std::atomic<int> woken{0};
    {
        const auto body = [&] {
            epoll_event event{};
            if (::epoll_wait(set, &event, 1, 1500) == 1) {
                ++woken;
            }
        };
        const std::jthread one(body);
        const std::jthread two(body);
        c.peer().run("send 1");
    }
    c.say("woken: %d", woken.load());
}

void room_for_some(Context& c) {
    const int set = new_set();
    std::vector<int> fds;
    for (int i = 0; i < 10; ++i) {
        fds.push_back(c.open());
        add(set, fds.back(), EPOLLIN, static_cast<std::uint64_t>(i));
        c.peer().run("send 1");
    }
    for (const int fd : fds) {
        c.await(fd, POLLIN);
    }
    std::array<bool, 10> seen{};
    for (int i = 0; i < 40; ++i) {
        std::array<epoll_event, 3> events{};
        const int count = ::epoll_wait(set, events.data(), 3, 0);
        for (int k = 0; k < count; ++k) {
            seen.at(events[static_cast<std::size_t>(k)].data.u64) = true;
        }
    }
    c.say("all were seen: %d", std::ranges::count(seen, true) == 10 ? 1 : 0);
    wait(c, "all at once", set);
}

/// The data of what is ready, as reported.
void say_order(const Context& c, const char* what, int set, int room = 8) {
    std::array<epoll_event, 8> events{};
    const int count = ::epoll_wait(set, events.data(), room, kWaitMs);
    std::string text;
    for (int i = 0; i < count; ++i) {
        text += " " + std::to_string(events.at(static_cast<std::size_t>(i)).data.u64);
    }
    c.say("%s ->%s", what, text.c_str());
}

/// Connections that were opened, registered and written to in one order are reported in it: servers
/// answer first who came first.
void order_of_arrival(Context& c) {
    const int set = new_set();
    std::array<int, 5> fds{};
    for (std::size_t i = 0; i < fds.size(); ++i) {
        fds.at(i) = c.open();
        c.peer().run("send 1");
        c.receive(fds.at(i), 1);
        add(set, fds.at(i), EPOLLIN, i);
    }
    for (std::size_t i = 0; i < fds.size(); ++i) {
        c.peer().run("use " + std::to_string(i) + ";send 1");
        c.await(fds.at(i), POLLIN);
    }
    say_order(c, "all", set);
    say_order(c, "all again", set);
    say_order(c, "three", set, 3);
    // A new set begins anew, whatever the last one has left.
    ::close(set);
    const int another = new_set();
    for (std::size_t i = 0; i < fds.size(); ++i) {
        add(another, fds.at(i), EPOLLIN, i);
    }
    say_order(c, "all of a new set", another);
}

void set_closed_first(Context& c) {
    const int fd = c.open();
    const int set = new_set();
    add(set, fd, EPOLLIN, 1);
    ::close(set);
    c.peer().run("send 3");
    c.await(fd, POLLIN);
    c.receive(fd, 8);
    const int again = new_set();
    add(again, fd, EPOLLIN | EPOLLOUT, 2);
    wait(c, "new set", again);
    const int copy = check(::dup(again), "dup");
    ::close(again);
    wait(c, "duplicate of the set", copy);
}

constexpr std::array kCases = {
    Case{"epoll_two_sets",                       two_sets                      },
    Case{"epoll_duplicates_in_one_set",          duplicates_in_one_set         },
    Case{"epoll_nested",                         nested                        },
    Case{"epoll_among_other_kinds",              among_other_kinds             },
    Case{"epoll_fair_between_kinds",             fair_between_kinds            },
    Case{"epoll_another_thread_changes_the_set", another_thread_changes_the_set},
    Case{"epoll_shared_with_a_child",            shared_with_a_child           },
    Case{"epoll_two_threads_wait",               two_threads_wait              },
    Case{"epoll_room_for_some",                  room_for_some                 },
    Case{"epoll_set_closed_first",               set_closed_first              },
    Case{"epoll_order_of_arrival",               order_of_arrival              },
};

} // namespace

std::span<const Case> epoll_set_cases() {
    return kCases;
}

} // namespace smcd::e2e
