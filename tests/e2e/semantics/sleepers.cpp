// Semantics: the descriptor goes while a thread sleeps in a call on it.
// Room tests/e2e, no protocol section.
#include <pthread.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csetjmp>
#include <csignal>
#include <thread>

#include "tests/e2e/programs/net.hpp"
#include "tests/e2e/semantics/harness.hpp"

namespace smcd::e2e {
namespace {

// A thread inside recv(fd, 8), asleep when the constructor returns.
class Sleeper {
public:
    explicit Sleeper(int fd) : fd_(fd) {
        check(::pthread_create(&thread_, nullptr, &receive, this) == 0 ? 0 : -1, "pthread_create");
        while (tid_ == -1) {
            std::this_thread::yield();
        }
        wait_asleep(::getpid(), tid_);
    }

    void interrupt() const { ::pthread_kill(thread_, SIGUSR1); }
    void cancel() const { ::pthread_cancel(thread_); }

    // Waits for its return and prints what it got.
    void join(const Context& c) {
        join();
        errno = error_;
        c.result("the sleeper's recv", got_);
    }
    ssize_t join() {
        ::pthread_join(thread_, nullptr);
        return got_;
    }

private:
    static void* receive(void* argument) {
        auto* self = static_cast<Sleeper*>(argument);
        self->tid_ = ::gettid();
        std::array<char, 8> buffer{};
        self->got_ = ::recv(self->fd_, buffer.data(), buffer.size(), 0);
        self->error_ = errno;
        return nullptr;
    }

    int fd_;
    std::atomic<pid_t> tid_{-1};
    pthread_t thread_{};
    ssize_t got_ = -2;
    int error_ = 0;
};

void let_signals_interrupt() {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    check(::sigaction(SIGUSR1, &action, nullptr), "sigaction");
}

void closed_under_a_receive(Context& c) {
    const int fd = c.open();
    Sleeper sleeper(fd);
    ::close(fd);
    c.peer().run("send 3");
    sleeper.join(c);
    c.say("peer: %s", c.peer().run("recv 1").c_str());
}

void closed_under_a_receive_that_the_peer_ends(Context& c) {
    const int fd = c.open();
    Sleeper sleeper(fd);
    ::close(fd);
    c.peer().run("close");
    sleeper.join(c);
}

void closed_under_a_send(Context& c) {
    int fd = c.open();
    c.peer().run("send 1");
    c.receive(fd, 1); // the handshake is over: close() may have to end the sending for it
    const ssize_t filled = fill(fd);
    const auto helper = when_caller_sleeps(
        [](void* argument) { ::close(*static_cast<int*>(argument)); }, &fd);
    c.peer().post(Context::when_asleep() + "recv " + std::to_string(filled + 1) + "; recv 1");
    c.result("send", ::send(fd, "x", 1, MSG_NOSIGNAL));
    c.say("all of it, then the end: %d", c.peer().reply().ends_with("'' end") ? 1 : 0);
}

void replaced_under_a_receive(Context& c) {
    const int fd = c.open();
    std::array<int, 2> other{};
    check(::socketpair(AF_UNIX, SOCK_STREAM, 0, other.data()), "socketpair");
    let_signals_interrupt();
    Sleeper sleeper(fd);
    c.result("dup2", ::dup2(other[0], fd) == fd ? 0 : -1);
    sleeper.interrupt();
    sleeper.join(c);
    c.say("peer: %s", c.peer().run("recv 1").c_str());
    c.result("send", ::send(fd, "other", 5, 0));
    std::array<char, 8> buffer{};
    c.result("recv", ::recv(other[1], buffer.data(), buffer.size(), 0));
}

void closed_under_two_receives(Context& c) {
    const int fd = c.open();
    Sleeper one(fd);
    Sleeper two(fd);
    ::close(fd);
    c.peer().run("send 8; close");
    // Which of the two gets the bytes is chance.
    c.say("one got them, the other the end: %d", one.join() + two.join() == 8 ? 1 : 0);
}

void cancelled_after_the_close(Context& c) {
    const int fd = c.open();
    Sleeper sleeper(fd);
    ::close(fd);
    sleeper.cancel();
    sleeper.join(c);
    c.say("peer: %s", c.peer().run("recv 1").c_str());
}

void forked_after_the_close(Context& c) {
    const int fd = c.open();
    Sleeper sleeper(fd);
    ::close(fd);
    const pid_t child = ::fork();
    if (child == 0) {
        ::_exit(0);
    }
    int status = -1;
    ::waitpid(child, &status, 0);
    c.say("child: %d", status);
    c.peer().run("send 3");
    sleeper.join(c);
    c.say("peer: %s", c.peer().run("recv 1").c_str());
}

sigjmp_buf jump_target;

void closed_after_a_jump_out_of_a_receive(Context& c) {
    const int fd = c.open();
    struct sigaction action {};
    action.sa_handler = [](int) { ::siglongjmp(jump_target, 1); };
    check(::sigaction(SIGUSR1, &action, nullptr), "sigaction");
    if (sigsetjmp(jump_target, 1) == 0) {
        static std::jthread helper; // must survive the jump
        static pthread_t self;
        self = ::pthread_self();
        helper = when_caller_sleeps([](void* thread) { ::pthread_kill(*static_cast<pthread_t*>(thread), SIGUSR1); },
                                    &self);
        char byte = 0;
        c.result("recv", ::recv(fd, &byte, 1, 0));
    }
    ::close(fd);
    c.say("peer: %s", c.peer().run("recv 1").c_str());
}

constexpr std::array kCases = {
    Case{"closed_under_a_receive",                    closed_under_a_receive                   },
    Case{"closed_under_a_receive_that_the_peer_ends", closed_under_a_receive_that_the_peer_ends},
    Case{"closed_under_a_send",                       closed_under_a_send                      },
    Case{"replaced_under_a_receive",                  replaced_under_a_receive                 },
    Case{"closed_under_two_receives",                 closed_under_two_receives                },
    Case{"cancelled_after_the_close",                 cancelled_after_the_close                },
    Case{"forked_after_the_close",                    forked_after_the_close                   },
    Case{"closed_after_a_jump_out_of_a_receive",      closed_after_a_jump_out_of_a_receive     },
};

}  // namespace

std::span<const Case> sleeper_cases() {
    return kCases;
}

}  // namespace smcd::e2e
