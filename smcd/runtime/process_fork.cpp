// What fork() and exec() mean to a process: handshakes, locks, what the child must not touch. Floor 3.
#include "smcd/base/clock.hpp"
#include "smcd/core/direction_lock.hpp"
#include "smcd/core/thread_id.hpp"
#include "smcd/runtime/handshake.hpp"
#include "smcd/runtime/inheritance.hpp"
#include "smcd/runtime/lingering.hpp"
#include "smcd/runtime/process.hpp"
#include "smcd/runtime/settle.hpp"
#include "smcd/runtime/sleep_guard.hpp"

namespace smcd {
namespace {

/// How long fork() waits for an answer to a handshake; the answer comes from the peer's progress thread.
constexpr std::uint64_t kForkLimitNs = 5 * kNsPerMs;
/// How long exec() waits for the Proposal of a client that has just connected.
constexpr std::uint64_t kExecLimitNs = 20 * kNsPerMs;
/// How often the ends of relatives are looked for, while connections seem to be shared.
constexpr std::uint64_t kRelativesEveryNs = 10 * kNsPerMs;

/// From here on, calls of other threads on a connection that nobody has touched find it inherited, and with one holder
/// more: the child.
bool leave_untouched(Socket& socket) noexcept {
    if (!is_untouched(socket)) {
        return false;
    }
    const DirectionGuard guard(socket.block->handshake_lock);
    if (guard.nested() || !is_untouched(socket)) {
        return false;
    }
    Holder(kHolderUnnamed).enter(socket.block->holders);
    socket.inherited.store(true, std::memory_order_release);
    return true;
}

}  // namespace

/// Those whose block this process holds. One that nobody holds any more is given to the next (ConnArena).
template <typename F>
void Process::for_each_connection(F&& f) {
    for (const auto& chunk : socket_chunks_) {
        for (Socket& socket : *chunk) {
            if (socket.block != nullptr) {
                f(socket);
            }
        }
    }
}

/// A handshake cannot be shared: its machine, its DMB and its link belong to one process. What is under way is finished
/// within a moment or given up; what has not begun is left to whoever begins it; a server that waits for Confirm takes the
/// connection back when it comes.
void Process::settle_handshakes() {
    for_each_socket([this](Socket& socket) {
        if (socket.inherited.load(std::memory_order_acquire)) {
            return;
        }
        if (leave_untouched(socket)) {
            inherited_.push_back(&socket);
            return;
        }
        const Phase phase = socket.phase();
        if (socket.kind.load(std::memory_order_acquire) == SocketKind::connection &&
            (phase == Phase::handshake || phase == Phase::connecting)) {
            handshake_resolve(*this, socket, Reason::fork_in_handshake, kForkLimitNs);
            if (socket.phase() == Phase::handshake) { // behind Accept: the client may be live by now
                socket.block->flags.fetch_or(kFlagForked, std::memory_order_acq_rel);
            }
        }
    });
}

void Process::before_exec() {
    const std::uint64_t end = monotonic_ns() + kExitLimitNs;
    for_each_socket([&](Socket& socket) {
        const Phase phase = socket.phase();
        const std::uint64_t now = monotonic_ns();
        if (socket.kind.load(std::memory_order_acquire) == SocketKind::connection &&
            Socket::is_ours(phase) && phase != Phase::smc && now < end &&
            !socket.inherited.load(std::memory_order_acquire)) {
            handshake_finish(*this, socket, end - now);
            const bool frame = (socket.block->flags.load(std::memory_order_acquire) & kFlagFrameInbound) != 0;
            settle_await_clc(*this, socket, frame ? end - now : kExecLimitNs);
        }
    });
    const Holder self = arena_.relatives().self();
    for_each_connection([&](Socket& socket) { self.leave(socket.block->holders); });
}

void Process::after_failed_exec() {
    const Holder self = arena_.relatives().self();
    for_each_connection([&](Socket& socket) { self.enter(socket.block->holders); });
}

void Process::forget_ended_relatives() {
    const std::uint64_t now = monotonic_ns();
    std::uint64_t next = next_relatives_ns_.load(std::memory_order_relaxed);
    if (now < next ||
        !next_relatives_ns_.compare_exchange_strong(next, now + kRelativesEveryNs, std::memory_order_relaxed)) {
        return;
    }
    const std::unique_lock guard(sockets_mutex_, std::try_to_lock);  // whoever forks has it, and waits for our caller
    if (!guard.owns_lock()) {
        return;
    }
    std::uint64_t holders = 0;
    for_each_connection([&](Socket& socket) { holders |= socket.block->holders.load(std::memory_order_relaxed); });
    arena_.relatives().each_ended(holders, [this](std::uint64_t ended) {
        for_each_connection([ended](Socket& socket) { socket.block->holders.fetch_and(~ended, std::memory_order_acq_rel); });
    });
}

void Process::before_fork() {
    settle_handshakes();
    lifecycle_mutex_.lock();
    setup_mutex_.lock();
    short_lived_.before_fork();
    discovery_->before_fork();
    progress_->before_fork();
    for (const auto& device : devices_.all()) {
        device->before_fork();
    }
    sockets_mutex_.lock();
    arena_.lock();
    bool shares = false;
    for_each_connection([&](Socket& socket) {
        shares = true;
        note_inode(socket);
    });
    arena_.relatives().before_fork(shares);
    const Holder child = arena_.relatives().child();
    for_each_connection([&](Socket& socket) { child.enter(socket.block->holders); });
    for (Socket* socket : inherited_) {
        Holder(kHolderUnnamed).leave(socket->block->holders);  // counted twice
    }
}

void Process::mark_inherited() {
    for (Socket* socket : inherited_) {
        if (PhaseObserver* observer = observer_.load(std::memory_order_acquire); observer != nullptr) {
            observer->on_inherited(*socket);
        }
    }
    inherited_.clear();
}

void Process::after_fork_in_parent() {
    arena_.relatives().after_fork_in_parent();
    arena_.unlock();
    sockets_mutex_.unlock();
    mark_inherited();
    for (const auto& device : devices_.all()) {
        device->after_fork_in_parent();
    }
    progress_->after_fork_in_parent();
    discovery_->after_fork(false);
    short_lived_.after_fork();
    setup_mutex_.unlock();
    lifecycle_mutex_.unlock();
}

/// Threads that slept in calls are not in the child, nor is the progress thread with its watches.
void Process::forget_threads() {
    std::vector<Socket*> held;
    for_each_socket([&](Socket& socket) {
        socket.held_up.looks.store(0, std::memory_order_relaxed);
        if (has_sleepers(socket)) {
            held.push_back(&socket);
        }
    });
    for (Socket* socket : held) {
        leave_lingering_to_parent(*socket);
        forget_other_sleepers(*this, *socket);
    }
}

void Process::after_fork_in_child() {
    reset_thread_id();
    arena_.relatives().after_fork_in_child();
    arena_.after_fork_in_child();
    arena_.unlock();
    sockets_mutex_.unlock();
    mark_inherited();
    statistics_.after_fork_in_child();
    if (doorbells_ != nullptr) {
        doorbells_->after_fork_in_child();
    }
    for (const auto& device : devices_.all()) {
        device->after_fork_in_child();
    }
    progress_->after_fork_in_child();
    discovery_->after_fork(true);
    short_lived_.after_fork();
    setup_mutex_.unlock();
    lifecycle_mutex_.unlock();
    exited_.store(false);
    forget_threads();
}

}  // namespace smcd
