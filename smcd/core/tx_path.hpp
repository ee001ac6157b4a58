// TxPath: the producer side of a connection, writing the peer's attached DMB. Floor 2, HOT, docs/protocol.md "sending".
//
// The "ghost" send buffer is the peer's ring itself: one copy in, and the bytes are delivered once the producer word is
// published. The peer's consumer cursor is validated like all peer-written words.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <span>

#include "smcd/core/channel.hpp"

namespace smcd {

class TxPath {
public:
    explicit TxPath(Channel& channel) noexcept : channel_(channel) {}

    /// Copies as much of the buffers, from byte `skip` of their concatenation on, as there is space for; publishes in
    /// pieces of at most an eighth of the ring, so that the peer copies out meanwhile. Never blocks, any thread.
    /// moved: frozen. would_block: no space. error: EPIPE (we or the peer ended this direction), ECONNRESET.
    /// What most sends are: one buffer of at most an eighth of the ring, into space that is known and does not wrap.
    /// Its bytes, or 0: nothing was done, and send() must find out why.
    std::uint32_t send_short(const void* data, std::size_t bytes) noexcept;

    IoResult send(std::span<const iovec> buffers, std::size_t skip) noexcept;

    /// Free bytes in the peer's ring, its newest consumer cursor included.
    [[nodiscard]] std::uint32_t space() noexcept;
    /// Whether poll() would say writable: a quarter of the ring is free.
    [[nodiscard]] bool writable() noexcept { return space() >= channel_.peer.ring_bytes / 4; }
    /// Counts a send that found too little space, so that space is an edge to every epoll set from then on; then looks
    /// again: false if `wanted` bytes of space came before the count, which may have been no news to a set. sync: stall
    bool stalled(std::atomic<std::uint32_t>& stalls, std::size_t wanted = 1) noexcept;
    /// Bytes written that the peer has not read (as far as it told us).
    [[nodiscard]] std::uint32_t unread_by_peer() noexcept;

    /// Free ring space to be written in place (sendfile, zero-copy senders): up to two spans.
    struct Reservation {
        std::span<std::byte> first;
        std::span<std::byte> second;
        std::uint64_t began = 0; ///< the producer cursor at which the spans start
    };
    [[nodiscard]] Reservation reserve() noexcept;
    /// Publishes n bytes of a reservation. false: another writer came between, or the ring is frozen; look at the phase,
    /// reserve and fill again.
    [[nodiscard]] bool commit(const Reservation& reservation, std::uint32_t n) noexcept;

    /// Sends connection-state flags (kPeerDoneWriting, kPeerConnClosed, kPeerConnAbort) and wakes the peer.
    void send_state(std::uint8_t flags) noexcept;
    /// 0, or the errno that a send would give now.
    [[nodiscard]] int failure() noexcept;
    /// Whether what is sent now vanishes, because the peer has closed or died; then the connection is reset, as on TCP.
    [[nodiscard]] bool sends_into_void() noexcept;

private:
    std::uint32_t refresh_space(Cursor producer) noexcept;
    std::uint32_t refresh_peer_flags() noexcept;
    bool publish(std::uint64_t began, std::uint32_t n) noexcept;

    Channel& channel_;
};

}  // namespace smcd
