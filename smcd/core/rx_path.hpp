// RxPath: the consumer side of a connection's own DMB. Floor 2, HOT, docs/protocol.md "receiving".
//
// Trust: the peer may write anything into the CDC area at any time. Each word is loaded once into a local, validated
// against geometry and cursors kept in our own memory, and only the local is used.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <span>

#include "smcd/core/channel.hpp"

namespace smcd {

/// What one receive does besides copying.
struct ReceiveMode {
    bool peek = false;    ///< leave the bytes in the ring
    bool discard = false; ///< MSG_TRUNC on a stream: take bytes without copying them
};

class RxPath {
public:
    explicit RxPath(Channel& channel) noexcept : channel_(channel) {}

    /// Takes up to the buffers' total, at most what is there. Never blocks, any thread.
    /// moved: frozen. would_block: nothing there. end_of_stream: nothing there and nothing will come. error: ECONNRESET.
    IoResult receive(std::span<const iovec> buffers, ReceiveMode mode) noexcept;

    /// What most receives are: bytes that are there and do not wrap, into one buffer. How many, or 0: nothing was done, and
    /// receive() must find out why.
    std::uint32_t receive_short(void* data, std::size_t wanted) noexcept;

    /// Unread bytes, the peer's newest publication included. A protocol violation counts as a reset.
    [[nodiscard]] std::uint32_t readable() noexcept;

    /// What a receive says where nothing is unread: would_block, end_of_stream or error (a pending error is fetched).
    IoResult nothing_there() noexcept;

    /// Whether the peer has ended its direction (done writing, closed, abort, or vanished).
    [[nodiscard]] bool ended() noexcept;

    /// Packed producer cursor of the peer as last accepted; changes whenever data arrived (for edges).
    [[nodiscard]] std::uint64_t arrival_mark() const noexcept {
        return channel_.block->rx.peer_producer.load(std::memory_order_relaxed);
    }

    /// The up to two spans of the ring that hold unread bytes, for readers that need no copy.
    struct Spans {
        std::span<const std::byte> first;
        std::span<const std::byte> second;
    };
    [[nodiscard]] Spans peek_spans() noexcept;
    /// Releases n bytes that peek_spans() showed. false: frozen meanwhile; the peer sends them again over TCP, so drop n there.
    [[nodiscard]] bool consume(std::uint32_t n) noexcept;

private:
    std::uint32_t refresh() noexcept;
    void publish_consumer(Cursor consumer) noexcept;
    void release(Cursor consumer, std::uint32_t n) noexcept;

    Channel& channel_;
};

}  // namespace smcd
