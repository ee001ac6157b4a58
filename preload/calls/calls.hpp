// The calls behind the exported names: ordinary C++ functions that take the Shim. Floor 4.
//
// Each returns what the system call returns: n >= 0 or -errno; the exported skin sets errno. Tests call these directly.
#pragma once

#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <cstdint>
#include <span>

#include "preload/shim.hpp"

namespace smcd::preload {

/// Turns libc's -1/errno into a value.
[[nodiscard]] inline ssize_t value_of(ssize_t rc) noexcept {
    return rc < 0 ? -static_cast<ssize_t>(errno) : rc;
}

namespace calls {

// socket.cpp
void on_socket(Shim& shim, int fd, int domain, int type, int protocol);
ssize_t listen(Shim& shim, Socket& socket, int fd, int backlog);
/// Clients to come find no beacon; those that have found it send their Proposal all the same.
void stop_announcing(Shim& shim, int fd);
void on_accepted(Shim& shim, int listen_fd, int fd, bool non_blocking);
/// A TCP socket without a Socket, mostly a connection that stays on TCP and was only counted: it gets one, so that our own
/// options can be asked for. nullptr: no such socket.
Socket* follow_passed_by(Shim& shim, int fd);
ssize_t connect(Shim& shim, Socket& socket, int fd, const sockaddr* address, socklen_t length);

// options.cpp
constexpr int kSolSmc = 286; ///< the level of our own options, which Linux gives to SMC
ssize_t set_option(Shim& shim, Socket& socket, int fd, int level, int name, const void* value, socklen_t length);
ssize_t get_option(Shim& shim, Socket& socket, int fd, int level, int name, void* value, socklen_t* length);

// descriptor.cpp
ssize_t close(Shim& shim, int fd);
void on_dup(Shim& shim, int fd, int copy);
ssize_t dup2(Shim& shim, int fd, int target, int flags, bool is_dup3);
ssize_t fcntl(Shim& shim, Socket& socket, int fd, int command, long argument);
ssize_t ioctl(Shim& shim, Socket& socket, int fd, unsigned long request, void* argument);
ssize_t close_range(Shim& shim, unsigned first, unsigned last, int flags);

// transfer.cpp
ssize_t receive(Shim& shim, Socket& socket, std::span<const iovec> buffers, int flags);
ssize_t send(Shim& shim, Socket& socket, std::span<const iovec> buffers, int flags);
ssize_t receive_message(Shim& shim, Socket& socket, msghdr* message, int flags);
ssize_t receive_messages(Shim& shim, Socket& socket, int fd, std::span<mmsghdr> messages, int flags, const timespec* timeout);
ssize_t send_message(Shim& shim, Socket& socket, const msghdr* message, int flags);
ssize_t sendfile(Shim& shim, Socket& socket, int file_fd, off64_t* offset, std::size_t count);
ssize_t splice(Shim& shim, int in_fd, off64_t* in_offset, int out_fd, off64_t* out_offset, std::size_t count, unsigned flags);

// readiness.cpp
ssize_t poll(Shim& shim, std::span<pollfd> fds, const timespec* timeout, const sigset_t* mask);
ssize_t select(Shim& shim, int count, fd_set* in, fd_set* out, fd_set* except, const timespec* timeout, const sigset_t* mask, timespec* left);
[[nodiscard]] bool select_needs_us(const Shim& shim, int count, const fd_set* in, const fd_set* out, const fd_set* except) noexcept;
ssize_t epoll_ctl(Shim& shim, int epfd, int operation, int fd, epoll_event* event);
ssize_t epoll_wait(Shim& shim, int epfd, std::span<epoll_event> events, const timespec* timeout, const sigset_t* mask);

}  // namespace calls
}  // namespace smcd::preload
