#include "smcd/core/copy_path.hpp"

#include <algorithm>
#include <array>
#include <cerrno>

#include "smcd/core/channel.hpp"
#include "smcd/core/direction_lock.hpp"

namespace smcd {
namespace {

constexpr std::size_t kStateBytes = 4096;
static_assert(sizeof(CopyState) <= kStateBytes);

/// Moves the bytes between two cursors.
Result<void> move_bytes(Channel& channel, Cursor from, Cursor to) noexcept {
    const DmbView& buffer = channel.peer;
    for (std::uint32_t rest = distance(from, to, buffer.ring_bytes); rest > 0;) {
        const std::uint32_t n = std::min(rest, buffer.ring_bytes - from.count);
        const std::span<const std::byte> piece(buffer.ring + from.count, n);
        const auto offset = static_cast<std::uint32_t>(sizeof(CdcArea) + from.count);
        SMCD_TRY_VOID(channel.device->move_data(channel.remote.token, false, offset, piece));
        from = advance(from, n, buffer.ring_bytes);
        rest -= n;
    }
    return {};
}

void on_refused(Channel& channel, std::error_code error) noexcept {
    // The device has told the runtime that it is lost; or the peer has unregistered its DMB, and TCP is about to say why:
    // it takes the connection back, or has ended.
    if (error == std::errc::no_such_device || error == std::errc::invalid_argument) {
        channel.copy->refused.store(1, std::memory_order_release);
        return;
    }
    // A peer that closed has told us so in our own DMB, before it took its away.
    const CdcWord word = unpack(channel.own.cdc->consumer.load(std::memory_order_acquire));
    if ((word.state_flags & kPeerGone) == 0) {
        mark_reset(*channel.block, ECONNRESET);
    }
}

}  // namespace

void use_send_buffer(Channel& channel, std::span<std::byte> memory) noexcept {
    auto& state = *reinterpret_cast<CopyState*>(memory.data());
    state.armed.doors_in.store(1, std::memory_order_relaxed);
    state.armed.doors_out.store(1, std::memory_order_relaxed);
    channel.copy = &state;
    channel.peer = view_dmb(memory.subspan(kStateBytes));
    channel.peer_bells = &state.armed;
}

void push(Channel& channel) noexcept {
    CopyState& state = *channel.copy;
    CdcArea& cdc = *channel.peer.cdc;
    // A signal handler inside its own thread's push works nested, as on the rings: moving a range again does no harm.
    const DirectionGuard guard(state.lock);
    for (;;) {
        const std::uint64_t consumer = cdc.consumer.load(std::memory_order_seq_cst);
        const std::uint64_t producer = cdc.producer.load(std::memory_order_acquire);  // sync: cdc
        const Cursor moved = unpack(state.moved.load(std::memory_order_relaxed)).cursor;
        if (const auto bytes = move_bytes(channel, moved, unpack(producer).cursor); !bytes) {
            on_refused(channel, bytes.error());
            return;
        }
        state.moved.store(producer, std::memory_order_relaxed);
        const std::array<std::uint64_t, 4> image{
            cdc.type.load(std::memory_order_relaxed), producer, consumer, 0};
        const auto words =
            channel.device->move_data(channel.remote.token, true, 0, std::as_bytes(std::span(image)));
        if (!words) {
            on_refused(channel, words.error());
            return;
        }
        // Nobody can ask for our exact position in the peer's DMB: what it knows of counts as read (Bells::consumed).
        state.armed.consumed.store(producer, std::memory_order_relaxed);
        if (cdc.producer.load(std::memory_order_seq_cst) == producer &&
            cdc.consumer.load(std::memory_order_seq_cst) == consumer) {
            return;
        }
    }
}

}  // namespace smcd
