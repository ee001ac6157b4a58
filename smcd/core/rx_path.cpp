#include "smcd/core/rx_path.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "smcd/core/direction_lock.hpp"

namespace smcd {
namespace {

constexpr std::uint32_t kPeerEnded = kPeerDoneWriting | kPeerConnClosed | kPeerConnAbort;

/// Copies n bytes that start at `offset` of the ring into the buffers, wrapping at most once.
void copy_out(const DmbView& own,
              std::uint32_t offset,
              std::size_t n,
              std::span<const iovec> buffers) noexcept {
    for (const iovec& buffer : buffers) {
        auto* target = static_cast<std::byte*>(buffer.iov_base);
        std::size_t rest = std::min(n, buffer.iov_len);
        n -= rest;
        while (rest > 0) {
            const std::size_t chunk = std::min<std::size_t>(rest, own.ring_bytes - offset);
            std::memcpy(target, own.ring + offset, chunk);
            target += chunk;
            rest -= chunk;
            offset += static_cast<std::uint32_t>(chunk);
            offset = offset == own.ring_bytes ? 0 : offset;
        }
        if (n == 0) {
            return;
        }
    }
}

std::size_t total_bytes(std::span<const iovec> buffers) noexcept {
    std::size_t total = 0;
    for (const iovec& buffer : buffers) {
        total += buffer.iov_len;
    }
    return total;
}

}  // namespace

/// Looks at what the peer has published. Returns the unread bytes.
std::uint32_t RxPath::refresh() noexcept {
    RxState& rx = channel_.block->rx;
    const DmbView& own = channel_.own;
    // sync: cdc. The writer stores producer, then consumer; so flags loaded first never run ahead of the data.
    const CdcWord flags_word = unpack(own.cdc->consumer.load(std::memory_order_acquire));
    const std::uint64_t raw = own.cdc->producer.load(std::memory_order_acquire);
    const Cursor claimed = unpack(raw).cursor;

    const Cursor consumer = unpack(rx.consumer.load(std::memory_order_relaxed)).cursor;
    const Cursor known = unpack(rx.peer_producer.load(std::memory_order_relaxed)).cursor;
    const std::uint32_t unread = distance(consumer, known, own.ring_bytes);
    if (const std::uint32_t flags = flags_word.state_flags & kPeerEnded; flags != 0) {
        // release: whoever acts on the flags looks at the producer cursor again (sync: peer-flags).
        rx.peer_flags.fetch_or(flags, std::memory_order_release);
    }
    const auto news = checked_distance(known, claimed, own.ring_bytes, own.ring_bytes - unread);
    if (!news) [[unlikely]] {
        mark_reset(*channel_.block, ECONNRESET);
        return unread;
    }
    if (*news != 0) {
        rx.peer_producer.store(pack(claimed), std::memory_order_relaxed);
    }
    return unread + *news;
}

std::uint32_t RxPath::readable() noexcept {
    const DirectionGuard guard(channel_.block->rx.lock);
    return channel_.own.cdc == nullptr ? 0 : refresh();
}

bool RxPath::ended() noexcept {
    const ConnBlock& block = *channel_.block;
    const std::uint32_t flags = block.flags.load(std::memory_order_acquire);
    return (block.rx.peer_flags.load(std::memory_order_relaxed) & kPeerEnded) != 0 ||
           (flags & (kFlagReset | kFlagTcpHangup | kFlagShutRead)) != 0;
}

/// Tells the peer how far we have read: its send space.
void RxPath::publish_consumer(Cursor consumer) noexcept {
    channel_.block->rx.published.store(pack(consumer), std::memory_order_seq_cst);
    store_consumer_word(channel_);
    notify_space(channel_);
}

/// Moves our consumer cursor by n and publishes it when the peer could need the space: after an eighth of the ring.
/// A sender that finds the ring full has seen our last publication, so it gets the next one before the ring runs dry.
void RxPath::release(Cursor consumer, std::uint32_t n) noexcept {
    RxState& rx = channel_.block->rx;
    const std::uint32_t ring_bytes = channel_.own.ring_bytes;
    const Cursor next = advance(consumer, n, ring_bytes);
    rx.consumer.store(pack(next), std::memory_order_relaxed);
    if (channel_.own_bells != nullptr) {
        channel_.own_bells->consumed.store(pack(next), std::memory_order_relaxed);
    }
    const Cursor published = unpack(rx.published.load(std::memory_order_relaxed)).cursor;
    if (distance(published, next, ring_bytes) >= ring_bytes / 8) {
        publish_consumer(next);
    }
}

IoResult RxPath::nothing_there() noexcept {
    ConnBlock& block = *channel_.block;
    const std::uint32_t flags = block.flags.load(std::memory_order_acquire);
    // acquire: pairs with refresh() in another thread (sync: peer-flags).
    const std::uint32_t peer_flags = block.rx.peer_flags.load(std::memory_order_acquire);
    if ((peer_flags & kPeerConnAbort) != 0) {
        mark_reset(block, reset_error(block));
    }
    if ((block.flags.load(std::memory_order_acquire) & kFlagReset) != 0) {
        if ((peer_flags & (kPeerDoneWriting | kPeerConnClosed)) == 0) {
            if (const int error = take_so_error(block); error != 0) {
                return {0, IoStatus::error, error};
            }
        }
        return {0, IoStatus::end_of_stream, 0};
    }
    if ((peer_flags & kPeerEnded) != 0 || (flags & (kFlagTcpHangup | kFlagShutRead)) != 0) {
        return {0, IoStatus::end_of_stream, 0};
    }
    return {0, IoStatus::would_block, 0};
}

std::uint32_t RxPath::receive_short(void* data, std::size_t wanted) noexcept {
    ConnBlock& block = *channel_.block;
    RxState& rx = block.rx;
    const DmbView& own = channel_.own;
    const DirectionGuard guard(rx.lock);
    if (channel_.is_over(block)) [[unlikely]] {
        return 0;
    }
    const std::uint64_t began = rx.consumer.load(std::memory_order_relaxed);
    const Cursor consumer = unpack(began).cursor;
    const Cursor known = unpack(rx.peer_producer.load(std::memory_order_relaxed)).cursor;
    std::uint32_t unread = distance(consumer, known, own.ring_bytes);
    if (unread < wanted) {
        unread = refresh();
    }
    const auto n = static_cast<std::uint32_t>(std::min<std::size_t>(wanted, unread));
    if (n - 1 >= own.ring_bytes - consumer.count) {
        return 0;  // nothing there, or on both sides of the ring's edge
    }
    std::memcpy(data, own.ring + consumer.count, n);
    if (rx.consumer.load(std::memory_order_relaxed) != began) [[unlikely]] {
        return 0;  // a signal handler of this thread read meanwhile
    }
    release(consumer, n);
    rx.bytes.store(rx.bytes.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    rx.calls.store(rx.calls.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    return n;
}

IoResult RxPath::receive(std::span<const iovec> buffers, ReceiveMode mode) noexcept {
    ConnBlock& block = *channel_.block;
    RxState& rx = block.rx;
    const DmbView& own = channel_.own;
    const std::size_t wanted = total_bytes(buffers);
    if (wanted == 0) {
        return {};
    }
    const DirectionGuard guard(rx.lock);
    if (channel_.is_over(block)) [[unlikely]] {
        return {0, IoStatus::moved, 0};
    }
    for (;;) {
        const std::uint64_t began = rx.consumer.load(std::memory_order_relaxed);
        const Cursor consumer = unpack(began).cursor;
        const Cursor known = unpack(rx.peer_producer.load(std::memory_order_relaxed)).cursor;
        std::uint32_t unread = distance(consumer, known, own.ring_bytes);
        if (unread < wanted) {
            unread = refresh();
        }
        if (unread == 0) {
            const IoResult nothing = nothing_there();
            if (nothing.status != IoStatus::end_of_stream && nothing.status != IoStatus::error) {
                return nothing;
            }
            // Another thread may have seen the end just now, and data in front of it. sync: peer-flags
            unread = refresh();
            if (unread == 0) {
                return nothing;
            }
            if (nothing.status == IoStatus::error) {
                channel_.block->so_error.store(static_cast<std::uint32_t>(nothing.error),
                                               std::memory_order_relaxed);  // comes behind the data
            }
        }
        const auto n = static_cast<std::uint32_t>(std::min<std::size_t>(wanted, unread));
        if (!mode.discard) {
            copy_out(own, consumer.count, n, buffers);
        }
        if (rx.consumer.load(std::memory_order_relaxed) != began) [[unlikely]] {
            continue;  // a signal handler of this thread read meanwhile
        }
        if (!mode.peek) {
            release(consumer, n);
            rx.bytes.store(rx.bytes.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
            rx.calls.store(rx.calls.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        }
        return {n, IoStatus::ok, 0};
    }
}

RxPath::Spans RxPath::peek_spans() noexcept {
    ConnBlock& block = *channel_.block;
    const DirectionGuard guard(block.rx.lock);
    if (channel_.is_over(block)) [[unlikely]] {
        return {};
    }
    const std::uint32_t unread = refresh();
    const DmbView& own = channel_.own;
    const Cursor consumer =
        unpack(block.rx.consumer.load(std::memory_order_relaxed)).cursor;
    const std::uint32_t first = std::min(unread, own.ring_bytes - consumer.count);
    return {{own.ring + consumer.count, first}, {own.ring, unread - first}};
}

bool RxPath::consume(std::uint32_t n) noexcept {
    ConnBlock& block = *channel_.block;
    RxState& rx = block.rx;
    const DirectionGuard guard(rx.lock);
    if (channel_.is_over(block)) [[unlikely]] {
        return false;
    }
    const Cursor consumer = unpack(rx.consumer.load(std::memory_order_relaxed)).cursor;
    const Cursor known = unpack(rx.peer_producer.load(std::memory_order_relaxed)).cursor;
    n = std::min(n, distance(consumer, known, channel_.own.ring_bytes));
    release(consumer, n);
    rx.bytes.store(rx.bytes.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    rx.calls.store(rx.calls.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    return true;
}

}  // namespace smcd
