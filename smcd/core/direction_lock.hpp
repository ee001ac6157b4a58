// DirectionGuard: holds one direction of a connection while bytes are copied. Floor 2.
//
// The lock lies in memory that fork() shares, holds no resource, and is never held while user code can run, except when a
// signal handler interrupts the copy. A handler that works on the same direction finds its own thread as the owner and
// proceeds: publication is one compare-and-swap from the cursor that the copy began at, so the interrupted call sees that
// it was overtaken and copies again. The same rule covers a siglongjmp() out of the handler. A lock whose owner died
// (killed relative) is taken over.
#pragma once

#include "smcd/core/conn_block.hpp"

namespace smcd {

class DirectionGuard {
public:
    explicit DirectionGuard(DirectionLock& lock) noexcept;
    ~DirectionGuard();
    DirectionGuard(const DirectionGuard&) = delete;
    DirectionGuard& operator=(const DirectionGuard&) = delete;

    /// Whether our own thread held the lock already: we run in a signal handler inside its critical section.
    [[nodiscard]] bool nested() const noexcept { return lock_ == nullptr; }

private:
    DirectionLock* lock_; ///< nullptr: nested inside our own thread's guard
};

}  // namespace smcd
