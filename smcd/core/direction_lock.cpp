#include "smcd/core/direction_lock.hpp"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

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

}  // namespace

DirectionLock* DirectionGuard::contend(DirectionLock& lock, std::uint32_t self) noexcept {
    for (int round = 0;; ++round) {
        std::uint32_t owner = lock.owner.load(std::memory_order_relaxed);
        if (owner == 0 || (round > 0 && round % kYieldsBetweenLivenessChecks == 0 && !is_alive(owner))) {
            // acquire: pairs with the release of the former owner's guard (sync: direction-lock).
            if (lock.owner.compare_exchange_weak(
                    owner, self, std::memory_order_acquire, std::memory_order_relaxed)) {
                return &lock;
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

}  // namespace smcd
