// SpinPolicy: how long a waiter polls before it sleeps. Floor 2, docs/architecture.md "waiting and waking".
//
// Spinning as long as a sleep costs is at most twice as dear as knowing the future. The budget follows the gaps that were
// observed; it falls to zero (with a rare probe) where spinning does not pay, and at once when the thread was preempted
// while it spun, which shows that CPUs are scarce. Near misses in a row show the same: what comes as soon as the waiter
// sleeps may have waited for its CPU. Limits that say `always` (profile isolated) leave all that out: the
// waiter polls for max_ns whatever was seen before, and looks at the clock only after kRound polls, so that a wait that
// is over sooner makes no call at all.
#pragma once

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "smcd/base/clock.hpp"
#include "smcd/base/relaxed.hpp"

namespace smcd {

/// No deadline.
inline constexpr std::uint64_t kForever = 0;

/// How a profile polls.
struct SpinLimits {
    std::uint32_t max_ns = 30'000;
    bool always = false; ///< always max_ns, not adapted to what was seen
};
/// Those of the process; set once at start-up.
inline SpinLimits& spin_limits() noexcept {
    static constinit SpinLimits limits;
    return limits;
}

inline void cpu_relax() noexcept {
    __builtin_ia32_pause();
}

class SpinPolicy {
public:
    enum class Outcome { hit, miss, skipped };

    /// Limits of this waiter alone; they must live as long. nullptr: the process's.
    void set_limits(const SpinLimits* limits) noexcept { own_limits_.store(limits, std::memory_order_relaxed); }

    /// For another connection.
    void reset() noexcept {
        set_limits(nullptr);
        budget_ns_ = kFirstBudgetNs;
        waits_ = 0;
        mean_gap_ns_ = kFirstGapNs;
        near_misses_ = 0;
        probe_every_ = kProbeEvery;
    }

    /// Polls `ready` within the budget, and not beyond the deadline (monotonic, or kForever). peer_cpu: where the other
    /// side last ran, plus 1 (same CPU: spinning starves it); 0: unknown.
    template <typename Ready>
    Outcome spin(std::uint32_t peer_cpu, std::uint64_t deadline_ns, Ready&& ready) noexcept {
        if (limits().always) {
            return peer_cpu == own_cpu() ? Outcome::skipped : spin_always(deadline_ns, ready);
        }
        const std::uint32_t budget = next_budget(peer_cpu);
        if (budget == 0) {
            return Outcome::skipped;
        }
        const std::uint64_t start = monotonic_ns();
        const std::uint64_t end = end_of(start, budget, deadline_ns);
        std::uint64_t last = start;
        for (;;) {
            for (int i = 0; i < 4; ++i) {
                if (ready()) {
                    on_hit(static_cast<std::uint32_t>(monotonic_ns() - start));
                    return Outcome::hit;
                }
                cpu_relax();
            }
            const std::uint64_t now = monotonic_ns();
            if (now - last > kPreemptedNs) {
                missed_ = true;
                budget_ns_ = 0;
                return Outcome::miss;
            }
            if (now > end) {
                on_miss();
                return Outcome::miss;
            }
            last = now;
        }
    }

    /// Whether on_slept() makes any difference.
    [[nodiscard]] bool tells_time() const noexcept { return !limits().always; }

    /// After a sleep: how long the whole wait took. A near miss makes the next budget larger, unless it is one of many.
    void on_slept(std::uint64_t waited_ns) noexcept {
        const std::uint32_t limit = limits().max_ns;
        if (limits().always) {
            return;
        }
        if (waited_ns >= limit) {
            near_misses_ = std::min<std::uint32_t>(near_misses_, kNearMissesMax / 2);  // an idle while: things may have changed
            return;
        }
        if (missed_ && ++near_misses_ >= kNearMissesMax) {
            near_misses_ = kNearMissesMax;
            probe_every_ = std::min(probe_every_ * 2, kProbeEveryMax);
            budget_ns_ = 0;
        } else if (near_misses_ < kNearMissesMax) {
            budget_ns_ = std::min<std::uint32_t>(limit, static_cast<std::uint32_t>(waited_ns) * 2);
        }
    }

private:
    static constexpr std::uint32_t kPreemptedNs = 100'000;
    static constexpr std::uint32_t kFloorNs = 3'000;
    static constexpr std::uint32_t kProbeEvery = 32; ///< waits; doubles while near misses go on
    static constexpr std::uint32_t kProbeEveryMax = 1024;
    static constexpr std::uint32_t kNearMissesMax = 4;
    static constexpr std::uint32_t kProbeNs = 10'000;
    static constexpr std::uint32_t kFirstBudgetNs = 10'000;
    static constexpr std::int64_t kFirstGapNs = 1'000;
    static constexpr int kRound = 1024; ///< polls between two looks at the clock: some 20 us

    [[nodiscard]] const SpinLimits& limits() const noexcept {
        const SpinLimits* own = own_limits_.load(std::memory_order_relaxed);
        return own == nullptr ? spin_limits() : *own;
    }

    static std::uint32_t own_cpu() noexcept { return static_cast<std::uint32_t>(::sched_getcpu()) + 1; }

    static std::uint64_t end_of(std::uint64_t start, std::uint32_t budget, std::uint64_t deadline_ns) noexcept {
        return deadline_ns == kForever ? start + budget : std::min(start + budget, deadline_ns);
    }

    template <typename Ready>
    Outcome spin_always(std::uint64_t deadline_ns, Ready& ready) const noexcept {
        for (std::uint64_t end = 0;;) {
            for (int i = 0; i < kRound; ++i) {
                if (ready()) {
                    return Outcome::hit;
                }
                cpu_relax();
            }
            const std::uint64_t now = monotonic_ns();
            end = end == 0 ? end_of(now, limits().max_ns, deadline_ns) : end;
            if (now >= end) {
                return Outcome::miss;
            }
        }
    }

    std::uint32_t next_budget(std::uint32_t peer_cpu) noexcept {
        const std::uint32_t limit = limits().max_ns;
        missed_ = false;
        if (limit == 0 || peer_cpu == own_cpu()) {
            return 0;
        }
        if (const std::uint32_t budget = budget_ns_; budget != 0) {
            return budget;
        }
        return ++waits_ % probe_every_ == 0 ? std::min(kProbeNs, limit) : 0;
    }

    void on_hit(std::uint32_t gap_ns) noexcept {
        mean_gap_ns_ += (gap_ns - mean_gap_ns_) / 8;
        const auto wanted = static_cast<std::uint32_t>(std::max<std::int64_t>(mean_gap_ns_, 0)) * 4;
        budget_ns_ = std::clamp(wanted + kFloorNs, kFloorNs, std::max(limits().max_ns, kFloorNs));
        near_misses_ = 0;
        probe_every_ = kProbeEvery;
    }

    void on_miss() noexcept {
        missed_ = true;
        budget_ns_ /= 2;
        if (budget_ns_ < kFloorNs) {
            budget_ns_ = 0;
        }
    }

    std::atomic<const SpinLimits*> own_limits_{nullptr};
    // Of all the threads that wait here.
    Relaxed<std::uint32_t> budget_ns_ = kFirstBudgetNs;
    Relaxed<std::uint32_t> waits_ = 0;
    Relaxed<std::uint32_t> near_misses_ = 0; ///< since the last hit
    Relaxed<std::uint32_t> probe_every_ = kProbeEvery;
    Relaxed<bool> missed_ = false; ///< in this wait
    Relaxed<std::int64_t> mean_gap_ns_ = kFirstGapNs;
};

}  // namespace smcd
