// Sending through a device that copies (Device::supports_attach() is false). Floor 2, docs/protocol.md "sending".
//
// The peer's DMB is out of sight. A private *send buffer* stands in for it, with the same layout and geometry: TxPath and
// RxPath write the stream and the control words there, as they would into an attached DMB, and then ring. The bells of a
// send buffer are always armed, so each publication ends in push():
//
//   send buffer (ours)   [type | producer | consumer | 0 | ring ....]
//                                    |                      |
//                          2 move 32 bytes, signal      1 move what is new, at most two pieces
//                                    v                      v
//   peer's DMB           [type | producer | consumer | 0 | ring ....]
//
// The buffer and what is known of it lie in memory that children of fork() share: any of them goes on where another
// stopped. push() is serialised by a lock of its own, since the reading side pushes consumer cursors.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "devices/api/bells.hpp"
#include "smcd/base/ids.hpp"
#include "smcd/core/conn_block.hpp"

namespace smcd {

struct Channel;

/// In front of a send buffer.
struct CopyState {
    dev::Bells armed;                 ///< stands in for the peer's bells
    DirectionLock lock;
    std::atomic<std::uint64_t> moved; ///< producer cursor up to which the peer's DMB has our bytes
    std::atomic<std::uint32_t> refused; ///< 1: the peer's DMB is out of reach, and lacks what we said last
};

/// Bytes of a send buffer for a DMB of that class, CopyState included.
[[nodiscard]] constexpr std::size_t send_buffer_bytes(SizeClass size_class) noexcept {
    return 4096 + dmb_size_bytes(size_class);
}

/// Makes the channel send through `memory` (zeroed, send_buffer_bytes() of the peer's class, lives as long as the
/// channel). Sets channel.peer and channel.peer_bells; before open_channel().
void use_send_buffer(Channel& channel, std::span<std::byte> memory) noexcept;

/// Moves what the peer does not have yet: bytes, then control words, then the signal. Any thread. A device that is lost
/// (ENODEV), or a DMB that the peer has unregistered (EINVAL), leaves all that in the send buffer, for the return to TCP,
/// and TCP tells how it goes on; a device that fails otherwise ends the connection by reset, unless the peer has closed it.
void push(Channel& channel) noexcept;

}  // namespace smcd
