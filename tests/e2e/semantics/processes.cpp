// Semantics: fork, exec and threads with open connections.
// Room tests/e2e, no protocol section.
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <string>
#include <thread>

#include "tests/e2e/programs/net.hpp"
#include "tests/e2e/semantics/harness.hpp"

extern char** environ; // NOLINT(readability-redundant-declaration): glibc hides it in strict mode

namespace smcd::e2e {
namespace {

// Forks; the child runs `body` and leaves with its result as exit status.
template <typename Body>
pid_t in_child(Body body) {
    const pid_t child = ::fork();
    if (child == 0) {
        ::_exit(body());
    }
    return check(child, "fork");
}

void await_child(const Context& c, pid_t child) {
    int status = 0;
    ::waitpid(child, &status, 0);
    c.say("child: %s %d",
          WIFEXITED(status) ? "exit" : "signal",
          WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

void child_uses_parent_closes(Context& c) {
    const int fd = c.open();
    c.peer().run("send 4");
    const pid_t child = in_child([fd] {
        std::array<char, 8> text{};
        const ssize_t got = ::recv(fd, text.data(), 4, MSG_WAITALL);
        ::send(fd, "child", 5, 0);
        return got == 4 ? 0 : 1;
    });
    ::close(fd);
    c.say("peer got %s", c.peer().run("recv 5").c_str());
    await_child(c, child);
    c.say("peer got %s", c.peer().run("drain").c_str());
}

void child_closes_parent_uses(Context& c) {
    const int fd = c.open();
    const pid_t child = in_child([fd] { return ::close(fd) == 0 ? 0 : 1; });
    await_child(c, child);
    c.result("send", ::send(fd, "alive", 5, 0));
    c.say("peer got %s", c.peer().run("recv 5; send 3").c_str());
    c.receive(fd, 8);
    ::close(fd);
    c.say("peer got %s", c.peer().run("drain").c_str());
}

void child_exits_without_close(Context& c) {
    const int fd = c.open();
    const pid_t child = in_child([] { return 0; });
    await_child(c, child);
    c.peer().run("send 3");
    c.receive(fd, 8);
    c.result("send", ::send(fd, "alive", 5, 0));
    c.say("peer got %s", c.peer().run("recv 5").c_str());
}

void both_send(Context& c) {
    const int fd = c.open();
    c.result("parent", ::send(fd, "p1", 2, 0));
    const pid_t child = in_child([fd] { return ::send(fd, "c1", 2, 0) == 2 ? 0 : 1; });
    await_child(c, child);
    c.result("parent", ::send(fd, "p2", 2, 0));
    const pid_t second = in_child([fd] { return ::send(fd, "c2", 2, 0) == 2 ? 0 : 1; });
    await_child(c, second);
    c.say("peer got %s", c.peer().run("recv 8").c_str());
}

void both_receive(Context& c) {
    const int fd = c.open();
    c.peer().run("send 12");
    c.receive(fd, 3);
    const pid_t child = in_child([fd] {
        std::array<char, 8> text{};
        return ::recv(fd, text.data(), 4, MSG_WAITALL) == 4 && text[0] == (text[3] - 3) ? 0 : 1;
    });
    await_child(c, child);
    c.receive(fd, 20);
}

void child_waits_parent_sends(Context& c) {
    const int fd = c.open();
    const pid_t child = in_child([fd] {
        std::array<char, 8> text{};
        return ::recv(fd, text.data(), 8, 0) == 3 ? 0 : 1;
    });
    wait_asleep(child, child);
    c.result("send", ::send(fd, "from parent", 11, 0));
    c.say("peer got %s", c.peer().run("recv 11; send 3").c_str());
    await_child(c, child);
}

void shutdown_in_the_child(Context& c) {
    const int fd = c.open();
    const pid_t child = in_child([fd] { return ::shutdown(fd, SHUT_WR) == 0 ? 0 : 1; });
    await_child(c, child);
    c.result("send", ::send(fd, "x", 1, MSG_NOSIGNAL));
    c.say("peer got %s", c.peer().run("drain").c_str());
}

void killed_child_leaves_the_connection(Context& c) {
    const int fd = c.open();
    const pid_t child = in_child([fd] {
        char byte = 0;
        ::recv(fd, &byte, 1, 0);
        return 0;
    });
    wait_asleep(child, child);
    ::kill(child, SIGKILL);
    await_child(c, child);
    c.peer().run("send 3");
    c.receive(fd, 8);
    c.result("send", ::send(fd, "alive", 5, 0));
    c.say("peer got %s", c.peer().run("recv 5").c_str());
}

void grandchild_is_the_last(Context& c) {
    const int fd = c.open();
    const pid_t child = in_child([fd] {
        const pid_t grandchild = ::fork();
        if (grandchild != 0) {
            return 0;
        }
        std::array<char, 8> text{};
        const ssize_t got = ::recv(fd, text.data(), 2, MSG_WAITALL);
        ::send(fd, text.data(), static_cast<std::size_t>(got), 0);
        return 0;
    });
    await_child(c, child);
    ::close(fd);
    c.say("peer got %s", c.peer().run("send 2; recv 2").c_str());
    c.say("peer got %s", c.peer().run("drain").c_str());
}

void listener_shared_with_a_child(Context& c) {
    const int listener = listen_on("127.0.0.1", 0, 4);
    const std::string port = std::to_string(local_port(listener));
    const pid_t child = in_child([listener] {
        const int fd = accept_one(listener);
        std::array<char, 8> text{};
        const ssize_t got = ::recv(fd, text.data(), 3, MSG_WAITALL);
        return ::send(fd, text.data(), static_cast<std::size_t>(got), 0) == 3 ? 0 : 1;
    });
    ::close(listener);
    c.say("peer got %s", c.peer().run("connect " + port + "; send 3; recv 3").c_str());
    await_child(c, child);
    c.say("peer got %s", c.peer().run("drain").c_str());
}

// Starts this program as "echo FD"; a null environment leaves the library out of it.
pid_t exec_echo(int fd, char** environment) {
    const std::string number = std::to_string(fd);
    return in_child([&] {
        check(::fcntl(fd, F_SETFD, 0), "F_SETFD");
        ::execle("/proc/self/exe",
                 "e2e_semantics",
                 "echo",
                 number.c_str(),
                 static_cast<char*>(nullptr),
                 environment);
        return 99;
    });
}

void through_exec(Context& c, char** environment) {
    const int fd = c.open();
    c.peer().run("send 5");
    c.receive(fd, 2);
    const pid_t child = exec_echo(fd, environment);
    ::close(fd);
    c.say("peer got %s", c.peer().run("recv 3").c_str());
    c.say("peer got %s", c.peer().run("send 9; recv 9").c_str());
    c.say("peer got %s", c.peer().run("send 100000; recv 100000").c_str());
    c.say("peer got %s", c.peer().run("shutdown wr; drain").c_str());
    await_child(c, child);
}

void exec_of_the_same_kind(Context& c) {
    through_exec(c, environ);
}

void exec_without_the_library(Context& c) {
    std::array<char*, 1> nothing = {nullptr};
    through_exec(c, nothing.data());
}

void exec_closes_it(Context& c) {
    const int fd = c.open();
    check(::fcntl(fd, F_SETFD, FD_CLOEXEC), "F_SETFD");
    const pid_t child = in_child([] {
        ::execl("/bin/true", "true", static_cast<char*>(nullptr));
        return 99;
    });
    await_child(c, child);
    c.result("send", ::send(fd, "alive", 5, 0));
    c.say("peer got %s", c.peer().run("recv 5").c_str());
}

// A connection as standard input and output of a program that knows nothing of sockets.
void spawned_with_it_as_standard_streams(Context& c) {
    const int fd = c.open();
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, fd, 0);
    ::posix_spawn_file_actions_adddup2(&actions, fd, 1);
    std::string cat = "cat";
    std::array<char*, 2> arguments = {cat.data(), nullptr};
    pid_t child = -1;
    const int failed =
        ::posix_spawn(&child, "/bin/cat", &actions, nullptr, arguments.data(), environ);
    c.say("posix_spawn %d", failed);
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(fd);
    c.say("peer got %s", c.peer().run("send 7; recv 7").c_str());
    c.say("peer got %s", c.peer().run("shutdown wr; drain").c_str());
    await_child(c, child);
}

void inherited_by_a_shell(Context& c) {
    const int fd = c.open();
    check(::dup2(fd, 9), "dup2");
    ::close(fd);
    c.say("system: %d", ::system("echo from the shell >&9")); // NOLINT(cert-env33-c): the test
    c.say("peer got %s", c.peer().run("recv 15").c_str());
    c.result("send", ::send(9, "after", 5, 0));
    c.say("peer got %s", c.peer().run("recv 5").c_str());
}

void cancelled_thread(Context& c) {
    const int fd = c.open();
    pthread_t thread{};

    struct Shared {
        int fd;
        std::atomic<pid_t> tid;
    } shared{fd, -1};

    const auto body = [](void* argument) -> void* {
        auto* with = static_cast<Shared*>(argument);
        with->tid = ::gettid();
        char byte = 0;
        ::recv(with->fd, &byte, 1, 0);
        return nullptr;
    };
    check(::pthread_create(&thread, nullptr, body, &shared) == 0 ? 0 : -1, "pthread_create");
    while (shared.tid == -1) {
        std::this_thread::yield();
    }
    wait_asleep(::getpid(), shared.tid);
    ::pthread_cancel(thread);
    void* value = nullptr;
    ::pthread_join(thread, &value);
    c.say("cancelled: %d", value == PTHREAD_CANCELED ? 1 : 0);
    c.peer().run("send 4");
    c.receive(fd, 8);
    c.result("send", ::send(fd, "fine", 4, 0));
    c.say("peer got %s", c.peer().run("recv 4").c_str());
}

void two_threads_receive(Context& c) {
    const int fd = c.open();
    std::array<ssize_t, 2> got{};
    {
        std::jthread one([&] {
            char byte = 0;
            got[0] = ::recv(fd, &byte, 1, 0);
        });
        std::jthread two([&] {
            char byte = 0;
            got[1] = ::recv(fd, &byte, 1, 0);
        });
        c.peer().run("send 2");
    }
    c.say("each got one: %zd %zd", got[0], got[1]);
}

constexpr std::array kCases = {
    Case{"child_uses_parent_closes",            child_uses_parent_closes           },
    Case{"child_closes_parent_uses",            child_closes_parent_uses           },
    Case{"child_exits_without_close",           child_exits_without_close          },
    Case{"both_send",                           both_send                          },
    Case{"both_receive",                        both_receive                       },
    Case{"child_waits_parent_sends",            child_waits_parent_sends           },
    Case{"shutdown_in_the_child",               shutdown_in_the_child              },
    Case{"killed_child_leaves_the_connection",  killed_child_leaves_the_connection },
    Case{"grandchild_is_the_last",              grandchild_is_the_last             },
    Case{"listener_shared_with_a_child",        listener_shared_with_a_child       },
    Case{"exec_of_the_same_kind",               exec_of_the_same_kind              },
    Case{"exec_without_the_library",            exec_without_the_library           },
    Case{"exec_closes_it",                      exec_closes_it                     },
    Case{"spawned_with_it_as_standard_streams", spawned_with_it_as_standard_streams},
    Case{"inherited_by_a_shell",                inherited_by_a_shell               },
    Case{"cancelled_thread",                    cancelled_thread                   },
    Case{"two_threads_receive",                 two_threads_receive                },
};

} // namespace

std::span<const Case> process_cases() {
    return kCases;
}

} // namespace smcd::e2e
