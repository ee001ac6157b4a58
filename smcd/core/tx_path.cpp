#include "smcd/core/tx_path.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "smcd/core/direction_lock.hpp"

namespace smcd {
namespace {

/// Walks the concatenation of a caller's buffers.
class GatherCursor {
public:
    GatherCursor(std::span<const iovec> buffers, std::size_t skip) noexcept : buffers_(buffers) {
        for (const iovec& buffer : buffers) {
            rest_ += buffer.iov_len;
        }
        rest_ -= std::min(skip, rest_);
        while (index_ < buffers_.size() && skip >= buffers_[index_].iov_len) {
            skip -= buffers_[index_].iov_len;
            ++index_;
        }
        offset_ = skip;
    }

    [[nodiscard]] std::size_t rest() const noexcept { return rest_; }

    void copy_to(std::byte* target, std::size_t n) noexcept {
        rest_ -= n;
        while (n > 0) {
            const iovec& buffer = buffers_[index_];
            const std::size_t chunk = std::min(n, buffer.iov_len - offset_);
            if (chunk > 0) { // an empty buffer may have no address
                const auto* source = static_cast<const std::byte*>(buffer.iov_base) + offset_;
                std::memcpy(target, source, chunk);
            }
            target += chunk;
            n -= chunk;
            offset_ += chunk;
            if (offset_ == buffer.iov_len) {
                ++index_;
                offset_ = 0;
            }
        }
    }

private:
    std::span<const iovec> buffers_;
    std::size_t index_ = 0;
    std::size_t offset_ = 0;
    std::size_t rest_ = 0;
};

/// The peer's last look at our consumer cursor is exact. Never backwards: a receiver may publish meanwhile.
void publish_all_consumed(ConnBlock& block) noexcept {
    std::uint64_t published = block.rx.published.load(std::memory_order_seq_cst);
    while (!block.rx.published.compare_exchange_weak(
        published, block.rx.consumer.load(std::memory_order_acquire), std::memory_order_seq_cst)) {
    }
}

}  // namespace

/// Accepts the peer's consumer cursor; returns the free bytes.
std::uint32_t TxPath::refresh_space(Cursor producer) noexcept {
    TxState& tx = channel_.block->tx;
    const std::uint32_t ring_bytes = channel_.peer.ring_bytes;
    const Cursor known = unpack(tx.peer_consumer.load(std::memory_order_relaxed)).cursor;
    const std::uint32_t outstanding = distance(known, producer, ring_bytes);
    // sync: cdc. One load; the word also carries the peer's flags.
    const CdcWord word = unpack(channel_.own.cdc->consumer.load(std::memory_order_acquire));
    const auto news = checked_distance(known, word.cursor, ring_bytes, outstanding);
    if (!news) [[unlikely]] {
        mark_reset(*channel_.block, ECONNRESET);
        return 0;
    }
    if (*news != 0) {
        tx.peer_consumer.store(pack(word.cursor), std::memory_order_relaxed);
    }
    if (const std::uint32_t flags = word.state_flags & kPeerGone; flags != 0) {
        channel_.block->rx.peer_flags.fetch_or(flags, std::memory_order_release);  // sync: peer-flags
    }
    return ring_bytes - outstanding + *news;
}

std::uint32_t TxPath::space() noexcept {
    TxState& tx = channel_.block->tx;
    const DirectionGuard guard(tx.lock);
    return channel_.own.cdc == nullptr ? 0 : refresh_space(unpack(tx.producer.load(std::memory_order_relaxed)).cursor);
}

bool TxPath::stalled(std::atomic<std::uint32_t>& stalls, std::size_t wanted) noexcept {
    stalls.fetch_add(1, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_seq_cst);  // sync: stall. Sets look at the space, then at the count
    return space() < wanted;
}

std::uint32_t TxPath::unread_by_peer() noexcept {
    const std::uint32_t free_bytes = space();
    return channel_.peer.ring_bytes - std::min(free_bytes, channel_.peer.ring_bytes);
}

/// Makes n bytes behind `began` visible. false: a signal handler of this thread published meanwhile.
bool TxPath::publish(std::uint64_t began, std::uint32_t n) noexcept {
    TxState& tx = channel_.block->tx;
    std::uint64_t expected = began;
    const Cursor next = advance(unpack(began).cursor, n, channel_.peer.ring_bytes);
    if (!tx.producer.compare_exchange_strong(
            expected, pack(next), std::memory_order_relaxed, std::memory_order_relaxed)) {
        return false;
    }
    // A handler may run between the exchange and the store; the word must end at the newest cursor.
    std::uint64_t newest = pack(next);
    do {
        newest = tx.producer.load(std::memory_order_relaxed);
        channel_.peer.cdc->producer.store(newest, std::memory_order_release);  // sync: cdc
    } while (tx.producer.load(std::memory_order_relaxed) != newest);
    tx.bytes.store(tx.bytes.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    notify_data(channel_);
    // sync: goodbye. We publish, fence (in notify_data), and look for the peer's end; it says its end, fences, and looks
    // for bytes. So one of both sees that these bytes came too late, and resets the connection. Its last word tells how
    // far it has read: it may have ended because of these very bytes.
    if (refresh_peer_flags() != 0) [[unlikely]] {
        const CdcWord last = unpack(channel_.own.cdc->consumer.load(std::memory_order_acquire));
        if ((last.state_flags & kPeerConnAbort) != 0 || last.cursor != unpack(newest).cursor) {
            static_cast<void>(sends_into_void());
        }
    }
    return true;
}

/// What of kPeerGone the peer has said by now.
std::uint32_t TxPath::refresh_peer_flags() noexcept {
    const CdcWord word = unpack(channel_.own.cdc->consumer.load(std::memory_order_acquire));
    const std::uint32_t flags = word.state_flags & kPeerGone;
    if (flags != 0) [[unlikely]] {
        channel_.block->rx.peer_flags.fetch_or(flags, std::memory_order_release);  // sync: peer-flags
    }
    return flags;
}

bool TxPath::sends_into_void() noexcept {
    ConnBlock& block = *channel_.block;
    const std::uint32_t peer = refresh_peer_flags() | block.rx.peer_flags.load(std::memory_order_relaxed);
    if ((peer & kPeerGone) == 0 && (block.flags.load(std::memory_order_relaxed) & kFlagTcpHangup) == 0) {
        return false;
    }
    mark_reset(block, (peer & kPeerConnAbort) != 0 ? reset_error(block) : EPIPE);
    send_state(kPeerConnAbort);  // the peer may only have shut both directions down
    return true;
}

int TxPath::failure() noexcept {
    ConnBlock& block = *channel_.block;
    const std::uint32_t flags = block.flags.load(std::memory_order_acquire);
    const std::uint32_t peer_flags = block.rx.peer_flags.load(std::memory_order_relaxed);
    if ((peer_flags & kPeerConnAbort) != 0) {
        mark_reset(block, reset_error(block));
    }
    // A pending error comes before the broken pipe, as in the kernel's sk_stream_error().
    if ((block.flags.load(std::memory_order_acquire) & kFlagReset) != 0) {
        const int error = take_so_error(block);
        return error != 0 ? error : EPIPE;
    }
    return (flags & kFlagShutWrite) != 0 ? EPIPE : 0;
}

std::uint32_t TxPath::send_short(const void* data, std::size_t bytes) noexcept {
    ConnBlock& block = *channel_.block;
    const DirectionGuard guard(block.tx.lock);
    constexpr std::uint32_t kNot = kFlagFrozen | kFlagReset | kFlagShutWrite | kFlagTcpHangup;
    const std::uint32_t ring_bytes = channel_.peer.ring_bytes;
    if ((block.flags.load(std::memory_order_acquire) & kNot) != 0 || channel_.block != &block ||
        bytes - 1 >= ring_bytes / 8) {
        return 0;
    }
    const CdcWord word = unpack(channel_.own.cdc->consumer.load(std::memory_order_acquire));  // sync: cdc
    if (((word.state_flags | block.rx.peer_flags.load(std::memory_order_relaxed)) & kPeerGone) != 0) {
        return 0;
    }
    const auto n = static_cast<std::uint32_t>(bytes);
    const std::uint64_t began = block.tx.producer.load(std::memory_order_relaxed);
    const Cursor producer = unpack(began).cursor;
    const Cursor known = unpack(block.tx.peer_consumer.load(std::memory_order_relaxed)).cursor;
    if (ring_bytes - distance(known, producer, ring_bytes) < n || ring_bytes - producer.count < n) {
        return 0;
    }
    std::memcpy(channel_.peer.ring + producer.count, data, n);
    if (!publish(began, n)) [[unlikely]] {
        return 0;
    }
    block.tx.calls.store(block.tx.calls.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    return n;
}

IoResult TxPath::send(std::span<const iovec> buffers, std::size_t skip) noexcept {
    ConnBlock& block = *channel_.block;
    TxState& tx = block.tx;
    const DirectionGuard guard(tx.lock);
    const std::uint32_t ring_bytes = channel_.peer.ring_bytes;
    GatherCursor gather(buffers, skip);
    std::size_t sent = 0;
    if (channel_.is_over(block)) [[unlikely]] {
        return {0, IoStatus::moved, 0};
    }
    static_cast<void>(refresh_peer_flags());
    if (const int error = failure(); error != 0) {
        return {0, IoStatus::error, error};
    }
    if (gather.rest() == 0) {
        return {};
    }
    tx.calls.store(tx.calls.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    while (gather.rest() > 0) {
        const std::uint64_t began = tx.producer.load(std::memory_order_relaxed);
        const Cursor producer = unpack(began).cursor;
        const Cursor known = unpack(tx.peer_consumer.load(std::memory_order_relaxed)).cursor;
        std::uint32_t free_bytes = ring_bytes - distance(known, producer, ring_bytes);
        if (free_bytes < gather.rest()) {
            free_bytes = refresh_space(producer);
        }
        const auto n = static_cast<std::uint32_t>(std::min<std::size_t>(
            std::min<std::size_t>(gather.rest(), free_bytes), std::max(ring_bytes / 8, 1U)));
        if ((channel_.block->rx.peer_flags.load(std::memory_order_relaxed) & kPeerGone) != 0 ||
            (channel_.block->flags.load(std::memory_order_relaxed) & kFlagTcpHangup) != 0) {
            // As on TCP: what is sent to a closed peer vanishes and draws a reset.
            const std::size_t lost = gather.rest();
            static_cast<void>(sends_into_void());
            return {sent + lost, IoStatus::ok, 0};
        }
        if (n == 0) {
            break;
        }
        const std::uint32_t first = std::min(n, ring_bytes - producer.count);
        GatherCursor before = gather;
        gather.copy_to(channel_.peer.ring + producer.count, first);
        gather.copy_to(channel_.peer.ring, n - first);
        if (!publish(began, n)) [[unlikely]] {
            gather = before;  // copy again behind what the handler sent
            continue;
        }
        sent += n;
    }
    if (sent == 0) {
        const int error = failure();
        return error != 0 ? IoResult{0, IoStatus::error, error}
                          : IoResult{0, IoStatus::would_block, 0};
    }
    return {sent, IoStatus::ok, 0};
}

TxPath::Reservation TxPath::reserve() noexcept {
    ConnBlock& block = *channel_.block;
    TxState& tx = block.tx;
    const DirectionGuard guard(tx.lock);
    if (channel_.is_over(block)) [[unlikely]] {
        return {};
    }
    const std::uint64_t began = tx.producer.load(std::memory_order_relaxed);
    const Cursor producer = unpack(began).cursor;
    const std::uint32_t ring_bytes = channel_.peer.ring_bytes;
    const std::uint32_t free_bytes = refresh_space(producer);
    const std::uint32_t first = std::min(free_bytes, ring_bytes - producer.count);
    return {{channel_.peer.ring + producer.count, first},
            {channel_.peer.ring, free_bytes - first},
            began};
}

bool TxPath::commit(const Reservation& reservation, std::uint32_t n) noexcept {
    ConnBlock& block = *channel_.block;
    const DirectionGuard guard(block.tx.lock);
    if (channel_.is_over(block)) {
        return false;
    }
    if (n == 0) {
        return true;
    }
    TxState& tx = channel_.block->tx;
    tx.calls.store(tx.calls.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    return publish(reservation.began, n);
}

void TxPath::send_state(std::uint8_t flags) noexcept {
    ConnBlock& block = *channel_.block;
    const DirectionGuard guard(block.tx.lock);
    if (channel_.peer.cdc == nullptr) {
        return;  // closed by another thread
    }
    if ((flags & kPeerGone) != 0) {
        publish_all_consumed(block);
    }
    // seq_cst: the receiving side may store the consumer word at the same time (store_consumer_word()).
    block.tx.state_flags.fetch_or(flags, std::memory_order_seq_cst);
    store_consumer_word(channel_);
    notify_state(channel_);
}

}  // namespace smcd
