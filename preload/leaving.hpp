// Descriptors that leave our control: their connections return to TCP first. Floor 4.
#pragma once

#include <sys/socket.h>

#include "preload/shim.hpp"

namespace smcd::preload {

/// The descriptor is about to be used in a way that the kernel alone serves. Does nothing unless its connection is ours.
/// Blocks as return_to_tcp() does; errno is kept. false: the connection is still ours (the peer has closed or died).
bool leave(Shim& shim, int fd, Reason reason) noexcept;

/// Like leave(), for uses that need nothing of the connection but its bytes: where there is no way back to TCP, another
/// connection that has them takes its place (substitute.hpp).
bool leave_whole(Shim& shim, int fd, Reason reason, bool for_relatives_too = false) noexcept;

/// Like leave_whole(), for what uses the descriptor from now on: a socket that is not connected yet will stay on TCP.
bool leave_for_good(Shim& shim, int fd, Reason reason) noexcept;

/// Before exec() or a spawn: every connection of which a descriptor survives it.
void leave_survivors_of_exec(Shim& shim) noexcept;

/// Before a system call filter (seccomp): all connections, and those to come.
void leave_for_sandbox(Shim& shim) noexcept;

/// Before sendmsg() on any other socket: the connections whose descriptors the message passes.
void leave_passed(Shim& shim, const msghdr& message) noexcept;

/// Standard streams are read and written by stdio and by programs that were never told of a socket.
[[nodiscard]] constexpr bool is_standard_stream(int fd) noexcept {
    return fd >= 0 && fd <= 2;
}

}  // namespace smcd::preload
