#include "smcd/runtime/return_tcp.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>

#include "smcd/base/clock.hpp"
#include "smcd/base/raw_syscall.hpp"
#include "smcd/core/direction_lock.hpp"
#include "smcd/runtime/clc_inbound.hpp"
#include "smcd/runtime/handshake.hpp"
#include "smcd/runtime/process.hpp"
#include "smcd/runtime/return_frame.hpp"
#include "smcd/runtime/settle.hpp"

namespace smcd {
namespace {

constexpr std::uint64_t kAnswerLimitNs = 60 * kNsPerSecond;
constexpr std::uint64_t kDecideLimitNs = 5 * kNsPerMs;
/// A CLC message that may still come is waited for this long; a peer that is alive has sent it by then.
constexpr std::uint64_t kLateMessageLimitNs = 20 * kNsPerMs;
constexpr int kLookAgainMs = 5;

Cursor cursor_of(const std::atomic<std::uint64_t>& word) noexcept {
    return unpack(word.load(std::memory_order_relaxed)).cursor;
}

bool answered(const ConnBlock& block) noexcept {
    return (block.ret.steps.load(std::memory_order_acquire) & kReturnAnswered) != 0;
}

/// Nobody moves a cursor afterwards. false: not possible here and now; nothing has changed.
bool freeze(Socket& socket) {
    ConnBlock& block = socket.live_block();
    const DirectionGuard receiving(block.rx.lock);
    const DirectionGuard sending(block.tx.lock);
    if (receiving.nested() || sending.nested() || socket.phase() != Phase::smc) {
        return false;
    }
    const auto frame = encode({cursor_of(block.rx.consumer), cursor_of(block.tx.producer)});
    // The connection is idle but for doorbell bytes: the frame goes out whole, or the peer is gone.
    if (!write_outbound(socket, frame)) {
        return false;
    }
    block.ret.steps.store(0, std::memory_order_relaxed);
    block.flags.fetch_or(kFlagFrozen, std::memory_order_acq_rel);
    return true;
}

/// Back to the rings, where what the peer has published can still be read.
void thaw(Process& process, Socket& socket) {
    socket.live_block().flags.fetch_and(~kFlagFrozen, std::memory_order_acq_rel);
    socket.live_block().phase.store(Phase::smc, std::memory_order_release);
    process.wake_local(socket);
}

void on_violation(Process& process, Socket& socket) {
    mark_reset(socket.live_block(), ECONNRESET);
    thaw(process, socket);
}

bool begin(Process& process, Socket& socket, Reason reason) {
    ConnBlock& block = socket.live_block();
    const std::uint32_t flags = block.flags.load(std::memory_order_acquire);
    const std::uint32_t peer = block.rx.peer_flags.load(std::memory_order_relaxed);
    const std::uint32_t own = block.tx.state_flags.load(std::memory_order_relaxed);
    if ((flags & (kFlagReset | kFlagTcpHangup | kFlagEnding)) != 0 ||
        ((peer | own) & (kPeerConnClosed | kPeerConnAbort)) != 0 || !freeze(socket)) {
        return false;
    }
    process.set_phase(socket, Phase::returning, reason);
    return true;
}

/// Whether the peer can have written as far as it says. Over a device that is lost it has, into its send buffer, what
/// did not reach us.
bool may_have_produced(const Socket& socket, Cursor said) noexcept {
    const ConnBlock& block = socket.live_block();
    const Cursor seen = cursor_of(block.rx.peer_producer);
    if (socket.channel.copy == nullptr) {
        return seen == said;
    }
    const std::uint32_t ring_bytes = socket.channel.own.ring_bytes;
    const std::uint32_t unread = distance(cursor_of(block.rx.consumer), seen, ring_bytes);
    return checked_distance(seen, said, ring_bytes, ring_bytes - unread).has_value();
}

/// The peer's frame: all it says must agree with what lies in shared memory.
void on_frame(Process& process, Socket& socket, const ReturnFrame& frame) {
    ConnBlock& block = socket.live_block();
    if (socket.phase() == Phase::smc && !begin(process, socket, Reason::returned_by_peer)) {
        // Who is just saying goodbye gives no answer: the peer sees the end, and what lies in its ring.
        if ((block.flags.load(std::memory_order_acquire) & kFlagEnding) == 0) {
            on_violation(process, socket);
        }
        return;
    }
    process.progress().ensure_watched(socket);
    static_cast<void>(RxPath(socket.channel).readable());
    const Cursor producer = cursor_of(block.tx.producer);
    const Cursor known = cursor_of(block.tx.peer_consumer);
    const std::uint32_t ring_bytes = socket.channel.peer.ring_bytes;
    if (answered(block) || !may_have_produced(socket, frame.produced) ||
        !checked_distance(known, frame.consumed, ring_bytes, distance(known, producer, ring_bytes))) {
        on_violation(process, socket);
        return;
    }
    block.ret.replay_at.store(pack(frame.consumed), std::memory_order_relaxed);
    block.ret.replay_end.store(pack(producer), std::memory_order_relaxed);
    block.ret.steps.fetch_or(kReturnAnswered, std::memory_order_acq_rel);
    process.wake_local(socket);
}

/// Takes doorbell bytes, and the frame if it is whole. Relatives hear of the same bytes, and the kernel tells them only
/// while some are left: one stays for them.
TcpNews look(Process& process, Socket& socket) {
    std::array<std::byte, 64> bytes;
    const bool shared = process.arena().is_shared(socket.live_block());
    for (;;) {
        const ssize_t n = raw::recvfrom(
            socket.fd, bytes.data(), bytes.size(), MSG_PEEK | MSG_DONTWAIT, nullptr, nullptr);
        if (n <= 0) {
            if (n == 0) {
                return {TcpState::ended};
            }
            return errno == EAGAIN || errno == EINTR ? TcpNews{} : TcpNews{TcpState::broken, errno};
        }
        const std::span<const std::byte> inbound(bytes.data(), static_cast<std::size_t>(n));
        std::size_t doorbells = 0;
        while (doorbells < inbound.size() && inbound[doorbells] == kDoorbellByte) {
            ++doorbells;
        }
        const bool all = doorbells == inbound.size();
        take_inbound(socket.fd, all && shared ? doorbells - 1 : doorbells);
        if (all && shared && doorbells < bytes.size()) {
            return {};
        }
        if (all) {
            continue;
        }
        ReturnFrame frame;
        switch (decode(inbound.subspan(doorbells), frame)) {
            case FrameFront::frame:
                take_inbound(socket.fd, kReturnFrameBytes);
                on_frame(process, socket, frame);
                return {};
            case FrameFront::incomplete:
                if (doorbells > 0) {
                    continue;  // the rest may stand behind what fitted into our view
                }
                return {};
            case FrameFront::garbage:
                on_violation(process, socket);
                return {};
        }
    }
}

/// Sends what the peer had not read. true: all of it is in TCP.
bool replay(Socket& socket) {
    ConnBlock& block = socket.live_block();
    if (is_broken(socket.fd)) {
        return true;  // the bytes go where TCP's own would have gone
    }
    const DmbView& ring = socket.channel.peer;
    const Cursor end = cursor_of(block.ret.replay_end);
    for (Cursor at = cursor_of(block.ret.replay_at); !(at == end);) {
        const std::uint32_t piece =
            std::min(distance(at, end, ring.ring_bytes), ring.ring_bytes - at.count);
        const ssize_t n = raw::sendto(
            socket.fd, ring.ring + at.count, piece, MSG_DONTWAIT | MSG_NOSIGNAL, nullptr, 0);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return errno != EAGAIN;  // broken: the bytes go where TCP's own would have gone
        }
        at = advance(at, static_cast<std::uint32_t>(n), ring.ring_bytes);
        block.ret.replay_at.store(pack(at), std::memory_order_relaxed);
    }
    return true;
}

/// The rings have nothing more to say: the rest is TCP's.
void finish(Process& process, Socket& socket, Reason reason) {
    const std::uint32_t flags = socket.live_block().flags.load(std::memory_order_acquire);
    if ((flags & kFlagShutWrite) != 0) {
        raw::shutdown(socket.fd, SHUT_WR);
    }
    if ((flags & kFlagShutRead) != 0) {
        raw::shutdown(socket.fd, SHUT_RD);
    }
    process.set_phase(socket, Phase::tcp, reason);
}

/// Settling, all bytes are out, and the peer's last CLC message does not come.
void stop_swallowing(Socket& socket) {
    const DirectionGuard guard(socket.live_block().handshake_lock);
    if ((socket.live_block().flags.load(std::memory_order_acquire) & kFlagFrameInbound) == 0) {
        socket.live_block().flags.fetch_and(~kFlagSwallow, std::memory_order_acq_rel);
    }
}

/// The peer has closed and nothing is unread: what is left of the connection is its end, and TCP has that too. A peer that
/// has shut down both ways may still have its descriptor: it is to learn from the rings what is sent behind that.
bool only_the_end_is_left(Socket& socket) {
    constexpr std::uint32_t kSaid = kPeerGone | kPeerDoneWriting;
    const ConnBlock& block = socket.live_block();
    const DirectionGuard receiving(socket.live_block().rx.lock);
    const DirectionGuard sending(socket.live_block().tx.lock);
    const std::uint32_t peer = block.rx.peer_flags.load(std::memory_order_acquire);
    const std::uint32_t own = block.tx.state_flags.load(std::memory_order_relaxed);
    if (receiving.nested() || sending.nested() || (peer & kSaid) != kPeerConnClosed || (own & kPeerGone) != 0 ||
        (block.flags.load(std::memory_order_acquire) & (kFlagReset | kFlagEnding)) != 0 ||
        RxPath(socket.channel).readable() > 0) {
        return false;
    }
    std::array<std::byte, 64> doorbells;
    ssize_t n = 0;
    do {
        n = raw::recvfrom(socket.fd, doorbells.data(), doorbells.size(), MSG_DONTWAIT, nullptr, nullptr);
    } while (n > 0 || (n < 0 && errno == EINTR));
    return n == 0;
}

/// The initiator's side of `begin`, from an application thread.
bool begin_here(Process& process, Socket& socket, Reason reason) {
    const DirectionGuard guard(socket.live_block().handshake_lock);
    if (guard.nested()) {
        return false;
    }
    if (socket.phase() != Phase::smc || begin(process, socket, reason)) {
        return true;
    }
    if (!only_the_end_is_left(socket)) {
        return false;
    }
    finish(process, socket, reason);
    return true;
}

}  // namespace

