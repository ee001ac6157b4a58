// Semantics: ways around the names that programs usually call: system calls by number, second names
// of libc's, its own threads, standard streams, and copies of the process that pthread_atfork()
// handlers do not hear of. Room tests/e2e, no protocol section.
#include <aio.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "tests/e2e/programs/net.hpp"
#include "tests/e2e/semantics/harness.hpp"

// glibc exports these, and declares them nowhere.
extern "C" {
ssize_t __read(int fd, void* buffer, size_t size);
ssize_t __write(int fd, const void* buffer, size_t size);
ssize_t __send(int fd, const void* buffer, size_t size, int flags);
int __close(int fd);
int __dup2(int fd, int target);
int __poll(pollfd* fds, nfds_t count, int timeout_ms);
pid_t _Fork();
}

namespace smcd::e2e {
namespace {

sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

void bytes_by_number(Context& c) {
    const int fd = c.open();
    std::array<char, 16> text{};
    iovec piece{text.data(), 4};
    msghdr header{};
    header.msg_iov = &piece;
    header.msg_iovlen = 1;
    c.peer().run("send 12");
    c.result("recvfrom",
             ::syscall(SYS_recvfrom, fd, text.data(), 4, MSG_WAITALL, nullptr, nullptr));
    c.result("recvmsg", ::syscall(SYS_recvmsg, fd, &header, MSG_WAITALL));
    c.result("readv", ::syscall(SYS_readv, fd, &piece, 1));
    c.say("'%s'", text.data());
    c.result("sendto", ::syscall(SYS_sendto, fd, "one", 3, 0, nullptr, 0));
    piece = {const_cast<char*>("four"), 4};
    c.result("writev", ::syscall(SYS_writev, fd, &piece, 1));
    c.result("sendmsg", ::syscall(SYS_sendmsg, fd, &header, 0));
    c.say("peer got %s", c.peer().run("recv 11").c_str());
    c.result("nothing there",
             ::syscall(SYS_recvfrom, fd, text.data(), 4, MSG_DONTWAIT, nullptr, nullptr));
    c.result("shutdown", ::syscall(SYS_shutdown, fd, SHUT_WR));
    c.say("peer got %s", c.peer().run("drain").c_str());
    c.result("close", ::syscall(SYS_close, fd));
    c.result("closed", ::recv(fd, text.data(), 1, 0));
}

void waiting_by_number(Context& c) {
    const int fd = c.open();
    pollfd wanted{fd, POLLIN, 0};
    const timespec soon{0, 1'000'000};
    c.result("ppoll", ::syscall(SYS_ppoll, &wanted, 1, &soon, nullptr, 8));
    const long set = ::syscall(SYS_epoll_create1, 0);
    epoll_event event{EPOLLIN, {.u64 = 7}};
    c.result("epoll_ctl", ::syscall(SYS_epoll_ctl, set, EPOLL_CTL_ADD, fd, &event));
    c.result("epoll_pwait", ::syscall(SYS_epoll_pwait, set, &event, 1, 1, nullptr, 8));
    c.peer().post(Context::when_asleep() + "send 5");
    c.result("woken", ::syscall(SYS_epoll_pwait, set, &event, 1, -1, nullptr, 8));
    c.peer().reply();
    c.say("data %llu", static_cast<unsigned long long>(event.data.u64));
    c.result("ppoll", ::syscall(SYS_ppoll, &wanted, 1, nullptr, nullptr, 8));
    fd_set reading;
    FD_ZERO(&reading);
    FD_SET(fd, &reading);
    c.result("pselect6",
             ::syscall(SYS_pselect6, fd + 1, &reading, nullptr, nullptr, nullptr, nullptr));
    c.receive(fd, 5);
}

void opened_by_number(Context& c) {
    const auto listener = static_cast<int>(::syscall(SYS_socket, AF_INET, SOCK_STREAM, 0));
    const sockaddr_in here = loopback(0);
    check(::bind(listener, reinterpret_cast<const sockaddr*>(&here), sizeof here), "bind");
    c.result("listen", ::syscall(SYS_listen, listener, 4));
    const std::string port = std::to_string(local_port(listener));
    c.peer().run("connect " + port + "; send 5");
    const auto fd =
        static_cast<int>(::syscall(SYS_accept4, listener, nullptr, nullptr, SOCK_CLOEXEC));
    c.receive(fd, 5);
    c.result("send", ::send(fd, "back", 4, 0));
    c.say("peer got %s", c.peer().run("recv 4").c_str());
}

void second_names(Context& c) {
    const int fd = c.open();
    std::array<char, 8> text{};
    c.peer().run("send 4");
    pollfd wanted{fd, POLLIN, 0};
    c.result("__poll", ::__poll(&wanted, 1, -1));
    c.result("__read", ::__read(fd, text.data(), 8));
    c.result("__write", ::__write(fd, "ab", 2));
    c.result("__send", ::__send(fd, "cd", 2, 0));
    c.result("__dup2", ::__dup2(fd, 200) - 200);
    c.result("__close", ::__close(fd));
    c.result("send", ::send(200, "ef", 2, 0));
    c.say("peer got %s", c.peer().run("recv 6").c_str());
    c.result("__close", ::__close(200));
    c.say("peer got %s", c.peer().run("drain").c_str());
}

// What an asynchronous request has come to.
ssize_t await_request(aiocb& request) {
    const aiocb* list = &request;
    while (::aio_error(&request) == EINPROGRESS) {
        ::aio_suspend(&list, 1, nullptr);
    }
    errno = ::aio_error(&request);
    return ::aio_return(&request);
}

void asynchronous_io(Context& c) {
    const int fd = c.open();
    std::array<char, 16> text{};
    c.peer().run("send 10");
    c.receive(fd, 3);
    aiocb reading{};
    reading.aio_fildes = fd;
    reading.aio_buf = text.data();
    reading.aio_nbytes = 7;
    c.result("aio_read", ::aio_read(&reading));
    c.result("read", await_request(reading));
    c.say("'%s'", text.data());
    aiocb writing{};
    writing.aio_fildes = fd;
    writing.aio_buf = const_cast<char*>("written");
    writing.aio_nbytes = 7;
    writing.aio_lio_opcode = LIO_WRITE;
    c.result("aio_write", ::aio_write(&writing));
    c.result("written", await_request(writing));
    std::array<aiocb*, 1> list = {&writing};
    c.result("lio_listio", ::lio_listio(LIO_WAIT, list.data(), 1, nullptr));
    c.result("written", await_request(writing));
    c.say("peer got %s", c.peer().run("recv 14").c_str());
}

void stdio_before_connect(Context& c) {
    const std::string port = c.peer().run("listen");
    const int fd = check(::socket(AF_INET, SOCK_STREAM, 0), "socket");
    std::FILE* stream = ::fdopen(fd, "r+");
    const sockaddr_in there = loopback(static_cast<std::uint16_t>(std::stoi(port)));
    check(::connect(fd, reinterpret_cast<const sockaddr*>(&there), sizeof there), "connect");
    c.peer().run("accept; send 5");
    std::array<char, 8> text{};
    c.result("fread", static_cast<ssize_t>(std::fread(text.data(), 1, 5, stream)));
    std::fputs("by stdio", stream);
    std::fclose(stream);
    c.say("'%s', peer got %s", text.data(), c.peer().run("drain").c_str());
}

// The number of a standard stream that was closed is the lowest free one.
void connection_is_standard_input(Context& c) {
    const int listener = listen_on("127.0.0.1", 0, 4);
    const std::string port = std::to_string(local_port(listener));
    c.peer().run("connect " + port + "; send 6");
    ::close(0);
    const int fd = accept_one(listener);
    if (fd != 0) { // another thread was faster
        check(::dup2(fd, 0), "dup2");
    }
    std::array<char, 8> text{};
    c.result("fread", static_cast<ssize_t>(std::fread(text.data(), 1, 6, stdin)));
    c.say("'%s'", text.data());
}

void await_exit(const Context& c, pid_t child) {
    int status = 0;
    ::waitpid(child, &status, __WALL);
    c.say("child: %d", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

// Both use the connection, and the child's listener serves.
void use_in_both(Context& c, pid_t (*fork_call)(int (*)(void*), void*)) {
    struct Shared {
        int fd;
        int listener;
    } shared{c.open(), listen_on("127.0.0.1", 0, 4)};

    const std::string port = std::to_string(local_port(shared.listener));
    c.peer().run("send 8");
    c.receive(shared.fd, 2);
    const auto body = [](void* argument) {
        const auto* with = static_cast<Shared*>(argument);
        std::array<char, 8> text{};
        const ssize_t got = ::recv(with->fd, text.data(), 3, MSG_WAITALL);
        ::send(with->fd, text.data(), static_cast<std::size_t>(got), 0);
        const int fd = accept_one(with->listener);
        const ssize_t more = ::recv(fd, text.data(), 4, MSG_WAITALL);
        ::send(fd, text.data(), static_cast<std::size_t>(more), 0);
        return static_cast<int>(got + more);
    };
    const pid_t child = check(fork_call(body, &shared), "the copy of the process");
    c.say("peer got %s", c.peer().run("recv 3").c_str());
    c.say("peer got %s", c.peer().run("connect " + port + "; send 4; recv 4").c_str());
    await_exit(c, child);
    c.receive(shared.fd, 8);
    c.result("send", ::send(shared.fd, "parent", 6, 0));
    c.say("peer got %s", c.peer().run("use 0; recv 6").c_str());
}

void forked_without_handlers(Context& c) {
    use_in_both(c, [](int (*body)(void*), void* argument) {
        const pid_t child = ::_Fork();
        if (child == 0) {
            ::_exit(body(argument));
        }
        return child;
    });
}

void forked_by_number(Context& c) {
    use_in_both(c, [](int (*body)(void*), void* argument) {
        const auto child =
            static_cast<pid_t>(::syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, 0));
        if (child == 0) {
            ::_exit(body(argument));
        }
        return child;
    });
}

void cloned_with_a_stack(Context& c) {
    use_in_both(c, [](int (*body)(void*), void* argument) {
        static std::vector<char> stack(1 << 20);
        return static_cast<pid_t>(::clone(body, stack.data() + stack.size(), SIGCHLD, argument));
    });
}

// The process ends with its last thread, and nobody else keeps it.
void main_thread_ends_first(Context& c) {
    const int listener = listen_on("127.0.0.1", 0, 4);
    const std::string port = std::to_string(local_port(listener));
    const std::string number = std::to_string(listener);
    const pid_t child = ::fork();
    if (child == 0) {
        ::fcntl(listener, F_SETFD, 0);
        ::execl("/proc/self/exe",
                "e2e_semantics",
                "thread",
                number.c_str(),
                static_cast<char*>(nullptr));
        ::_exit(99);
    }
    ::close(listener);
    c.say("peer got %s",
          c.peer().run("connect " + port + "; send 4; recv 4; shutdown wr; drain").c_str());
    await_exit(c, child);
}

// A filter that ends the thread where it sleeps or wakes by futex(), which TCP never needs.
void sandboxed(Context& c) {
    const int fd = c.open();
    c.peer().run("send 9");
    c.receive(fd, 4);
    std::array<sock_filter, 4> steps = {
        sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_futex, 0, 1),
        sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    const sock_fprog program{steps.size(), steps.data()};
    check(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges");
    check(::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0), "seccomp");
    c.receive(fd, 9);
    c.peer().post(Context::when_asleep() + "send 5");
    c.receive(fd, 9);
    c.peer().reply();
    c.result("send", ::send(fd, "end", 3, 0));
    c.say("peer got %s", c.peer().run("recv 3").c_str());
    std::fflush(stdout);
    ::syscall(SYS_exit_group, 0);
}

constexpr std::array kCases = {
    Case{"bytes_by_number",              bytes_by_number             },
    Case{"waiting_by_number",            waiting_by_number           },
    Case{"opened_by_number",             opened_by_number            },
    Case{"second_names",                 second_names                },
    Case{"asynchronous_io",              asynchronous_io             },
    Case{"stdio_before_connect",         stdio_before_connect        },
    Case{"connection_is_standard_input", connection_is_standard_input},
    Case{"forked_without_handlers",      forked_without_handlers     },
    Case{"forked_by_number",             forked_by_number            },
    Case{"cloned_with_a_stack",          cloned_with_a_stack         },
    Case{"main_thread_ends_first",       main_thread_ends_first      },
    Case{"sandboxed",                    sandboxed                   },
};

} // namespace

std::span<const Case> bypass_cases() {
    return kCases;
}

} // namespace smcd::e2e
