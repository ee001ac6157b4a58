// One end of a connection, through ordinary calls (under the preloaded library) or through libsmcd:
// the same program is built twice.
#pragma once

#include <arpa/inet.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#ifdef SMCD_HOT_LIBRARY
#include <smcd/smcd.h>
#endif

namespace smcd::hot {

[[noreturn]] inline void die(const char* what) {
    std::perror(what);
    std::exit(1);
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

#ifdef SMCD_HOT_LIBRARY

using Handle = smcd_sock*;

inline smcd_ctx* context() {
    static smcd_ctx* const ctx = ::smcd_ctx_create(nullptr);
    return ctx == nullptr ? (die("smcd_ctx_create"), nullptr) : ctx;
}

inline int fd_of(Handle sock) {
    return ::smcd_fd(sock);
}

inline Handle open_socket(const char* profile) {
    Handle sock = ::smcd_socket(context(), AF_INET, 0);
    if (profile != nullptr && ::smcd_setopt_str(sock, "profile", profile) != 0) {
        die("profile");
    }
    return sock;
}

inline Handle open_listener(const char* profile) {
    Handle sock = open_socket(profile);
    const sockaddr_in any = loopback(0);
    if (sock == nullptr || ::smcd_bind(sock, as_sockaddr(any), sizeof(any)) != 0 ||
        ::smcd_listen(sock, 1024) != 0) {
        die("listen");
    }
    return sock;
}

inline Handle accept_one(Handle listener) {
    Handle sock = ::smcd_accept(listener, nullptr, nullptr, 0);
    return sock == nullptr ? (die("accept"), nullptr) : sock;
}

inline Handle connect_to(std::uint16_t port, const char* profile) {
    Handle sock = open_socket(profile);
    const sockaddr_in address = loopback(port);
    if (sock == nullptr || ::smcd_connect(sock, as_sockaddr(address), sizeof(address)) != 0) {
        die("connect");
    }
    return sock;
}

inline ssize_t send_some(Handle sock, const void* data, std::size_t bytes) {
    return ::smcd_send(sock, data, bytes, 0);
}

inline ssize_t receive_some(Handle sock, void* data, std::size_t bytes) {
    return ::smcd_recv(sock, data, bytes, 0);
}

inline ssize_t peek_some(Handle sock, void* data, std::size_t bytes) {
    return ::smcd_recv(sock, data, bytes, MSG_PEEK);
}

#else

using Handle = int;

inline int fd_of(Handle fd) {
    return fd;
}

/// docs/configuration.md, "Per connection"
constexpr int kSolSmc = 286;
constexpr int kProfile = 0x0FE1;

inline Handle open_socket(const char* profile) {
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    std::array<char, 32> name{};
    socklen_t length = name.size();
    if (profile != nullptr &&
        (::setsockopt(
             fd, kSolSmc, kProfile, profile, static_cast<socklen_t>(std::strlen(profile))) != 0 ||
         ::getsockopt(fd, kSolSmc, kProfile, name.data(), &length) != 0 ||
         std::strcmp(name.data(), profile) != 0)) {
        die("profile");
    }
    return fd;
}

inline Handle open_listener(const char* profile) {
    const int fd = open_socket(profile);
    const sockaddr_in any = loopback(0);
    if (fd < 0 || ::bind(fd, as_sockaddr(any), sizeof(any)) != 0 || ::listen(fd, 1024) != 0) {
        die("listen");
    }
    return fd;
}

inline Handle accept_one(Handle listener) {
    const int fd = ::accept(listener, nullptr, nullptr);
    return fd < 0 ? (die("accept"), -1) : fd;
}

inline Handle connect_to(std::uint16_t port, const char* profile) {
    const int fd = open_socket(profile);
    const sockaddr_in address = loopback(port);
    if (fd < 0 || ::connect(fd, as_sockaddr(address), sizeof(address)) != 0) {
        die("connect");
    }
    return fd;
}

inline ssize_t send_some(Handle fd, const void* data, std::size_t bytes) {
    return ::send(fd, data, bytes, 0);
}

inline ssize_t receive_some(Handle fd, void* data, std::size_t bytes) {
    return ::recv(fd, data, bytes, 0);
}

inline ssize_t peek_some(Handle fd, void* data, std::size_t bytes) {
    return ::recv(fd, data, bytes, MSG_PEEK);
}

#endif

inline std::uint16_t port_of(int fd) {
    sockaddr_in address{};
    socklen_t length = sizeof(address);
    ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length);
    return ntohs(address.sin_port);
}

inline void send_all(Handle sock, const void* data, std::size_t bytes) {
    if (send_some(sock, data, bytes) != static_cast<ssize_t>(bytes)) {
        die("send");
    }
}

inline void receive_all(Handle sock, void* data, std::size_t bytes) {
    for (std::size_t done = 0; done < bytes;) {
        const ssize_t n = receive_some(sock, static_cast<char*>(data) + done, bytes - done);
        if (n <= 0) {
            die("recv");
        }
        done += static_cast<std::size_t>(n);
    }
}

/// Whether more than `bytes` went through TCP, as the kernel counts.
inline bool is_on_tcp(Handle sock, std::uint64_t bytes) {
    tcp_info info{};
    socklen_t length = sizeof(info);
    return ::getsockopt(fd_of(sock), IPPROTO_TCP, TCP_INFO, &info, &length) != 0 ||
           info.tcpi_bytes_received > bytes;
}

} // namespace smcd::hot
