// poll() over a mixture of accelerated sockets and ordinary descriptors; select() is built on it. Floor 4.
#pragma once

#include <poll.h>
#include <signal.h>

#include <cstdint>
#include <span>

namespace smcd::preload {

class Shim;

/// Whether the descriptor needs us: a connection that we serve, or an epoll set, which may have entries of ours.
[[nodiscard]] bool poll_needs_us(const Shim& shim, int fd) noexcept;
/// Whether any of the descriptors does.
[[nodiscard]] bool poll_needs_us(const Shim& shim, std::span<const pollfd> fds) noexcept;

/// ppoll() semantics: fills revents, returns the number of ready descriptors, 0 at the deadline, -1 with errno.
int poll_wait(Shim& shim,
              std::span<pollfd> fds,
              std::uint64_t deadline_ns,
              bool poll_only,
              const sigset_t* mask);

}  // namespace smcd::preload
