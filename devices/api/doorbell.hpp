// DoorbellTable: how a waiting set of this process (an epoll set, a thread in poll) is woken by
// peers. Floor 1.
//
// A doorbell is an eventfd plus a line in a page that peers map read-only. The line holds an epoch:
// odd while the owner sleeps or is about to. A peer that has raised a signal bit looks at the epoch
// and writes the eventfd only if it is odd, and only once per epoch. So a running owner costs its
// peers no system call.
//
//   owner                                   peer
//   begin_sleep(): epoch -> odd             raise signal bit
//   full fence                              full fence
//   look for signals again                  load epoch; odd and not yet rung -> write eventfd
//   wait on the eventfd
//   end_sleep(): epoch -> even
//
// The page and the set of used doorbells are shared with children of fork(): parent and child draw
// from the same 64 indices, so a peer never confuses them. An index whose owner died is reclaimed.
// An eventfd is kept when its doorbell is released, and used again, so that peers need it once;
// when a relative had the index in between, the line's generation tells that they need a new one.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>

#include "smcd/base/mapping.hpp"
#include "smcd/base/result.hpp"
#include "smcd/base/unique_fd.hpp"

namespace smcd::dev {

inline constexpr unsigned kDoorbellCount = 64;

/// One line of the page; written by the owner, read by peers (their mapping is read-only).
struct alignas(64) DoorbellLine {
    std::atomic<std::uint32_t> epoch; ///< odd: asleep
    // Of the family alone; peers ignore the rest.
    std::atomic<std::uint32_t> owner_pid; ///< 0: free
    std::atomic<std::uint32_t> owner_ns;  ///< PID namespace in which owner_pid holds; 0: unknown
    std::atomic<std::uint32_t>
        generation; ///< grows when the index gets another eventfd than before
};

static_assert(sizeof(DoorbellLine) == 64);
inline constexpr std::size_t kDoorbellPageBytes = sizeof(DoorbellLine) * kDoorbellCount;

/// A device that keeps the epochs where its own peers see them, beside the page (ivshmem). Called
/// by the sleeper itself; must neither block nor allocate.
class SleepObserver {
public:
    SleepObserver() = default;
    SleepObserver(const SleepObserver&) = delete;
    SleepObserver& operator=(const SleepObserver&) = delete;
    virtual ~SleepObserver() = default;
    /// The doorbell has a new epoch. The full fence and the look for signals follow.
    virtual void on_epoch(unsigned door, std::uint32_t epoch) noexcept = 0;
};

class DoorbellTable {
public:
    static constexpr std::size_t kObserversMax = 8;

    /// Creates the page (a sealed memfd, FUTURE_WRITE after our own mapping). Errors: memfd_create,
    /// mmap.
    static Result<std::unique_ptr<DoorbellTable>> create();
    ~DoorbellTable();
    DoorbellTable(const DoorbellTable&) = delete;
    DoorbellTable& operator=(const DoorbellTable&) = delete;

    /// Takes a free doorbell for this process. Thread: any; lock-free. EAGAIN: all are in use;
    /// EMFILE: no descriptor.
    Result<unsigned> acquire();
    /// Gives back one of ours; its epoch becomes even.
    void release(unsigned door) noexcept;

    /// The doorbell's eventfd (non-blocking, CLOEXEC, numbered high); valid while acquired.
    [[nodiscard]] int event_fd(unsigned door) const noexcept;
    /// Which eventfd of that index is meant: a peer that was given another generation needs the
    /// present one.
    [[nodiscard]] std::uint32_t generation(unsigned door) const noexcept;

    /// The page's descriptor, to be passed to peers.
    [[nodiscard]] int page_fd() const noexcept { return page_fd_.get(); }

    /// Announces that the owner is about to sleep; the full fence is included. Then look for work
    /// once more. Called again without end_sleep() it starts a new epoch, so that peers ring once
    /// more. Thread: one at a time per doorbell.
    void begin_sleep(unsigned door) noexcept;
    void end_sleep(unsigned door) noexcept;
    /// The present epoch; odd: asleep.
    [[nodiscard]] std::uint32_t epoch(unsigned door) const noexcept;
    /// Observers are told of every epoch of the doorbells of this process. False: there are
    /// kObserversMax already. Removing: nobody may be in begin_sleep() or end_sleep().
    bool add_observer(SleepObserver& observer) noexcept;
    void remove_observer(const SleepObserver& observer) noexcept;

    /// Wakes the owner from inside this process (any thread).
    void ring_local(unsigned door) const noexcept;

    /// Bit mask of the doorbells of this process; those of relatives excluded.
    [[nodiscard]] std::uint64_t mine() const noexcept {
        return mine_.load(std::memory_order_relaxed);
    }

    /// In the child after fork(): the inherited doorbells stay the parent's. There is no lock to be
    /// taken before.
    void after_fork_in_child() noexcept;

private:
    DoorbellTable(UniqueFd page_fd, Mapping page) noexcept;
    [[nodiscard]] DoorbellLine& line(unsigned door) const noexcept;
    void tell_observers(unsigned door, std::uint32_t epoch) const noexcept;
    bool claim(unsigned door, std::uint32_t owner_before) noexcept;
    [[nodiscard]] bool owner_is_dead(unsigned door) const noexcept;
    Result<unsigned> equip(unsigned door);

    /// What this process keeps per index; touched by whoever has acquired it, and freed with the
    /// table.
    struct Private {
        std::atomic<int> event_fd{-1};
        std::uint32_t generation = 0; ///< the line's when event_fd was made
    };

    UniqueFd page_fd_;
    Mapping page_;
    std::array<Private, kDoorbellCount> private_;
    std::array<std::atomic<SleepObserver*>, kObserversMax> observers_{};
    std::atomic<std::uint64_t> mine_{0};
    std::atomic<std::uint32_t> pid_{0}; ///< 0: to be asked for, after fork()
    std::atomic<std::uint32_t> pid_ns_{0};
};

} // namespace smcd::dev
