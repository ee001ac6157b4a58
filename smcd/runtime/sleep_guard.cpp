#include "smcd/runtime/sleep_guard.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <mutex>

#include "smcd/base/high_fd.hpp"
#include "smcd/base/raw_syscall.hpp"
#include "smcd/core/direction_lock.hpp"
#include "smcd/core/waiting.hpp"
#include "smcd/runtime/process.hpp"

namespace smcd {
namespace {

// Socket::sleepers: calls in the low bits, and what has become of the descriptor.
constexpr std::uint32_t kEndsLast = 1U << 31; ///< closed; the last sleeper ends the connection
constexpr std::uint32_t kEnded = 1U << 30;    ///< somebody ends it or has ended it
constexpr std::uint32_t kCount = kEnded - 1;

struct Sleep {
    Socket* socket = nullptr;
    const std::atomic<std::uint64_t>* mark = nullptr; ///< in the guard, on the stack
};

/// Innermost last: more than one where a signal handler sleeps on top of a sleeper.
struct OwnSleeps {
    std::array<Sleep, 4> sleeps;
    unsigned count = 0;
    bool listed = false; ///< drop_all() runs when the thread exits
};
constinit thread_local OwnSleeps own;

std::uint64_t mark_of(const std::atomic<std::uint64_t>* place) noexcept {
    return reinterpret_cast<std::uintptr_t>(place) ^ 0x5eed'5a1e'c0de'f00dU;
}

bool on_alternate_stack() noexcept {
    stack_t stack{};
    return ::sigaltstack(nullptr, &stack) == 0 && (stack.ss_flags & SS_ONSTACK) != 0;
}

/// A thread that is cancelled in its sleep leaves no other way.
void drop_all(void* process) noexcept {
    while (own.count > 0) {
        let_go(*static_cast<Process*>(process), *own.sleeps[--own.count].socket);
    }
    own.listed = false;
}

void drop_at_thread_exit(Process& process) noexcept {
    static const struct Key {
        Key() noexcept : made(::pthread_key_create(&key, &drop_all) == 0) {}
        pthread_key_t key{};
        bool made;
    } at_exit;
    if (!own.listed && at_exit.made) {
        own.listed = ::pthread_setspecific(at_exit.key, &process) == 0;
    }
}

}  // namespace

bool keep_open(Process& process, Socket& socket) noexcept {
    if (socket.kept.valid()) {
        return true;
    }
    auto kept = lift_fd(UniqueFd(raw::fcntl(socket.fd, F_DUPFD_CLOEXEC, 0)));
    if (!kept) {
        return false;
    }
    // A step of the handshake that has seen the old number has ended when this returns, and the number is closed.
    const std::lock_guard lifecycle(process.lifecycle_mutex());
    const DirectionGuard handshake(socket.live_block().handshake_lock);
    process.progress().unwatch(socket);
    socket.kept = *std::move(kept);
    socket.fd = socket.kept.get();
    process.progress().ensure_watched(socket);
    return true;
}

bool hold_open(Socket& socket) noexcept {
    std::uint32_t seen = socket.sleepers.load(std::memory_order_relaxed);
    do {
        if ((seen & (kEndsLast | kEnded)) != 0) {
            return false;
        }
    } while (!socket.sleepers.compare_exchange_weak(seen, seen + 1, std::memory_order_acq_rel));
    return true;
}

void let_go(Process& process, Socket& socket) noexcept {
    std::uint32_t seen = socket.sleepers.load(std::memory_order_relaxed);
    std::uint32_t next = 0;
    do {
        next = seen == (kEndsLast | 1U) ? kEnded : seen - 1;
    } while (!socket.sleepers.compare_exchange_weak(seen, next, std::memory_order_acq_rel));
    if (next == kEnded) {
        process.end_socket(socket);
    }
}

bool SleepGuard::enter(Process& process, Socket& socket) noexcept {
    if (socket_ != nullptr) {
        return true;
    }
    drop_abandoned_sleeps(process);
    if (own.count == own.sleeps.size()) {
        return true;  // handlers inside handlers: unheld
    }
    if (!hold_open(socket)) {
        return false;
    }
    drop_at_thread_exit(process);
    socket_ = &socket;
    mark_.store(mark_of(&mark_), std::memory_order_relaxed);
    own.sleeps[own.count++] = {&socket, &mark_};
    return true;
}

void SleepGuard::end_hold(Process& process) noexcept {
    mark_.store(0, std::memory_order_relaxed);
    if (own.count > 0 && own.sleeps[own.count - 1].mark == &mark_) {
        --own.count;
    }
    let_go(process, *socket_);
    socket_ = nullptr;
}

bool SleepGuard::descriptor_gone() const noexcept {
    return socket_ != nullptr && (socket_->sleepers.load(std::memory_order_acquire) & kEndsLast) != 0 &&
           socket_->kept.valid();
}

void drop_abandoned_sleeps(Process& process) noexcept {
    if (own.count == 0 || on_alternate_stack()) {
        return;
    }
    // Below the stack pointer, or overwritten: no frame in use. A handler's frames lie below the sleeper that it interrupted.
    const void* const here = __builtin_frame_address(0);
    while (own.count > 0) {
        const Sleep& last = own.sleeps[own.count - 1];
        if (static_cast<const void*>(last.mark) > here &&
            last.mark->load(std::memory_order_relaxed) == mark_of(last.mark)) {
            return;
        }
        Socket* const socket = last.socket;
        --own.count;
        let_go(process, *socket);
    }
}

namespace {

/// The sleepers go on behind a descriptor of ours, and those that are about to fall asleep do not.
void part_from_number(Process& process, Socket& socket, NumberGone how) noexcept {
    static_cast<void>(keep_open(process, socket));
    socket.number_gone.store(how, std::memory_order_release);
    if (socket.accelerated()) {
        stop_falling_asleep(*socket.channel.own_bells);
    } else if (socket.block != nullptr) {
        socket.block->local.sequence.fetch_add(1, std::memory_order_seq_cst); // the same in wait_for_phase()
    }
}

}  // namespace

bool may_end_now(Process& process, Socket& socket, NumberGone how) noexcept {
    drop_abandoned_sleeps(process);
    bool parted = false;
    std::uint32_t seen = socket.sleepers.load(std::memory_order_acquire);
    for (;;) {
        // In front of the exchange: behind it the last of them may end the connection at any moment. One that comes in between
        // makes the exchange fail: it would go on with a number that is another file's.
        if ((seen & kCount) != 0 && !parted) {
            part_from_number(process, socket, how);
            parted = true;
            seen = socket.sleepers.load(std::memory_order_acquire);
        }
        const std::uint32_t next = (seen & kCount) == 0 ? kEnded : seen | kEndsLast;
        if (socket.sleepers.compare_exchange_weak(seen, next, std::memory_order_acq_rel)) {
            return next == kEnded;
        }
    }
}

bool has_sleepers(const Socket& socket) noexcept {
    return (socket.sleepers.load(std::memory_order_acquire) & kCount) != 0;
}

void forget_other_sleepers(Process& process, Socket& socket) noexcept {
    const auto mine = static_cast<std::uint32_t>(
        std::count_if(own.sleeps.begin(), own.sleeps.begin() + own.count, [&](const Sleep& sleep) {
            return sleep.socket == &socket;
        }));
    const std::uint32_t seen = socket.sleepers.load(std::memory_order_relaxed);
    socket.sleepers.store((seen & ~kCount) | mine, std::memory_order_relaxed);
    if ((seen & kEndsLast) != 0 && mine == 0) {
        socket.sleepers.store(kEnded, std::memory_order_relaxed);
        process.end_socket(socket);
    }
}

}  // namespace smcd
