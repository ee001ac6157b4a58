#include "smcd/runtime/inheritance.hpp"

#include "smcd/base/clock.hpp"
#include "smcd/base/raw_syscall.hpp"
#include "smcd/runtime/handshake.hpp"
#include "smcd/runtime/handshake_state.hpp"
#include "smcd/runtime/process.hpp"

namespace smcd {
namespace {

/// A parent closes its copy right after fork(); on a busy machine it may have to wait for a processor first.
constexpr std::uint64_t kRelativesLimitNs = 20 * kNsPerMs;
/// So long looking is cheaper than sleeping.
constexpr std::uint64_t kSpinNs = 50'000;

bool is_alone(Process& process, const Socket& socket) noexcept {
    return !process.arena().is_shared(socket.live_block());
}

}  // namespace

bool is_untouched(const Socket& socket) noexcept {
    return socket.kind.load(std::memory_order_acquire) == SocketKind::connection &&
           socket.phase() == Phase::handshake && socket.block->role == Role::server &&
           socket.handshake != nullptr && !socket.handshake->touched;
}

void take_inherited(Process& process, Socket& socket) {
    const std::uint64_t began = monotonic_ns();
    while (!is_alone(process, socket) && socket.phase() == Phase::handshake) {
        const std::uint64_t waited = monotonic_ns() - began;
        if (waited >= kRelativesLimitNs) {
            handshake_give_up(process, socket, Reason::fork_in_handshake);
            break;
        }
        if (waited >= kSpinNs) {
            raw::poll(nullptr, 0, 1);
        }
    }
    socket.inherited.store(false, std::memory_order_release);
}

bool is_left_to_relatives(Process& process, const Socket& socket) noexcept {
    return socket.inherited.load(std::memory_order_acquire) && !is_alone(process, socket);
}

void drop_inherited(Process& process, Socket& socket) {
    if (process.arena().release(*socket.block)) {
        socket.block->phase.store(Phase::closed, std::memory_order_release);
        ConnArena::free(*socket.block);
    }
    process.statistics().page().connections_live.fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace smcd
