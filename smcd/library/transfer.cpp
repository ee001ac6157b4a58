// Moving bytes, with and without a copy. Floor 4, HOT.
//
// On the ring a reservation is the peer's memory itself. While a connection has none (handshake,
// TCP), a reservation is a bounce buffer, so that a program needs one way of writing only.
#include <algorithm>
#include <cstring>
#include <new>

#include "smcd/base/raw_syscall.hpp"
#include "smcd/library/handles.hpp"

namespace smcd::library {
namespace {

/// Of MSG_* only what means the same on the ring and on TCP.
constexpr int kFlags = MSG_DONTWAIT | MSG_PEEK | MSG_WAITALL | MSG_TRUNC;

ssize_t
tcp_message(const smcd_sock& sock, std::span<const iovec> parts, int flags, bool sends) noexcept {
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(parts.data());
    message.msg_iovlen = parts.size();
    const ssize_t n = sends ? raw::sendmsg(sock.fd, &message, flags | MSG_NOSIGNAL)
                            : raw::recvmsg(sock.fd, &message, flags);
    return n < 0 ? refuse(errno) : n;
}

ssize_t receive_either(smcd_sock& sock, std::span<const iovec> parts, int flags) noexcept {
    const ssize_t n = stream_receive(sock.process(), *sock.socket, parts, flags);
    return n == kUseTcp ? tcp_message(sock, parts, flags, false) : n;
}

/// Drops what comes again over TCP although it was consumed. 0, or -errno.
ssize_t skip_again(smcd_sock& sock, int flags) noexcept {
    std::array<std::byte, 4096> waste;
    while (sock.rx_skip != 0) {
        const iovec part{waste.data(), std::min(waste.size(), sock.rx_skip)};
        const ssize_t n = receive_either(sock, {&part, 1}, flags & MSG_DONTWAIT);
        if (n < 0) {
            return n;
        }
        sock.rx_skip = n == 0 ? 0 : sock.rx_skip - static_cast<std::size_t>(n);
    }
    return 0;
}

/// Sends the unsent bytes of the bounce buffer. 0, or -errno.
ssize_t drain_bounce(smcd_sock& sock, int flags) noexcept {
    Bounce& bounce = sock.tx.bounce;
    while (!bounce.empty()) {
        const iovec part{bounce.memory.get() + bounce.begin, bounce.size()};
        const ssize_t n = plain_send(sock, {&part, 1}, flags & kFlags);
        if (n < 0) {
            return n;
        }
        bounce.begin += static_cast<std::size_t>(n);
    }
    bounce.begin = bounce.end = 0;
    return 0;
}

/// The connection left the ring between reserve and commit: the bytes written there go the new way.
ssize_t rescue(smcd_sock& sock, std::size_t bytes) noexcept {
    SendState& tx = sock.tx;
    const std::size_t first = std::min(bytes, tx.ring.first.size());
    const std::array<iovec, 2> parts{
        {{tx.ring.first.data(), first}, {tx.ring.second.data(), bytes - first}}
    };
    std::size_t done = 0;
    while (done < bytes) {
        std::array<iovec, 2> rest = parts;
        const std::size_t skip = std::min(done, first);
        rest[0] = {static_cast<char*>(parts[0].iov_base) + skip, first - skip};
        rest[1] = {static_cast<char*>(parts[1].iov_base) + (done - skip),
                   bytes - first - (done - skip)};
        const ssize_t n = plain_send(sock, rest, 0);
        if (n < 0) {
            return n;
        }
        done += static_cast<std::size_t>(n);
    }
    return 0;
}

/// Whether the peer will read nothing any more. As on TCP, what is sent to it vanishes and draws a
/// reset.
bool peer_is_gone(const ConnBlock& block) noexcept {
    return (block.rx.peer_flags.load(std::memory_order_relaxed) &
            (kPeerConnClosed | kPeerConnAbort)) != 0 ||
           (block.flags.load(std::memory_order_relaxed) & kFlagTcpHangup) != 0;
}

/// The space behind published bytes stays known, so that the next reservation asks nobody.
void keep_rest(SendState& tx, std::size_t bytes, std::uint32_t ring_bytes) noexcept {
    const std::size_t first = std::min(bytes, tx.ring.first.size());
    tx.ring.first = tx.ring.first.subspan(first);
    tx.ring.second = tx.ring.second.subspan(bytes - first);
    if (tx.ring.first.empty()) {
        tx.ring.first = tx.ring.second;
        tx.ring.second = {};
    }
    const Cursor began = unpack(tx.ring.began).cursor;
    tx.ring.began = pack(advance(began, static_cast<std::uint32_t>(bytes), ring_bytes));
    tx.room -= bytes;
}

/// Publishes the first bytes of the ring reservation, which ends. 0, or -errno.
ssize_t publish(smcd_sock& sock, std::size_t bytes) noexcept {
    SendState& tx = sock.tx;
    tx.deferred = 0;
    tx.row_end = 0;
    tx.reserved = Reserved::nothing;
    if (bytes == 0) {
        return 0;
    }
    Channel& channel = sock.socket->channel;
    TxPath path(channel);
    if (const int error = path.failure(); error != 0) {
        return refuse(error);
    }
    if (peer_is_gone(*channel.block)) [[unlikely]] {
        mark_reset(*channel.block, EPIPE);
        return 0;
    }
    if (!path.commit(tx.ring, static_cast<std::uint32_t>(bytes))) [[unlikely]] {
        const ssize_t rc = rescue(sock, bytes);
        tx.room = 0;
        return rc;
    }
    keep_rest(tx, bytes, channel.peer.ring_bytes);
    return 0;
}

/// Waits for space, fills tx.ring. Sum of the spans, or -errno; 0: the connection is not on the
/// ring.
ssize_t reserve_ring(smcd_sock& sock, std::size_t min_bytes, int flags) noexcept {
    Socket& socket = *sock.socket;
    SendState& tx = sock.tx;
    TxPath path(socket.channel);
    for (;;) {
        if (socket.phase() != Phase::smc) {
            return 0;
        }
        const std::size_t quarter = socket.channel.peer.ring_bytes / 4;
        const std::size_t wanted = std::clamp<std::size_t>(min_bytes, 1, quarter);
        // What the last reservation left, unless an ordinary send came between.
        const std::uint64_t producer = socket.block->tx.producer.load(std::memory_order_relaxed);
        if (tx.room >= wanted && tx.ring.began == producer) [[likely]] {
            tx.reserved = Reserved::ring;
            return static_cast<ssize_t>(tx.room);
        }
        if (const int error = path.failure(); error != 0) {
            return refuse(error);
        }
        tx.ring = path.reserve();
        tx.room = tx.ring.first.size() + tx.ring.second.size();
        if (tx.room >= wanted) {
            tx.reserved = Reserved::ring;
            return static_cast<ssize_t>(tx.room);
        }
        if (!path.stalled(socket.send_stalls, wanted)) {
            continue;
        }
        if (sock.non_blocking(flags)) {
            return refuse(EAGAIN);
        }
        sock.process().progress().ensure_watched(socket);
        const WaitStatus status = wait_for_space(
            socket.channel, socket.spin_space, static_cast<std::uint32_t>(wanted), kForever);
        if (status == WaitStatus::interrupted) {
            return refuse(EINTR);
        }
        if (path.space() == 0 && path.failure() == 0 && socket.phase() == Phase::smc) {
            return refuse(EPIPE); // the wait ended because the peer did
        }
    }
}

/// Copies to byte `at` of the two spans.
void copy_in(const TxPath::Reservation& to,
             std::size_t at,
             const std::byte* from,
             std::size_t n) noexcept {
    const std::size_t first = at < to.first.size() ? std::min(n, to.first.size() - at) : 0;
    if (first != 0) {
        std::memcpy(to.first.data() + at, from, first);
    }
    if (n != first) {
        std::memcpy(to.second.data() + (at + first - to.first.size()), from + first, n - first);
    }
}

/// A send with MSG_MORE, or the one that ends a row of them.
ssize_t
send_deferred(smcd_sock& sock, const std::byte* data, std::size_t bytes, int flags) noexcept {
    SendState& tx = sock.tx;
    const std::size_t piece = sock.socket->channel.peer.ring_bytes / 8;
    if (tx.reserved != Reserved::ring || tx.deferred + bytes > tx.room || bytes > piece)
        [[unlikely]] {
        if (const ssize_t rc = flush_deferred(sock, flags); rc < 0) {
            return rc;
        }
        const ssize_t room = bytes > piece ? 0 : reserve_ring(sock, bytes, flags);
        if (room < 0) {
            return room;
        }
        if (room == 0) {
            const iovec part{const_cast<std::byte*>(data), bytes};
            return plain_send(sock, {&part, 1}, flags & kFlags);
        }
    }
    copy_in(tx.ring, tx.deferred, data, bytes);
    tx.deferred += bytes;
    tx.row_end = std::min(tx.ring.first.size(), piece);
    if ((flags & MSG_MORE) == 0 || tx.deferred >= piece) {
        if (const ssize_t rc = publish(sock, tx.deferred); rc < 0) {
            return rc;
        }
    }
    return static_cast<ssize_t>(bytes);
}

/// Bytes that an earlier peek took off TCP.
ssize_t take_bounced(smcd_sock& sock, std::span<const iovec> parts, int flags) noexcept {
    Bounce& bounce = sock.rx;
    std::size_t done = 0;
    for (const iovec& part : parts) {
        const std::size_t n = std::min(part.iov_len, bounce.size() - done);
        if (n == 0) {
            continue;
        }
        std::memcpy(part.iov_base, bounce.memory.get() + bounce.begin + done, n);
        done += n;
    }
    if ((flags & MSG_PEEK) == 0) {
        bounce.begin += done;
    }
    return static_cast<ssize_t>(done);
}

} // namespace

ssize_t plain_send(smcd_sock& sock, std::span<const iovec> parts, int flags) noexcept {
    const ssize_t n = stream_send(sock.process(), *sock.socket, parts, flags);
    return n == kUseTcp ? tcp_message(sock, parts, flags, true) : n;
}

ssize_t plain_receive(smcd_sock& sock, std::span<const iovec> parts, int flags) noexcept {
    if (sock.rx_skip != 0) [[unlikely]] {
        if (const ssize_t rc = skip_again(sock, flags); rc < 0) {
            return rc;
        }
    }
    return receive_either(sock, parts, flags);
}

ssize_t flush_deferred(smcd_sock& sock, int flags) noexcept {
    SendState& tx = sock.tx;
    if (tx.reserved == Reserved::ring) {
        return publish(sock, tx.deferred);
    }
    return drain_bounce(sock, flags);
}

} // namespace smcd::library

