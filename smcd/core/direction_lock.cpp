#include "smcd/core/direction_lock.hpp"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "smcd/core/thread_id.hpp"

namespace smcd {
namespace {

constexpr int kSpinsBeforeYield = 64;
constexpr int kYieldsBetweenLivenessChecks = 256;

bool is_alive(std::uint32_t thread) noexcept {
    // Signal 0 reaches any thread of the machine that we may signal; EPERM means that it exists.
    const int saved = errno;
    const bool alive = ::syscall(SYS_tkill, static_cast<int>(thread), 0) == 0 || errno == EPERM;
    errno = saved;
    return alive;
}

/// Waits until the lock was taken by us; slow path, another thread holds it.
void contend(DirectionLock& lock, std::uint32_t self) noexcept {
    for (int round = 0;; ++round) {
        std::uint32_t owner = lock.owner.load(std::memory_order_relaxed);
        if (owner == 0 || (round > 0 && round % kYieldsBetweenLivenessChecks == 0 && !is_alive(owner))) {
            // acquire: pairs with the release of the former owner's guard (sync: direction-lock).
            if (lock.owner.compare_exchange_weak(
                    owner, self, std::memory_order_acquire, std::memory_order_relaxed)) {
                return;
            }
            continue;
        }
        if (round < kSpinsBeforeYield) {
            __builtin_ia32_pause();
        } else {
            ::sched_yield();
        }
    }
}

}  // namespace

DirectionGuard::DirectionGuard(DirectionLock& lock) noexcept : lock_(&lock) {
    const std::uint32_t self = thread_id();
    std::uint32_t expected = 0;
    // acquire: pairs with the release in the destructor (sync: direction-lock).
    if (lock.owner.compare_exchange_strong(
            expected, self, std::memory_order_acquire, std::memory_order_relaxed)) [[likely]] {
        return;
    }
    if (expected == self) {
        lock_ = nullptr;
        return;
    }
    contend(lock, self);
}

DirectionGuard::~DirectionGuard() {
    if (lock_ != nullptr) {
        lock_->owner.store(0, std::memory_order_release);  // sync: direction-lock
    }
}

}  // namespace smcd