TcpNews return_look(Process& process, Socket& socket) {
    const DirectionGuard guard(socket.live_block().handshake_lock);
    return guard.nested() || socket.phase() != Phase::smc ? TcpNews{} : look(process, socket);
}

void return_step(Process& process, Socket& socket) {
    ConnBlock& block = socket.live_block();
    if (!answered(block) && look(process, socket).state != TcpState::nothing) {
        block.flags.fetch_or(kFlagTcpHangup, std::memory_order_acq_rel);
        thaw(process, socket);
        return;
    }
    if (!answered(block)) {
        return;
    }
    if (replay(socket)) {
        finish(process, socket, static_cast<Reason>(block.reason.load(std::memory_order_relaxed)));
    } else {
        process.progress().watch(socket);  // now for send space too
    }
}

void return_begin(Process& process, Socket& socket, Reason reason) {
    if (socket.phase() == Phase::smc && begin_here(process, socket, reason) && Socket::is_ours(socket.phase())) {
        process.progress().watch(socket); // its frame may be here already
    }
}

bool end_on_rings(Socket& socket) {
    const DirectionGuard guard(socket.live_block().handshake_lock);
    if (guard.nested() || socket.phase() != Phase::smc) {
        return false;
    }
    socket.live_block().flags.fetch_or(kFlagEnding, std::memory_order_acq_rel);
    return true;
}

bool return_to_tcp(Process& process, Socket& socket, Reason reason) {
    const int saved = errno;
    const std::uint64_t end = monotonic_ns() + kAnswerLimitNs;
    handshake_resolve(process, socket, reason, kDecideLimitNs);
    settle_await_proposal(process, socket);
    settle_await_clc(process, socket, kLateMessageLimitNs);
    for (;;) {
        const Phase phase = socket.phase();
        if (!Socket::is_ours(phase)) {
            errno = saved;
            return true;
        }
        const bool possible = phase != Phase::smc || begin_here(process, socket, reason);
        if (!possible || monotonic_ns() >= end) {
            if (possible) {
                mark_reset(socket.live_block(), ECONNRESET);
            }
            errno = saved;
            return false;
        }
        if (may_send_to_tcp(socket)) {
            stop_swallowing(socket);
        }
        handshake_drive(process, socket);
        if (Socket::is_ours(socket.phase())) {
            const bool sending = phase == Phase::returning && answered(socket.live_block());
            pollfd wait{socket.fd, static_cast<short>(sending ? POLLOUT : POLLIN), 0};
            raw::poll(&wait, 1, kLookAgainMs);
        }
    }
}

}  // namespace smcd
