// Receiving without a copy: unread bytes are shown where they lie. Floor 4, HOT.
//
// Without a ring they are taken off the socket into a bounce buffer, from which later calls read
// on.
#include <algorithm>
#include <cstring>

#include "smcd/library/handles.hpp"

namespace smcd::library {
namespace {

/// The ring's unread bytes as two spans. Sum, 0 at the end of the stream, or -errno; kUseTcp: not
/// on the ring.
ssize_t peek_ring(smcd_sock& sock, smcd_span spans[2], std::size_t min_bytes, int flags) noexcept {
    Socket& socket = *sock.socket;
    RxPath path(socket.channel);
    bool waited = false;
    for (;;) {
        if (socket.phase() != Phase::smc) {
            return kUseTcp; // the channel is being filled, perhaps
        }
        const std::size_t wanted =
            std::clamp<std::size_t>(min_bytes, 1, socket.channel.own.ring_bytes / 2);
        const bool ended = path.ended(); // first: what came in front of the end is there by then
        const RxPath::Spans unread = path.peek_spans();
        const std::size_t sum = unread.first.size() + unread.second.size();
        const bool enough = sum >= wanted || ended || path.ended();
        if (sum > 0 && (enough || waited)) {
            spans[0] = {const_cast<std::byte*>(unread.first.data()), unread.first.size()};
            spans[1] = {const_cast<std::byte*>(unread.second.data()), unread.second.size()};
            return static_cast<ssize_t>(sum);
        }
        if (enough) {
            // The plain call knows which end it is, and whether something came in front of it after
            // all.
            std::byte one{};
            const iovec probe{&one, 1};
            const ssize_t n =
                stream_receive(sock.process(), socket, {&probe, 1}, MSG_PEEK | MSG_DONTWAIT);
            if (n == 0 || (n < 0 && n != kUseTcp && n != -EAGAIN)) {
                return n;
            }
            continue;
        }
        if (sock.non_blocking(flags)) {
            return refuse(EAGAIN);
        }
        sock.process().progress().ensure_watched(socket);
        const WaitStatus status = wait_for_data(
            socket.channel, socket.spin_data, static_cast<std::uint32_t>(wanted), kForever);
        waited = status != WaitStatus::ready;
        if (waited && path.readable() == 0) {
            return refuse(EINTR);
        }
    }
}

/// Without a ring: what one receive into the bounce buffer gives.
ssize_t
peek_bounce(smcd_sock& sock, smcd_span spans[2], std::size_t min_bytes, int flags) noexcept {
    Bounce& bounce = sock.rx;
    if (!bounce.make_memory()) {
        return refuse(ENOMEM);
    }
    if (bounce.begin != 0) {
        std::memmove(bounce.memory.get(), bounce.memory.get() + bounce.begin, bounce.size());
        bounce.end -= bounce.begin;
        bounce.begin = 0;
    }
    const std::size_t wanted = std::clamp<std::size_t>(min_bytes, 1, Bounce::kBytes / 2);
    while (bounce.size() < wanted) {
        const iovec part{bounce.memory.get() + bounce.end, Bounce::kBytes - bounce.end};
        const ssize_t n = plain_receive(sock, {&part, 1}, flags & MSG_DONTWAIT);
        if (n <= 0 && bounce.empty()) {
            return n;
        }
        if (n <= 0) {
            break;
        }
        bounce.end += static_cast<std::size_t>(n);
    }
    spans[0] = {bounce.memory.get(), bounce.size()};
    spans[1] = {nullptr, 0};
    return static_cast<ssize_t>(bounce.size());
}

} // namespace
} // namespace smcd::library

using namespace smcd;          // NOLINT(google-build-using-namespace): a skin of C functions
using namespace smcd::library; // NOLINT(google-build-using-namespace)

ssize_t smcd_recv_peek(smcd_sock* sock, smcd_span spans[2], size_t min_bytes, int flags) {
    spans[0] = spans[1] = {nullptr, 0};
    if (sock->rx.empty()) {
        const ssize_t n = peek_ring(*sock, spans, min_bytes, flags);
        if (n != kUseTcp) {
            return finish(n);
        }
    }
    return finish(peek_bounce(*sock, spans, min_bytes, flags));
}

int smcd_recv_consume(smcd_sock* sock, size_t bytes) {
    if (!sock->rx.empty()) {
        if (bytes > sock->rx.size()) {
            return static_cast<int>(finish(refuse(EINVAL)));
        }
        sock->rx.begin += bytes;
        return 0;
    }
    if (bytes == 0) {
        return 0;
    }
    if (sock->socket->channel.block == nullptr || bytes > sock->socket->channel.own.ring_bytes) {
        return static_cast<int>(finish(refuse(EINVAL)));
    }
    if (!RxPath(sock->socket->channel).consume(static_cast<std::uint32_t>(bytes))) [[unlikely]] {
        sock->rx_skip += bytes;
    }
    return 0;
}
