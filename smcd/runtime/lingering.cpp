#include "smcd/runtime/lingering.hpp"

#include "smcd/runtime/handshake.hpp"
#include "smcd/runtime/handshake_state.hpp"
#include "smcd/runtime/inheritance.hpp"
#include "smcd/runtime/process.hpp"
#include "smcd/runtime/settle.hpp"
#include "smcd/runtime/sleep_guard.hpp"

namespace smcd {
namespace {

constexpr std::uint64_t kLingerNs = 250 * kNsPerMs;
constexpr std::uint64_t kExitWaitNs = 20 * kNsPerMs;

bool expects_proposal(const Socket& socket) noexcept {
    return socket.phase() == Phase::settling && socket.handshake != nullptr && socket.handshake->expects_proposal &&
           (socket.block->flags.load(std::memory_order_acquire) & kFlagSwallow) != 0;
}

}  // namespace

void linger_for_proposal(Process& process, Socket& socket) {
    if (socket.kind.load(std::memory_order_acquire) != SocketKind::connection || has_sleepers(socket) ||
        is_left_to_relatives(socket)) {
        return;
    }
    const Phase phase = socket.phase();
    if (!Socket::is_ours(phase) || phase == Phase::smc) {
        return;
    }
    handshake_close(process, socket, kCloseLimitNs);
    if (!expects_proposal(socket) || socket.linger_reset ||
        socket.block->holders.load(std::memory_order_acquire) > 1 || !hold_open(socket)) {
        return;
    }
    const std::uint64_t until_ns = monotonic_ns() + kLingerNs;
    socket.linger_until_ns.store(until_ns, std::memory_order_release);
    process.progress().arm_deadline(socket, until_ns);
}

void await_proposal_at_exit(Process& process, Socket& socket) {
    if (expects_proposal(socket) && socket.block->holders.load(std::memory_order_acquire) == 1) {
        settle_await_clc(process, socket, kExitWaitNs);
    }
}

void end_linger_if_due(Process& process, Socket& socket) {
    std::uint64_t until_ns = socket.linger_until_ns.load(std::memory_order_acquire);
    if (until_ns == 0 || (expects_proposal(socket) && monotonic_ns() < until_ns)) {
        return;
    }
    if (socket.linger_until_ns.compare_exchange_strong(until_ns, 0, std::memory_order_acq_rel)) {
        let_go(process, socket);
    }
}

}  // namespace smcd
