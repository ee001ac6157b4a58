// DirectionGuard: holds one direction of a connection while bytes are copied. Floor 2.
//
// The lock lies in memory that fork() shares, holds no resource, and is never held while user code can run, except when a
// signal handler interrupts the copy. A handler that works on the same direction finds its own thread as the owner and
// proceeds: publication is one compare-and-swap from the cursor that the copy began at, so the interrupted call sees that
// it was overtaken and copies again. The same rule covers a siglongjmp() out of the handler. A lock whose owner died
// (killed relative) is taken over.
#pragma once

#include "smcd/core/conn_block.hpp"
#include "smcd/core/thread_id.hpp"

namespace smcd {

class DirectionGuard {
public:
    explicit DirectionGuard(DirectionLock& lock) noexcept : lock_(&lock) {
        const std::uint32_t self = thread_id();
        std::uint32_t expected = 0;
        // acquire: pairs with the release in the destructor (sync: direction-lock).
        if (!lock.owner.compare_exchange_strong(
                expected, self, std::memory_order_acquire, std::memory_order_relaxed)) [[unlikely]] {
            lock_ = expected == self ? nullptr : contend(lock, self);
        }
    }
    ~DirectionGuard() {
        if (lock_ != nullptr) {
            lock_->owner.store(0, std::memory_order_release);  // sync: direction-lock
        }
    }
    DirectionGuard(const DirectionGuard&) = delete;
    DirectionGuard& operator=(const DirectionGuard&) = delete;

    /// Whether our own thread held the lock already: we run in a signal handler inside its critical section.
    [[nodiscard]] bool nested() const noexcept { return lock_ == nullptr; }

private:
    /// Waits until the lock is ours: another thread holds it.
    static DirectionLock* contend(DirectionLock& lock, std::uint32_t self) noexcept;

    DirectionLock* lock_; ///< nullptr: nested inside our own thread's guard
};

}  // namespace smcd
