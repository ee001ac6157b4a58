// What a connection looks like to the application while its handshake is under way or settling. Floor 3.
#pragma once

#include "smcd/runtime/socket.hpp"

namespace smcd {

[[nodiscard]] bool pre_buffer_empty(const Socket& socket) noexcept;

/// Settling or returning, and nothing of ours can stand first in the inbound stream any more: reads may go to TCP.
[[nodiscard]] bool may_receive_from_tcp(const Socket& socket) noexcept;
/// Settling, and nothing waits in the pre-buffer: writes may go to TCP.
[[nodiscard]] bool may_send_to_tcp(const Socket& socket) noexcept;

/// poll() mask of the phases connecting, handshake, settling and returning.
[[nodiscard]] PollMask pending_poll(Socket& socket) noexcept;

enum class Direction { receive, send };

/// Waits until the phase differs, TCP is open for the direction, or the direction is shut down. Spins for a moment,
/// advancing the handshake itself; then sleeps while the progress thread does.
WaitStatus wait_for_phase(
    Process& process, Socket& socket, Phase phase, Direction direction, std::uint64_t deadline_ns);

}  // namespace smcd
