// A server in a child process and a client in the test, both on libsmcd: within one process
// connections stay on TCP.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <smcd/smcd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <functional>
#include <span>
#include <vector>

#include <gtest/gtest.h>

namespace smcd::library::test {

/// What a child asserts: the first condition that does not hold ends it.
#define SMCD_CHILD_CHECK(condition)                                                                \
    if (!(condition)) {                                                                            \
        std::fprintf(stderr, "child: line %d: %s, errno %d\n", __LINE__, #condition, errno);       \
        ::_exit(1);                                                                                \
    }

inline sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

inline const sockaddr* as_sockaddr(const sockaddr_in& address) {
    return reinterpret_cast<const sockaddr*>(&address);
}

inline std::uint16_t port_of(int fd) {
    sockaddr_in address{};
    socklen_t length = sizeof(address);
    ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length);
    return ntohs(address.sin_port);
}

/// Byte i of every test stream.
inline unsigned char pattern(std::size_t i) {
    return static_cast<unsigned char>(i * 131 + (i >> 8U) * 7 + (i >> 16U));
}

/// Bytes first..first+n of the stream.
inline std::vector<unsigned char> pattern_bytes(std::size_t first, std::size_t n) {
    std::vector<unsigned char> bytes(n);
    for (std::size_t i = 0; i < n; ++i) {
        bytes[i] = pattern(first + i);
    }
    return bytes;
}

inline bool matches(std::span<const unsigned char> bytes, std::size_t first) {
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        if (bytes[i] != pattern(first + i)) {
            return false;
        }
    }
    return true;
}

/// A one-byte line between parent and child.
class Line {
public:
    Line() { static_cast<void>(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends_)); }

    ~Line() {
        ::close(ends_[0]);
        ::close(ends_[1]);
    }

    Line(const Line&) = delete;
    Line& operator=(const Line&) = delete;

    void parent_says() { say(0); }

    void child_says() { say(1); }

    void parent_hears() { hear(0); }

    void child_hears() { hear(1); }

private:
    void say(int end) { static_cast<void>(!::write(ends_[end], "x", 1)); }

    void hear(int end) {
        char c = 0;
        static_cast<void>(!::read(ends_[end], &c, 1));
    }

    int ends_[2] = {-1, -1};
};

using Role = std::function<void(smcd_ctx*, smcd_sock*)>;

/// Runs `server` on the accepted socket in a child and `client` on the connected one here.
inline void run_pair(const Role& server, const Role& client) {
    int port_pipe[2];
    ASSERT_EQ(::pipe(port_pipe), 0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        smcd_ctx* ctx = ::smcd_ctx_create(nullptr);
        SMCD_CHILD_CHECK(ctx != nullptr);
        smcd_sock* listener = ::smcd_socket(ctx, AF_INET, 0);
        const sockaddr_in any = loopback(0);
        SMCD_CHILD_CHECK(::smcd_bind(listener, as_sockaddr(any), sizeof(any)) == 0);
        SMCD_CHILD_CHECK(::smcd_listen(listener, 8) == 0);
        const std::uint16_t port = port_of(::smcd_fd(listener));
        SMCD_CHILD_CHECK(::write(port_pipe[1], &port, sizeof(port)) == sizeof(port));
        smcd_sock* sock = ::smcd_accept(listener, nullptr, nullptr, 0);
        SMCD_CHILD_CHECK(sock != nullptr);
        server(ctx, sock);
        ::smcd_ctx_destroy(ctx);
        ::_exit(0);
    }
    ::close(port_pipe[1]);
    std::uint16_t port = 0;
    const bool told = ::read(port_pipe[0], &port, sizeof(port)) == sizeof(port);
    ::close(port_pipe[0]);
    if (told) {
        smcd_ctx* ctx = ::smcd_ctx_create(nullptr);
        smcd_sock* sock = ::smcd_socket(ctx, AF_INET, 0);
        const sockaddr_in address = loopback(port);
        EXPECT_EQ(::smcd_connect(sock, as_sockaddr(address), sizeof(address)), 0);
        client(ctx, sock);
        ::smcd_ctx_destroy(ctx);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_TRUE(told);
    EXPECT_EQ(status, 0);
}

} // namespace smcd::library::test
