// Semantics: connections whose peer has closed, handed on to stdio and to other programs with bytes
// unread. Room tests/e2e, no protocol section.
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <string>

#include "tests/e2e/programs/net.hpp"
#include "tests/e2e/semantics/harness.hpp"

extern char** environ; // NOLINT(readability-redundant-declaration): glibc hides it in strict mode

namespace smcd::e2e {
namespace {

void await_exit(const Context& c, pid_t child) {
    int status = 0;
    ::waitpid(child, &status, 0);
    c.say("child: %d", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

// What the peer had sent before it closed, for whoever knows nothing of it.
int with_an_end(Context& c) {
    const int fd = c.open();
    c.peer().run("send 12; close");
    c.await(fd, POLLRDHUP);
    c.receive(fd, 2);
    return fd;
}

// Everything that a program prints whose standard input is `fd`.
template <typename Start>
void output_of_cat(const Context& c, Start start) {
    std::array<int, 2> pipe{};
    check(::pipe2(pipe.data(), O_CLOEXEC), "pipe2");
    const pid_t child = start(pipe[1]);
    ::close(pipe[1]);
    std::array<char, 32> text{};
    std::size_t size = 0;
    for (ssize_t got = 1; got > 0; size += static_cast<std::size_t>(std::max<ssize_t>(got, 0))) {
        got = ::read(pipe[0], text.data() + size, text.size() - size - 1);
    }
    c.say("printed '%s'", text.data());
    ::close(pipe[0]);
    await_exit(c, child);
}

void program_behind_the_end(Context& c) {
    const int fd = with_an_end(c);
    output_of_cat(c, [fd](int out) {
        const pid_t child = ::fork();
        if (child == 0) {
            ::dup2(fd, 0);
            ::dup2(out, 1);
            ::execl("/bin/cat", "cat", static_cast<char*>(nullptr));
            ::_exit(99);
        }
        return child;
    });
}

void spawned_behind_the_end(Context& c) {
    const int fd = with_an_end(c);
    output_of_cat(c, [fd](int out) {
        posix_spawn_file_actions_t actions;
        ::posix_spawn_file_actions_init(&actions);
        ::posix_spawn_file_actions_adddup2(&actions, fd, 0);
        ::posix_spawn_file_actions_adddup2(&actions, out, 1);
        std::string cat = "cat";
        std::array<char*, 2> arguments = {cat.data(), nullptr};
        pid_t child = -1;
        ::posix_spawn(&child, "/bin/cat", &actions, nullptr, arguments.data(), environ);
        ::posix_spawn_file_actions_destroy(&actions);
        return child;
    });
}

void stdio_behind_the_end(Context& c) {
    const int fd = with_an_end(c);
    const int copy = ::dup(fd);
    std::FILE* in = ::fdopen(fd, "r");
    std::array<char, 32> text{};
    c.result("fread", static_cast<ssize_t>(std::fread(text.data(), 1, 4, in)));
    c.say("'%s'", text.data());
    std::setvbuf(in, nullptr, _IONBF, 0);
    c.result("fread", static_cast<ssize_t>(std::fread(text.data(), 1, 20, in)));
    c.say("'%s' end %d", text.data(), std::feof(in) != 0 ? 1 : 0);
    c.receive(copy, 8);
    c.result("close", std::fclose(in));
    c.receive(copy, 8);
}

void watched_behind_the_end(Context& c) {
    const int fd = with_an_end(c);
    const int set = check(::epoll_create1(0), "epoll_create1");
    epoll_event event{EPOLLIN, {.fd = fd}};
    check(::epoll_ctl(set, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
    std::FILE* in = ::fdopen(fd, "r");
    std::setvbuf(in, nullptr, _IONBF, 0);
    c.result("epoll_wait", ::epoll_wait(set, &event, 1, -1));
    c.say("getc %d", std::fgetc(in));
    c.result("DEL", ::epoll_ctl(set, EPOLL_CTL_DEL, fd, nullptr));
    c.receive(fd, 20);
    c.receive(fd, 20);
    std::fclose(in);
}

constexpr std::array kCases = {
    Case{"program_behind_the_end", program_behind_the_end},
    Case{"spawned_behind_the_end", spawned_behind_the_end},
    Case{"stdio_behind_the_end",   stdio_behind_the_end  },
    Case{"watched_behind_the_end", watched_behind_the_end},
};

} // namespace

std::span<const Case> handed_on_cases() {
    return kCases;
}

} // namespace smcd::e2e
