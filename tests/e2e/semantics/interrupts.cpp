// Semantics: signals that arrive while a call waits, with and without SA_RESTART.
// Room tests/e2e, no protocol section.
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csetjmp>
#include <csignal>
#include <string>

#include "tests/e2e/programs/net.hpp"
#include "tests/e2e/semantics/harness.hpp"

namespace smcd::e2e {
namespace {

constexpr int kWaitMs = 8000;

// What handlers can reach: plain objects without construction.
std::atomic<int> handled{0};
std::atomic<int> handler_fd{-1};
std::atomic<int> handler_result{0};
sigjmp_buf jump_target;

void count_it(int) {
    handled.fetch_add(1);
}

void handle(void (*handler)(int), int flags) {
    struct sigaction action {};

    action.sa_handler = handler;
    action.sa_flags = flags;
    check(::sigaction(SIGUSR1, &action, nullptr), "sigaction");
    handled = 0;
}

// Sends SIGUSR1 to the calling thread as soon as it sleeps, once.
std::jthread signal_me_once() {
    thread_local pthread_t self;
    self = ::pthread_self();
    return when_caller_sleeps(
        [](void* thread) { ::pthread_kill(*static_cast<pthread_t*>(thread), SIGUSR1); }, &self);
}

// The same, and again while the call goes on to sleep: the verdict of the handshake may have woken
// it just when the signal came (docs/known-differences.md, "Process"). Ends with the call.
std::jthread signal_me() {
    return std::jthread(
        [thread = ::pthread_self(), tid = ::gettid()](const std::stop_token& over) {
            for (;;) {
                wait_asleep(::getpid(), tid);
                if (over.stop_requested()) {
                    return;
                }
                ::pthread_kill(thread, SIGUSR1);
            }
        });
}

void interrupted_receive(Context& c) {
    const int fd = c.open();
    handle(count_it, 0);
    {
        const auto helper = signal_me();
        c.receive(fd, 8);
    }
    c.say("handled: %d", handled > 0 ? 1 : 0);
    c.peer().run("send 2");
    c.receive(fd, 8);
}

void restarted_receive(Context& c) {
    const int fd = c.open();
    handle(count_it, SA_RESTART);

    struct Both {
        Context* c;
        pthread_t thread;
        pid_t tid;
    } both{&c, ::pthread_self(), ::gettid()};

    const auto helper = when_caller_sleeps(
        [](void* argument) {
            const auto* with = static_cast<Both*>(argument);
            ::pthread_kill(with->thread, SIGUSR1);
            while (handled == 0) {
                std::this_thread::yield();
            }
            wait_asleep(::getpid(), with->tid);
            with->c->peer().run("send 3");
        },
        &both);
    c.receive(fd, 8);
    c.say("handled %d", handled.load());
}

void timed_receive_is_not_restarted(Context& c) {
    const int fd = c.open();
    const timeval limit{8, 0};
    check(::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), "SO_RCVTIMEO");
    handle(count_it, SA_RESTART);
    const auto helper = signal_me();
    c.receive(fd, 8);
    c.say("handled: %d", handled > 0 ? 1 : 0);
}

void interrupted_send(Context& c) {
    const int fd = c.open();
    fill(fd);
    handle(count_it, 0);
    const auto helper = signal_me();
    c.result("send", ::send(fd, "x", 1, 0));
    c.say("handled: %d", handled > 0 ? 1 : 0);
}

void timed_send_is_not_restarted(Context& c) {
    const int fd = c.open();
    fill(fd);
    const timeval limit{8, 0};
    check(::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit), "SO_SNDTIMEO");
    handle(count_it, SA_RESTART);
    const auto helper = signal_me();
    c.result("send", ::send(fd, "x", 1, 0));
}

void partial_wait_all(Context& c) {
    const int fd = c.open();
    c.peer().run("send 3");
    c.await(fd, POLLIN);
    handle(count_it, SA_RESTART);
    const auto helper = signal_me();
    c.receive(fd, 8, MSG_WAITALL);
    c.say("handled: %d", handled > 0 ? 1 : 0);
}

void interrupted_poll(Context& c) {
    const int fd = c.open();
    for (const int flags : {0, SA_RESTART}) {
        handle(count_it, flags);
        const auto helper = signal_me();
        pollfd wait{fd, POLLIN, 0};
        c.result("poll", ::poll(&wait, 1, kWaitMs));
    }
}

void interrupted_select(Context& c) {
    const int fd = c.open();
    for (const int flags : {0, SA_RESTART}) {
        handle(count_it, flags);
        const auto helper = signal_me();
        fd_set readable;
        FD_ZERO(&readable);
        FD_SET(fd, &readable);
        timeval limit{8, 0};
        c.result("select", ::select(fd + 1, &readable, nullptr, nullptr, &limit));
    }
}