using namespace smcd;          // NOLINT(google-build-using-namespace): a skin of C functions
using namespace smcd::library; // NOLINT(google-build-using-namespace)

ssize_t smcd_send(smcd_sock* sock, const void* data, size_t bytes, int flags) {
    SendState& tx = sock->tx;
    if (flags == MSG_MORE && tx.deferred + bytes < tx.row_end) {
        // Inside a row: a copy and nothing else. The end of the row looks at the connection.
        std::memcpy(tx.ring.first.data() + tx.deferred, data, bytes);
        tx.deferred += bytes;
        return static_cast<ssize_t>(bytes);
    }
    const bool in_row = (flags & MSG_MORE) != 0 || tx.deferred != 0;
    const iovec part{const_cast<void*>(data), bytes};
    if (!sock->socket->accelerated()) [[unlikely]] {
        return smcd_sendv(sock, &part, 1, flags);
    }
    if (in_row) {
        return finish(send_deferred(*sock, static_cast<const std::byte*>(data), bytes, flags));
    }
    if (has_deferred(*sock)) [[unlikely]] {
        return smcd_sendv(sock, &part, 1, flags);
    }
    if (const ssize_t n = stream_send_short(sock->process(), *sock->socket, data, bytes); n > 0) [[likely]] {
        return n;
    }
    // In one step when there is space; all else is the slow way's.
    const IoResult step = TxPath(sock->socket->channel).send({&part, 1}, 0);
    if (step.status != IoStatus::ok || step.bytes == bytes) {
        const bool later = step.status == IoStatus::would_block || step.status == IoStatus::moved;
        if (later) {
            return finish(plain_send(*sock, {&part, 1}, flags & kFlags));
        }
        return step.status == IoStatus::ok ? static_cast<ssize_t>(bytes)
                                           : finish(refuse(step.error));
    }
    const iovec rest{static_cast<char*>(part.iov_base) + step.bytes, bytes - step.bytes};
    const ssize_t n = plain_send(*sock, {&rest, 1}, flags & kFlags);
    return static_cast<ssize_t>(step.bytes) + std::max<ssize_t>(n, 0);
}

