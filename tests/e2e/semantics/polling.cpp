// Semantics: poll, ppoll, select and pselect.
// Room tests/e2e, no protocol section.
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <vector>

#include "tests/e2e/programs/net.hpp"
#include "tests/e2e/semantics/harness.hpp"

namespace smcd::e2e {
namespace {

constexpr int kAll = POLLIN | POLLOUT | POLLPRI | POLLRDHUP | POLLRDNORM | POLLWRNORM;

void masks_of_a_connection(Context& c) {
    const int fd = c.open();
    c.poll_now("idle", fd);
    c.peer().run("send 3");
    c.await(fd, POLLIN);
    c.poll_now("data", fd);
    c.receive(fd, 3);
    c.poll_now("read", fd);
    fill(fd);
    c.poll_now("full", fd);
    c.peer().run("shutdown wr");
    c.await(fd, POLLRDHUP);
    c.poll_now("peer ended", fd);
    c.peer().run("close");
    c.await(fd, POLLHUP);
    c.poll_now("peer closed with unread data", fd);
}

void requested_bits_only(Context& c) {
    const int fd = c.open();
    c.peer().run("send 3");
    c.await(fd, POLLIN);
    for (const int events : {0, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM, POLLPRI, kAll}) {
        pollfd wait{fd, static_cast<short>(events), 0};
        c.result("poll", ::poll(&wait, 1, 0));
        c.say("events 0x%x: 0x%x",
              static_cast<unsigned>(events),
              static_cast<unsigned>(wait.revents));
    }
}

void odd_entries(Context& c) {
    const int fd = c.open();
    const int closed = check(::dup2(fd, 500), "dup2"); // not the lowest free: see number_is_used_again
    ::close(closed);
    std::array<pollfd, 4> waits = {
        pollfd{-1,     POLLIN,  77},
        pollfd{closed, POLLIN,  0 },
        pollfd{fd,     POLLOUT, 0 },
        pollfd{fd,     POLLIN,  0 }
    };
    c.result("poll", ::poll(waits.data(), waits.size(), 0));
    for (const pollfd& wait : waits) {
        c.mask("events", wait.revents);
    }
    c.result("poll of nothing", ::poll(nullptr, 0, 0));
    const double start = now_s();
    c.result("poll of nothing for 20 ms", ::poll(nullptr, 0, 20));
    c.say("not early: %d", now_s() - start >= 0.02 ? 1 : 0);
    c.result("bad pointer", ::poll(opaque(reinterpret_cast<pollfd*>(8)), 1, 0));
}

void poll_times_out(Context& c) {
    const int fd = c.open();
    pollfd wait{fd, POLLIN, 0};
    double start = now_s();
    c.result("poll", ::poll(&wait, 1, 60));
    c.say("not early: %d", now_s() - start >= 0.06 ? 1 : 0);
    const timespec limit{0, 60'000'000};
    start = now_s();
    c.result("ppoll", ::ppoll(&wait, 1, &limit, nullptr));
    c.say("not early: %d, limit kept: %ld",
          now_s() - start >= 0.06 ? 1 : 0,
          static_cast<long>(limit.tv_nsec));
    fd_set readable;
    FD_ZERO(&readable);
    FD_SET(fd, &readable);
    timeval value{0, 60'000};
    start = now_s();
    c.result("select", ::select(fd + 1, &readable, nullptr, nullptr, &value));
    c.say("not early: %d, left %ld, in the set %d",
          now_s() - start >= 0.06 ? 1 : 0,
          static_cast<long>(value.tv_usec),
          FD_ISSET(fd, &readable) ? 1 : 0);
}

void poll_is_woken(Context& c) {
    const int fd = c.open();
    for (const char* what : {"send 2", "shutdown wr", "close"}) {
        pollfd wait{fd, POLLIN | POLLRDHUP, 0};
        c.peer().post(Context::when_asleep() + what);
        c.result("poll", ::poll(&wait, 1, 8000));
        c.peer().reply();
        c.await(fd, POLLIN);
        if (what[1] == 'e') {
            c.receive(fd, 8);
        }
    }
}

// Whatever was asked for: the peer's end and its reset are told.
void poll_without_in_is_woken(Context& c) {
    const int fd = c.open();
    pollfd ended{fd, POLLRDHUP, 0};
    c.peer().post(Context::when_asleep() + "shutdown wr");
    c.result("only RDHUP", ::poll(&ended, 1, 8000));
    c.mask("events", ended.revents);
    c.peer().reply();
    for (const short events : {short{0}, short{POLLPRI}, short{POLLOUT}}) {
        const int next = c.open();
        fill(next);
        pollfd reset{next, events, 0};
        c.result("idle", ::poll(&reset, 1, 10));
        c.peer().post(Context::when_asleep() + "reset");
        c.result("reset", ::poll(&reset, 1, 8000));
        c.peer().reply();
    }
}

void poll_for_space_is_woken(Context& c) {
    const int fd = c.open();
    const ssize_t filled = fill(fd);
    pollfd wait{fd, POLLOUT, 0};
    c.result("poll", ::poll(&wait, 1, 20));
    c.peer().post(Context::when_asleep() + "recv " + std::to_string(filled));
    c.result("poll", ::poll(&wait, 1, 8000));
    c.mask("events", wait.revents);
    c.peer().reply();
}

void select_sets(Context& c) {
    const int fd = c.open();
    const int high = check(::dup2(fd, 500), "dup2");
    fd_set readable;
    fd_set writable;
    fd_set urgent;
    const auto ask = [&](const char* what, int end) {
        FD_ZERO(&readable);
        FD_ZERO(&writable);
        FD_ZERO(&urgent);
        for (const int number : {fd, high}) {
            FD_SET(number, &readable);
            FD_SET(number, &writable);
            FD_SET(number, &urgent);
        }
        timeval none{0, 0};
        c.result(what, ::select(end, &readable, &writable, &urgent, &none));
        c.say("r%d w%d u%d, high r%d w%d",
              FD_ISSET(fd, &readable) ? 1 : 0,
              FD_ISSET(fd, &writable) ? 1 : 0,
              FD_ISSET(fd, &urgent) ? 1 : 0,
              FD_ISSET(high, &readable) ? 1 : 0,
              FD_ISSET(high, &writable) ? 1 : 0);
    };
    ask("idle", high + 1);
    c.peer().run("send 2");
    c.await(fd, POLLIN);
    ask("data", high + 1);
    ask("without the high one", high);
    c.peer().run("oob !");
    c.await(fd, POLLPRI);
    ask("urgent", high + 1);
    c.receive(fd, 1, MSG_OOB);
    ::close(high);
    ask("closed descriptor", high + 1);
    timeval bad{-1, 0};
    c.result("negative time", ::select(0, nullptr, nullptr, nullptr, &bad));
    c.result("negative count", ::select(-1, nullptr, nullptr, nullptr, nullptr));
}

void pselect_waits(Context& c) {
    const int fd = c.open();
    fd_set readable;
    FD_ZERO(&readable);
    FD_SET(fd, &readable);
    const timespec limit{8, 0};
    sigset_t none;
    sigemptyset(&none);
    c.peer().post(Context::when_asleep() + "send 2");
    c.result("pselect", ::pselect(fd + 1, &readable, nullptr, nullptr, &limit, &none));
    c.say("in the set %d", FD_ISSET(fd, &readable) ? 1 : 0);
    c.peer().reply();
}

// Forty connections, fifty descriptors each: the peer's bytes make exactly one's ready.
void two_thousand_descriptors(Context& c) {
    allow_descriptors();
    std::vector<pollfd> waits;
    std::vector<int> first;
    for (int i = 0; i < 40; ++i) {
        const int fd = c.open();
        first.push_back(fd);
        for (int copy = 0; copy < 50; ++copy) {
            waits.push_back({copy == 0 ? fd : check(::dup(fd), "dup"), POLLIN, 0});
        }
    }
    c.result("idle", ::poll(waits.data(), waits.size(), 0));
    c.peer().run("use 17; send 4");
    c.await(first[17], POLLIN);
    c.result("one has data", ::poll(waits.data(), waits.size(), 8000));
    c.say("of it: %d %d, of another: %d",
          waits[17 * 50].revents,
          waits[17 * 50 + 49].revents,
          waits[0].revents);
    c.receive(first[17], 8);
    c.peer().post(Context::when_asleep() + "use 39; send 4");
    c.result("woken", ::poll(waits.data(), waits.size(), 8000));
    c.peer().reply();
    for (pollfd& wait : waits) {
        wait.events = POLLOUT;
    }
    c.result("for space", ::poll(waits.data(), waits.size(), 0));
}

void among_other_kinds(Context& c) {
    const int fd = c.open();
    const int idle = c.open();
    std::array<int, 2> pipe{};
    check(::pipe(pipe.data()), "pipe");
    const int event = check(::eventfd(0, 0), "eventfd");
    const int timer = check(::timerfd_create(CLOCK_MONOTONIC, 0), "timerfd_create");
    const int listener = listen_on("127.0.0.1", 0, 4);
    std::array<pollfd, 6> waits = {
        pollfd{fd,       POLLIN, 0},
        pollfd{pipe[0],  POLLIN, 0},
        pollfd{event,    POLLIN, 0},
        pollfd{timer,    POLLIN, 0},
        pollfd{idle,     POLLIN, 0},
        pollfd{listener, POLLIN, 0}
    };
    const auto ask = [&](const char* what, int time) {
        c.result(what, ::poll(waits.data(), waits.size(), time));
        for (const pollfd& wait : waits) {
            c.mask(" ", wait.revents);
        }
    };
    ask("nothing", 0);
    check(static_cast<int>(::write(pipe[1], "p", 1)), "write");
    ask("pipe", 8000);
    check(::eventfd_write(event, 1), "eventfd_write");
    c.peer().run("use 0; send 1");
    c.await(fd, POLLIN);
    ask("pipe, event, socket", 8000);
    std::array<char, 8> buffer{};
    check(static_cast<int>(::read(pipe[0], buffer.data(), 8)), "read");
    check(static_cast<int>(::read(event, buffer.data(), 8)), "read");
    c.receive(fd, 8);
    const itimerspec soon{
        {0, 0         },
        {0, 20'000'000}
    };
    check(::timerfd_settime(timer, 0, &soon, nullptr), "timerfd_settime");
    ask("timer", 8000);
    check(static_cast<int>(::read(timer, buffer.data(), 8)), "read");
    const int client = connect_to("127.0.0.1", local_port(listener));
    c.await(listener, POLLIN);
    ask("listener", 8000);
    ::close(client);
}

constexpr std::array kCases = {
    Case{"masks_of_a_connection",    masks_of_a_connection   },
    Case{"requested_bits_only",      requested_bits_only     },
    Case{"odd_entries",              odd_entries             },
    Case{"poll_times_out",           poll_times_out          },
    Case{"poll_is_woken",            poll_is_woken           },
    Case{"poll_without_in_is_woken", poll_without_in_is_woken},
    Case{"poll_for_space_is_woken",  poll_for_space_is_woken },
    Case{"select_sets",              select_sets             },
    Case{"pselect_waits",            pselect_waits           },
    Case{"two_thousand_descriptors", two_thousand_descriptors},
    Case{"among_other_kinds",        among_other_kinds       },
};

} // namespace

std::span<const Case> polling_cases() {
    return kCases;
}

} // namespace smcd::e2e
