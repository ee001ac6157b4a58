// Relatives: which processes of a family (fork) still live. Floor 2, docs/shared-memory.md
// "Connection records".
//
// Each process of a family has a slot, a bit in ConnBlock::holders, and holds a lock on the byte of
// that number in a memory file without content that all of them inherit. It is a lock of an open
// file description (OFD) that is the process's own: the parent makes description and lock before
// the fork, and closes its copy afterwards. So the kernel drops the lock when the process ends,
// however it does, when it execs, and when it was never born.
//
//   parent                           child                        anybody
//   slot, description, lock
//   fork() ------------------------> closes the parent's          is the byte locked?
//   closes the child's description   ... ends: the lock goes      no: its holds are void
//
// Slots are given out and found ended under a lock on one byte more, so that no bit is cleared that
// has just been given to another process. A relative without a slot (more than kHolderSlots at
// once, no descriptors) is merely counted; its end goes unnoticed, as does a parent's while a child
// that did not come by fork() keeps its descriptors.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

#include "smcd/base/unique_fd.hpp"

namespace smcd {

inline constexpr unsigned kHolderSlots = 48;
/// In ConnBlock::holders: one process without a slot.
inline constexpr std::uint64_t kHolderUnnamed = std::uint64_t{1} << kHolderSlots;
/// Value of ConnBlock::holders while the last holder cleans up: not free yet.
inline constexpr std::uint64_t kBlockEnding = std::uint64_t{1} << 63U;

/// How many processes ConnBlock::holders names.
[[nodiscard]] unsigned count_holders(std::uint64_t holders) noexcept;

/// One process's share in words like ConnBlock::holders.
class Holder {
public:
    /// bit: of its slot, or kHolderUnnamed.
    explicit constexpr Holder(std::uint64_t bit) noexcept : bit_(bit) {}

    [[nodiscard]] std::uint64_t bit() const noexcept { return bit_; }

    [[nodiscard]] std::uint64_t without(std::uint64_t holders) const noexcept {
        return bit_ == kHolderUnnamed ? holders - bit_ : holders & ~bit_;
    }

    void enter(std::atomic<std::uint64_t>& holders) const noexcept {
        bit_ == kHolderUnnamed ? holders.fetch_add(bit_, std::memory_order_acq_rel)
                               : holders.fetch_or(bit_, std::memory_order_acq_rel);
    }

    void leave(std::atomic<std::uint64_t>& holders) const noexcept {
        bit_ == kHolderUnnamed ? holders.fetch_sub(bit_, std::memory_order_acq_rel)
                               : holders.fetch_and(~bit_, std::memory_order_acq_rel);
    }

private:
    std::uint64_t bit_;
};

class Relatives {
public:
    Relatives() = default;
    Relatives(const Relatives&) = delete;
    Relatives& operator=(const Relatives&) = delete;

    [[nodiscard]] Holder self() const noexcept { return self_; }

    /// Between before_fork() and what follows it.
    [[nodiscard]] Holder child() const noexcept { return child_; }

    /// Calls f with those of `bits` whose processes have ended, if any, and keeps their slots from
    /// being given to others until it returns. Some system calls where `bits` has any but ours;
    /// nothing where somebody else does it.
    template <typename F>
    void each_ended(std::uint64_t bits, F&& f) noexcept {
        bits &= ~self_.bit() & (kHolderUnnamed - 1);
        if (bits == 0 || !lock(false)) {
            return;
        }
        if (const std::uint64_t ended = ended_of(bits); ended != 0) {
            f(ended);
        }
        unlock();
    }

    /// shares: the child will hold something of ours; else it begins a family of its own.
    void before_fork(bool shares) noexcept;
    void after_fork_in_parent() noexcept;
    void after_fork_in_child() noexcept;

private:
    bool found_family() noexcept;
    [[nodiscard]] bool lock(bool patient) noexcept;
    void unlock() noexcept;
    [[nodiscard]] std::uint64_t ended_of(std::uint64_t bits) const noexcept;
    bool take_slot() noexcept;

    std::mutex mutex_; ///< the file's lock is one for all threads
    UniqueFd own_;     ///< description of our own; none before the first fork
    UniqueFd childs_;  ///< the child's
    static constexpr std::uint64_t kFirst = 1;

    bool shares_ = false;
    Holder self_{kFirst};
    Holder child_{kHolderUnnamed};
    unsigned next_ =
        1; ///< where the search for a slot begins: round robin, also down the generations
};

} // namespace smcd