ssize_t smcd_sendv(smcd_sock* sock, const iovec* parts, int count, int flags) {
    if (count < 0) {
        return finish(refuse(EINVAL));
    }
    if (const ssize_t rc = flush_deferred(*sock, flags); rc < 0) {
        return finish(rc);
    }
    return finish(plain_send(*sock, {parts, static_cast<std::size_t>(count)}, flags & kFlags));
}

int smcd_flush(smcd_sock* sock) {
    return static_cast<int>(finish(flush_deferred(*sock, 0)));
}

ssize_t smcd_recv(smcd_sock* sock, void* data, size_t bytes, int flags) {
    const iovec part{data, bytes};
    const Socket& socket = *sock->socket;
    if (flags == 0 && socket.low_water <= 1 && sock->rx.empty() && sock->rx_skip == 0 &&
        socket.accelerated()) [[likely]] {
        if (const std::uint32_t n = RxPath(sock->socket->channel).receive_short(data, bytes); n > 0) [[likely]] {
            return n;
        }
        const IoResult step = RxPath(sock->socket->channel).receive({&part, 1}, {});
        if (step.bytes > 0) {
            return static_cast<ssize_t>(step.bytes);
        }
        if (step.status == IoStatus::error) {
            return finish(refuse(step.error)); // it is told once
        }
    }
    return smcd_recvv(sock, &part, 1, flags);
}

