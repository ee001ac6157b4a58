#include "smcd/runtime/lingering.hpp"

#include <sys/socket.h>

#include <algorithm>

#include "smcd/base/raw_syscall.hpp"
#include "smcd/runtime/device_loss.hpp"
#include "smcd/runtime/handshake.hpp"
#include "smcd/runtime/handshake_state.hpp"
#include "smcd/runtime/inheritance.hpp"
#include "smcd/runtime/process.hpp"
#include "smcd/runtime/return_tcp.hpp"
#include "smcd/runtime/settle.hpp"
#include "smcd/runtime/sleep_guard.hpp"

namespace smcd {
namespace {

constexpr std::uint64_t kMessageNs = 250 * kNsPerMs;
constexpr std::uint64_t kExitWaitNs = 20 * kNsPerMs;
/// A peer that is only slow gets its bytes; the kernel tries about as long.
constexpr std::uint64_t kBytesNs = 60 * kNsPerSecond;
/// What cannot linger, for want of a descriptor or because a relative has it open too, is worth a
/// wait.
constexpr std::uint64_t kEndNs = 500 * kNsPerMs;

bool is_undecided(const Socket& socket) noexcept {
    const Phase phase = socket.phase();
    return Socket::is_ours(phase) && phase != Phase::smc;
}

bool may_swallow(const Socket& socket) noexcept {
    return socket.phase() == Phase::settling && socket.handshake != nullptr &&
           (socket.block->flags.load(std::memory_order_acquire) & kFlagSwallow) != 0;
}

bool expects_proposal(const Socket& socket) noexcept {
    return may_swallow(socket) && socket.handshake->expects_proposal;
}

/// A server on this machine has seen our Decline before it would answer (has_given_up()); one beyond may be answering. As long
/// as the connection is open, what the server's application sends draws no reset.
bool expects_answer(const Socket& socket) noexcept {
    return socket.beyond && may_swallow(socket) && socket.handshake->expects_answer;
}

/// The client confirms what we have accepted, whatever its application does: into a closed connection that would draw a
/// reset, where TCP shows an end.
bool expects_confirm(const Socket& socket) noexcept {
    return socket.phase() == Phase::handshake && socket.handshake != nullptr && socket.handshake->answered;
}

bool is_unfinished(const Socket& socket) noexcept {
    return is_undecided(socket) &&
           (expects_proposal(socket) || expects_answer(socket) || expects_confirm(socket) ||
            handshake_has_bytes(socket));
}

/// SO_LINGER: how long the application wants to wait in close().
std::uint64_t wanted_wait_ns(const Socket& socket) noexcept {
    linger setting{};
    socklen_t length = sizeof(setting);
    if (socket.is_non_blocking() ||
        raw::getsockopt(socket.fd, SOL_SOCKET, SO_LINGER, &setting, &length) != 0 ||
        setting.l_onoff == 0) {
        return 0;
    }
    return static_cast<std::uint64_t>(std::max(setting.l_linger, 0)) * kNsPerSecond;
}

} // namespace

void choose_end(Process& process, Socket& socket) {
    if (socket.kind.load(std::memory_order_acquire) != SocketKind::connection ||
        socket.phase() != Phase::smc || has_sleepers(socket) ||
        is_left_to_relatives(process, socket) || process.arena().is_shared(socket.live_block())) {
        return;
    }
    begin_to_leave_if_lost(process, socket);
    static_cast<void>(end_on_rings(socket)); // what has just begun to return is seen by its phase
}

void linger_if_unfinished(Process& process, Socket& socket) {
    if (socket.kind.load(std::memory_order_acquire) != SocketKind::connection ||
        has_sleepers(socket) || is_left_to_relatives(process, socket) || !is_undecided(socket)) {
        return;
    }
    handshake_finish(process, socket, handshake_has_bytes(socket) ? wanted_wait_ns(socket) : 0);
    // They come before a reset, too, as on a TCP that has sent them.
    const bool bytes = handshake_has_bytes(socket);
    if (!is_unfinished(socket) || (socket.linger_reset && !bytes) ||
        process.arena().is_shared(socket.live_block()) || !hold_open(socket)) {
        return;
    }
    if (!keep_open(process, socket)) {
        let_go(process, socket);
        return;
    }
    if (!socket.linger_reset) { // the end comes behind the bytes
        socket.lingered = true;
        socket.block->flags.fetch_or(kFlagShutWrite, std::memory_order_acq_rel);
        handshake_close(process, socket, 0);
    }
    const std::uint64_t until_ns = monotonic_ns() + (bytes ? kBytesNs : kMessageNs);
    socket.linger_until_ns.store(until_ns, std::memory_order_seq_cst);
    process.progress().arm_deadline(socket, until_ns);
    // The progress thread may have finished it before it could see that it lingers.
    end_linger_if_due(process, socket);
}

std::uint64_t end_limit_ns() noexcept {
    return Progress::on_progress_thread() ? 0 : kEndNs;
}

void leave_lingering_to_parent(Socket& socket) noexcept {
    if (socket.linger_until_ns.load(std::memory_order_relaxed) != 0) {
        socket.inherited.store(true, std::memory_order_relaxed);
    }
}

void await_client_at_exit(Process& process, Socket& socket) {
    if (process.arena().is_shared(socket.live_block())) {
        return;
    }
    if (expects_proposal(socket)) {
        settle_await_clc(process, socket, kExitWaitNs);
    } else if (expects_confirm(socket)) {
        handshake_resolve(process, socket, Reason::closed_early, kExitWaitNs);
    }
}

void end_linger_if_due(Process& process, Socket& socket) {
    std::uint64_t until_ns = socket.linger_until_ns.load(std::memory_order_seq_cst);
    if (until_ns == 0 || (is_unfinished(socket) && monotonic_ns() < until_ns)) {
        return;
    }
    if (socket.linger_until_ns.compare_exchange_strong(until_ns, 0, std::memory_order_acq_rel)) {
        let_go(process, socket);
    }
}

} // namespace smcd
