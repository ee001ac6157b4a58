#include "smcd/core/direction_lock.hpp"

#include <sched.h>

#include <cerrno>
#include <ctime>

#include "smcd/base/raw_syscall.hpp"

namespace smcd {
namespace {

constexpr int kSpinsBeforeYield = 64;
/// Whoever still waits then sleeps in between: sched_yield() lets nobody of a lower priority run, such as the owner.
constexpr int kRoundsBeforeSleep = 320;
constexpr timespec kSleep{0, 50'000};

bool is_alive(std::uint32_t thread) noexcept {
    // Signal 0 reaches any thread of the machine that we may signal; EPERM means that it exists.
    return raw::tkill(static_cast<pid_t>(thread), 0) == 0 || errno == EPERM;
}

}  // namespace

DirectionLock* DirectionGuard::contend(DirectionLock& lock, std::uint32_t self) noexcept {
    const int saved = errno;
    for (int round = 0;; ++round) {
        std::uint32_t owner = lock.owner.load(std::memory_order_relaxed);
        if (owner == 0 || (round >= kRoundsBeforeSleep && !is_alive(owner))) {
            // acquire: pairs with the release of the former owner's guard (sync: direction-lock).
            if (lock.owner.compare_exchange_weak(
                    owner, self, std::memory_order_acquire, std::memory_order_relaxed)) {
                errno = saved;
                return &lock;
            }
            continue;
        }
        if (round < kSpinsBeforeYield) {
            __builtin_ia32_pause();
        } else if (round < kRoundsBeforeSleep) {
            ::sched_yield();
        } else {
            raw::futex_wait(lock.owner, owner, &kSleep);  // nobody wakes us: the owner's way out stays one store
        }
    }
}

}  // namespace smcd