ssize_t smcd_recvv(smcd_sock* sock, const iovec* parts, int count, int flags) {
    if (count < 0) {
        return finish(refuse(EINVAL));
    }
    const std::span<const iovec> buffers(parts, static_cast<std::size_t>(count));
    if (!sock->rx.empty()) [[unlikely]] {
        return take_bounced(*sock, buffers, flags);
    }
    return finish(plain_receive(*sock, buffers, flags & kFlags));
}

ssize_t smcd_send_reserve(smcd_sock* sock, smcd_span spans[2], size_t min_bytes, int flags) {
    SendState& tx = sock->tx;
    if (has_deferred(*sock)) [[unlikely]] {
        if (const ssize_t rc = flush_deferred(*sock, flags); rc < 0) {
            return finish(rc);
        }
    }
    const ssize_t room = reserve_ring(*sock, min_bytes, flags);
    if (room < 0) {
        return finish(room);
    }
    if (room > 0) {
        spans[0] = {tx.ring.first.data(), tx.ring.first.size()};
        spans[1] = {tx.ring.second.data(), tx.ring.second.size()};
        return room;
    }
    if (!tx.bounce.make_memory()) {
        return finish(refuse(ENOMEM));
    }
    tx.reserved = Reserved::bounce;
    spans[0] = {tx.bounce.memory.get(), Bounce::kBytes};
    spans[1] = {nullptr, 0};
    return static_cast<ssize_t>(Bounce::kBytes);
}

int smcd_send_commit(smcd_sock* sock, size_t bytes) {
    SendState& tx = sock->tx;
    const std::size_t bounce_room = tx.reserved == Reserved::bounce ? Bounce::kBytes : 0;
    if (bytes > (tx.reserved == Reserved::ring ? tx.room : bounce_room)) {
        return static_cast<int>(finish(refuse(EINVAL)));
    }
    if (tx.reserved == Reserved::ring) {
        return static_cast<int>(finish(publish(*sock, bytes)));
    }
    tx.reserved = Reserved::nothing;
    tx.bounce.end = bytes;
    const ssize_t rc = drain_bounce(*sock, 0);
    // Non-blocking: what TCP did not take waits for the next call on this side.
    return static_cast<int>(finish(rc == -EAGAIN ? 0 : rc));
}
