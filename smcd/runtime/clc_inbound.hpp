// Looking at the inbound TCP stream without taking more than CLC's own bytes. Floor 3.
#pragma once

#include <array>
#include <cstddef>
#include <span>

#include "clc/constants.hpp"
#include "smcd/runtime/socket.hpp"

namespace smcd {

/// What stands first in a socket's receive queue.
struct InboundView {
    std::array<std::byte, clc::kMessageBytesMax> bytes;
    std::size_t count = 0;
    bool ended = false; ///< end of file or error behind `count` bytes
    [[nodiscard]] std::span<const std::byte> span() const noexcept { return {bytes.data(), count}; }
};

/// Peeks; consumes nothing, never blocks.
void peek_inbound(const Socket& socket, InboundView& view) noexcept;
/// Whether bytes, the end or an error wait there.
[[nodiscard]] bool has_inbound(int fd) noexcept;
/// Takes exactly n bytes that peek_inbound() has shown.
void take_inbound(int fd, std::size_t n) noexcept;
/// Whether the connection has ended by error: a send or receive of ours would take the pending error, which belongs to
/// the application.
[[nodiscard]] bool is_broken(int fd) noexcept;
/// Writes one CLC message. false: it did not fit at once or the connection is broken; nothing was written then.
[[nodiscard]] bool write_outbound(const Socket& socket, std::span<const std::byte> message) noexcept;
/// A call of ours on TCP has met this error and so taken it from the kernel: it is the application's
/// (take_settling_error()).
void keep_error(const Socket& socket, int error) noexcept;

}  // namespace smcd
