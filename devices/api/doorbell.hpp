// DoorbellTable: how a waiting set of this process (an epoll set, a thread in poll) is woken by peers. Floor 1.
//
// A doorbell is an eventfd plus a line in a page that peers map read-only. The line holds an epoch: odd while the
// owner sleeps or is about to. A peer that has raised a signal bit looks at the epoch and writes the eventfd only if it
// is odd, and only once per epoch. So a running owner costs its peers no system call.
//
//   owner                                   peer
//   begin_sleep(): epoch -> odd             raise signal bit
//   full fence                              full fence
//   look for signals again                  load epoch; odd and not yet rung -> write eventfd
//   wait on the eventfd
//   end_sleep(): epoch -> even
//
// The page and the set of used doorbells are shared with children of fork(): parent and child draw from the same 64
// indices, so a peer never confuses them. An index whose owner died is reclaimed.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>

#include "smcd/base/mapping.hpp"
#include "smcd/base/result.hpp"
#include "smcd/base/unique_fd.hpp"

namespace smcd::dev {

inline constexpr unsigned kDoorbellCount = 64;

/// One line of the page; written by the owner, read by peers (their mapping is read-only).
struct alignas(64) DoorbellLine {
    std::atomic<std::uint32_t> epoch;     ///< odd: asleep
    std::atomic<std::uint32_t> owner_pid; ///< 0: free. Family-internal, peers ignore it
};
static_assert(sizeof(DoorbellLine) == 64);
inline constexpr std::size_t kDoorbellPageBytes = sizeof(DoorbellLine) * kDoorbellCount;

class DoorbellTable {
public:
    /// Creates the page (a sealed memfd, FUTURE_WRITE after our own mapping). Errors: memfd_create, mmap.
    static Result<std::unique_ptr<DoorbellTable>> create();
    ~DoorbellTable();
    DoorbellTable(const DoorbellTable&) = delete;
    DoorbellTable& operator=(const DoorbellTable&) = delete;

    /// Takes a free doorbell for this process. EAGAIN: all are in use.
    Result<unsigned> acquire();
    void release(unsigned door) noexcept;

    /// The doorbell's eventfd (non-blocking, CLOEXEC, numbered high); valid while acquired.
    [[nodiscard]] int event_fd(unsigned door) const noexcept;
    /// The page's descriptor, to be passed to peers.
    [[nodiscard]] int page_fd() const noexcept { return page_fd_.get(); }

    /// Announces that the owner is about to sleep; the full fence is included. Then look for work once more.
    void begin_sleep(unsigned door) noexcept;
    void end_sleep(unsigned door) noexcept;
    /// Wakes the owner from inside this process (any thread).
    void ring_local(unsigned door) noexcept;
    /// Bit mask of the doorbells of this process; those of relatives excluded.
    [[nodiscard]] std::uint64_t mine() const noexcept { return mine_.load(std::memory_order_relaxed); }

    /// In the child after fork(): the inherited doorbells stay the parent's.
    void after_fork_in_child() noexcept;

private:
    DoorbellTable(UniqueFd page_fd, Mapping page) noexcept;
    [[nodiscard]] DoorbellLine& line(unsigned door) const noexcept;

    UniqueFd page_fd_;
    Mapping page_;
    std::mutex mutex_;
    std::array<UniqueFd, kDoorbellCount> event_fds_;
    std::atomic<std::uint64_t> mine_{0};
};

}  // namespace smcd::dev
