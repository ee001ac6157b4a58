// Channel: the private view that one process has of an accelerated connection: where its memory is mapped. Floor 2.
//
// All that changes lies in the ConnBlock or in the DMBs, so a child of fork() works with its copy of the Channel.
#pragma once

#include <cerrno>

#include "devices/api/device.hpp"
#include "smcd/base/relaxed.hpp"
#include "smcd/core/cdc.hpp"
#include "smcd/core/conn_block.hpp"
#include "smcd/core/copy_path.hpp"
#include "smcd/core/dmb_layout.hpp"

namespace smcd {

struct Channel {
    Relaxed<ConnBlock*> block = nullptr;
    dev::Device* device = nullptr;
    DmbView own;    ///< the DMB that we receive into; the peer writes it
    DmbView peer;   ///< the peer's DMB, attached, or the send buffer in its place; we write it
    dev::Bells* own_bells = nullptr;
    dev::Bells* peer_bells = nullptr;
    dev::Dmb dmb;
    dev::RemoteDmb remote;
    CopyState* copy = nullptr; ///< devices that copy: `peer` is our send buffer, not the peer's DMB

    /// Under one of its locks: whether the block is frozen, or no longer the channel's, since another thread has closed the
    /// connection. Nothing else of the channel may be used then.
    [[nodiscard]] bool is_over(const ConnBlock& known) const noexcept {
        return (known.flags.load(std::memory_order_relaxed) & kFlagFrozen) != 0 || block.get() != &known;
    }
};

/// Result of one non-blocking step on a stream.
enum class IoStatus {
    ok,            ///< bytes > 0, or an empty request
    would_block,   ///< nothing moved; wait
    end_of_stream, ///< receive: the peer will write no more
    error,         ///< IoResult::error is an errno value
    moved,         ///< the connection has left the rings: go by its phase
};

struct IoResult {
    std::size_t bytes = 0;
    IoStatus status = IoStatus::ok;
    int error = 0;
};

/// Fetches and clears the pending socket error, as SO_ERROR does.
[[nodiscard]] inline int take_so_error(ConnBlock& block) noexcept {
    return static_cast<int>(block.so_error.exchange(0, std::memory_order_relaxed));
}

/// Ends the connection by error: nothing more is sent or accepted, bytes already here stay readable.
inline void mark_reset(ConnBlock& block, int error) noexcept {
    const std::uint32_t before = block.flags.fetch_or(kFlagReset, std::memory_order_acq_rel);
    if ((before & kFlagReset) == 0) {
        block.so_error.store(static_cast<std::uint32_t>(error), std::memory_order_release);
    }
}

/// The errno of a reset, as TCP has it: behind the peer's FIN a reset is a broken pipe.
[[nodiscard]] inline int reset_error(const ConnBlock& block) noexcept {
    return (block.rx.peer_flags.load(std::memory_order_relaxed) & kPeerDoneWriting) != 0 ? EPIPE : ECONNRESET;
}

/// A channel without memory whose connection has left the rings: its paths move nothing.
[[nodiscard]] Channel closed_channel() noexcept;
/// The block of the same: for calls that come too late.
[[nodiscard]] ConnBlock& closed_block() noexcept;

/// Prepares a fresh pair of buffers: all cursors 0/0, type byte set in the peer's DMB, bells silent.
void open_channel(Channel& channel) noexcept;

/// Writes the consumer word into the peer's DMB: our published consumer cursor and our connection-state flags. The
/// reading and the writing side both call it; whoever stores last stores the newest of both.
void store_consumer_word(Channel& channel) noexcept;

/// Tells the peer that data (in) or space (out) may be there: reads its bells, signals and wakes as armed.
/// The caller has published with release; the full fence is inside. No system call unless somebody sleeps.
void notify_data(Channel& channel) noexcept;
void notify_space(Channel& channel) noexcept;
/// Both, after a change of the connection-state flags.
void notify_state(Channel& channel) noexcept;

}  // namespace smcd
