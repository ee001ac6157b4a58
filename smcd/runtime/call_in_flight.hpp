// CallInFlight: what one call on a stream carries from its first step to its last. Floor 3.
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <cstdint>
#include <span>

#include "smcd/core/waiting.hpp"
#include "smcd/runtime/sleep_guard.hpp"
#include "smcd/runtime/socket.hpp"

namespace smcd {

constexpr ssize_t fail(int error) noexcept {
    return -static_cast<ssize_t>(error);
}

/// Its deadline starts with the call, and from its first sleep on it holds the connection. No destructor (sleep_guard.hpp).
class CallInFlight {
public:
    /// option: SO_RCVTIMEO or SO_SNDTIMEO. flags: of the call.
    CallInFlight(Socket& socket, int option, int flags) noexcept
        : non_blocking_((flags & MSG_DONTWAIT) != 0 || socket.is_non_blocking()),
          socket_(socket),
          option_(option) {}

    [[nodiscard]] bool non_blocking() const noexcept { return non_blocking_; }
    /// Before each sleep. false: the connection has been closed; a call that has moved nothing ends with kUseTcp.
    [[nodiscard]] bool hold(Process& process) noexcept { return guard_.enter(process, socket_); }
    void end(Process& process) noexcept { guard_.leave(process); }
    /// Monotonic, or kForever. Computed at the first need: the fast path does not read the clock.
    [[nodiscard]] std::uint64_t deadline_ns() noexcept;

    /// Plain TCP behind a descriptor of ours: the application's went while the call slept.
    [[nodiscard]] bool descriptor_gone() const noexcept { return guard_.descriptor_gone(); }
    /// Bytes or -errno; may block.
    [[nodiscard]] ssize_t receive_kept(std::span<const iovec> buffers, int flags) noexcept;
    [[nodiscard]] ssize_t send_kept(std::span<const iovec> buffers, int flags) noexcept;

private:
    bool non_blocking_;
    bool computed_ = false;
    std::uint64_t deadline_ns_ = kForever;
    Socket& socket_;
    int option_;
    SleepGuard guard_;
};

}  // namespace smcd