void interrupted_epoll(Context& c) {
    const int fd = c.open();
    const int set = check(::epoll_create1(0), "epoll_create1");
    epoll_event event{};
    event.events = EPOLLIN;
    check(::epoll_ctl(set, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
    for (const int flags : {0, SA_RESTART}) {
        handle(count_it, flags);
        const auto helper = signal_me();
        c.result("epoll_wait", ::epoll_wait(set, &event, 1, kWaitMs));
    }
}

void interrupted_accept(Context& c) {
    const int listener = listen_on("127.0.0.1", 0, 4);
    handle(count_it, 0);
    const auto helper = signal_me();
    c.result("accept", ::accept(listener, nullptr, nullptr));
}

// The mask of the waiting call decides, not the thread's: pending before, delivered inside.
void masked_waits(Context& c) {
    const int fd = c.open();
    handle(count_it, 0);
    sigset_t blocked;
    sigset_t none;
    sigemptyset(&none);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    check(::pthread_sigmask(SIG_BLOCK, &blocked, nullptr), "pthread_sigmask");
    const int set = check(::epoll_create1(0), "epoll_create1");
    epoll_event event{};
    event.events = EPOLLIN;
    check(::epoll_ctl(set, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
    pollfd wait{fd, POLLIN, 0};
    ::pthread_kill(::pthread_self(), SIGUSR1);
    c.say("blocked: handled %d", handled.load());
    c.result("ppoll", ::ppoll(&wait, 1, nullptr, &none));
    c.say("handled %d", handled.load());
    ::pthread_kill(::pthread_self(), SIGUSR1);
    c.result("epoll_pwait", ::epoll_pwait(set, &event, 1, kWaitMs, &none));
    c.say("handled %d", handled.load());
    ::pthread_kill(::pthread_self(), SIGUSR1);
    fd_set readable;
    FD_ZERO(&readable);
    FD_SET(fd, &readable);
    c.result("pselect", ::pselect(fd + 1, &readable, nullptr, nullptr, nullptr, &none));
    c.say("handled %d", handled.load());
    const timespec soon{0, 20'000'000};
    ::pthread_kill(::pthread_self(), SIGUSR1);
    c.result("ppoll with it blocked", ::ppoll(&wait, 1, &soon, &blocked));
    c.say("handled %d", handled.load());
}

void handler_uses_the_connection(Context& c) {
    const int fd = c.open();
    handler_fd = fd;
    handle(
        [](int) {
            const int saved = errno;
            if (handled.fetch_add(1) == 0) {
                handler_result = static_cast<int>(::send(handler_fd, "handler", 7, MSG_NOSIGNAL));
            }
            errno = saved;
        },
        0);
    {
        const auto helper = signal_me();
        c.receive(fd, 8);
    }
    c.say("handled %d, sent %d", handled > 0 ? 1 : 0, handler_result.load());
    c.say("peer got %s", c.peer().run("recv 7; send 3").c_str());
    c.receive(fd, 8);
}

void jump_out_of_a_wait(Context& c) {
    const int fd = c.open();
    handle([](int) { ::siglongjmp(jump_target, 1); }, 0);
    if (sigsetjmp(jump_target, 1) == 0) {
        static std::jthread helper; // must survive the jump
        helper = signal_me_once();
        char byte = 0;
        c.result("recv", ::recv(fd, &byte, 1, 0));
    } else {
        c.say("jumped");
    }
    c.peer().run("send 4");
    c.receive(fd, 8);
    c.result("send", ::send(fd, "fine", 4, 0));
    c.say("peer got %s", c.peer().run("recv 4").c_str());
}

void ignored_signal(Context& c) {
    const int fd = c.open();
    handle(SIG_IGN, 0);
    ::kill(::getpid(), SIGUSR1);
    c.peer().post(Context::when_asleep() + "send 2");
    c.receive(fd, 8);
    c.peer().reply();
}

constexpr std::array kCases = {
    Case{"interrupted_receive",            interrupted_receive           },
    Case{"restarted_receive",              restarted_receive             },
    Case{"timed_receive_is_not_restarted", timed_receive_is_not_restarted},
    Case{"interrupted_send",               interrupted_send              },
    Case{"timed_send_is_not_restarted",    timed_send_is_not_restarted   },
    Case{"partial_wait_all",               partial_wait_all              },
    Case{"interrupted_poll",               interrupted_poll              },
    Case{"interrupted_select",             interrupted_select            },
    Case{"interrupted_epoll",              interrupted_epoll             },
    Case{"interrupted_accept",             interrupted_accept            },
    Case{"masked_waits",                   masked_waits                  },
    Case{"handler_uses_the_connection",    handler_uses_the_connection   },
    Case{"jump_out_of_a_wait",             jump_out_of_a_wait            },
    Case{"ignored_signal",                 ignored_signal                },
};

} // namespace

std::span<const Case> interrupt_cases() {
    return kCases;
}

} // namespace smcd::e2e
