// What a program may know of its connections. Floor 4.
#include "smcd/library/handles.hpp"

namespace smcd::library {
namespace {

Reason reason_of(const smcd_sock& sock) noexcept {
    const ConnBlock* block = sock.socket->block;
    return block == nullptr ? Reason::none
                            : static_cast<Reason>(block->reason.load(std::memory_order_relaxed));
}

} // namespace
} // namespace smcd::library

using namespace smcd;          // NOLINT(google-build-using-namespace): a skin of C functions
using namespace smcd::library; // NOLINT(google-build-using-namespace)

int smcd_is_accelerated(const smcd_sock* sock) {
    return sock->socket->accelerated() ? 1 : 0;
}

const char* smcd_last_reason(const smcd_sock* sock) {
    const Reason reason = reason_of(*sock);
    // The texts are literals: terminated.
    return reason == Reason::none ? "" : reason_text(reason).data();
}

uint32_t smcd_reason_code(const smcd_sock* sock) {
    return static_cast<std::uint32_t>(reason_of(*sock));
}

int smcd_get_info(const smcd_sock* sock, smcd_info* info) {
    if (info == nullptr || info->size < sizeof(*info)) {
        errno = EINVAL;
        return -1;
    }
    *info = {};
    info->size = sizeof(*info);
    info->accelerated = smcd_is_accelerated(sock);
    info->reason = smcd_reason_code(sock);
    const Socket& socket = *sock->socket;
    const ConnBlock* block = socket.block;
    if (block == nullptr) {
        return 0;
    }
    if (info->accelerated != 0) {
        info->ring_bytes = socket.channel.own.ring_bytes;
        info->peer_ring_bytes = socket.channel.peer.ring_bytes;
    }
    const auto count = [](const std::atomic<std::uint64_t>& counter) noexcept {
        return counter.load(std::memory_order_relaxed);
    };
    info->sent_bytes = count(block->tx.bytes);
    info->received_bytes = count(block->rx.bytes);
    info->wakeups_sent = count(block->waits.wakeups_sent);
    info->wakeups_suppressed = count(block->waits.wakeups_suppressed);
    info->sleeps = count(block->waits.sleeps);
    info->spin_hits = count(block->waits.spin_hits);
    info->spin_misses = count(block->waits.spin_misses);
    return 0;
}
