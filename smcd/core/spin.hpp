// SpinPolicy: how long a waiter polls before it sleeps. Floor 2, docs/architecture.md "waiting and waking".
//
// Spinning as long as a sleep costs is at most twice as dear as knowing the future. The budget follows the gaps that were
// observed; it falls to zero (with a rare probe) where spinning does not pay, and at once when the thread was preempted
// while it spun, which shows that CPUs are scarce.
#pragma once

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "smcd/base/clock.hpp"

namespace smcd {

/// Profile of the process; set once at start-up.
struct SpinLimits {
    std::uint32_t max_ns = 30'000;
    bool always = false; ///< `isolated`: never sleep
};
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

    /// Polls `ready` within the budget. peer_cpu: where the other side last ran (same CPU: spinning starves it).
    template <typename Ready>
    Outcome spin(std::uint32_t peer_cpu, Ready&& ready) noexcept {
        const std::uint32_t budget = next_budget(peer_cpu);
        if (budget == 0) {
            return Outcome::skipped;
        }
        const std::uint64_t start = monotonic_ns();
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
                budget_ns_ = 0;
                return Outcome::miss;
            }
            if (now - start > budget) {
                on_miss();
                return Outcome::miss;
            }
            last = now;
        }
    }

    /// After a sleep: how long the whole wait took. A near miss makes the next budget larger.
    void on_slept(std::uint64_t waited_ns) noexcept {
        const std::uint32_t limit = spin_limits().max_ns;
        if (waited_ns < limit) {
            budget_ns_ = std::min<std::uint32_t>(limit, static_cast<std::uint32_t>(waited_ns) * 2);
        }
    }

private:
    static constexpr std::uint32_t kPreemptedNs = 100'000;
    static constexpr std::uint32_t kFloorNs = 3'000;
    static constexpr std::uint32_t kProbeEvery = 32;
    static constexpr std::uint32_t kProbeNs = 10'000;

    std::uint32_t next_budget(std::uint32_t peer_cpu) noexcept {
        const std::uint32_t limit = spin_limits().max_ns;
        if (limit == 0 || peer_cpu == static_cast<std::uint32_t>(::sched_getcpu()) + 1) {
            return 0;
        }
        if (budget_ns_ == 0) {
            return ++waits_ % kProbeEvery == 0 ? std::min(kProbeNs, limit) : 0;
        }
        return budget_ns_;
    }

    void on_hit(std::uint32_t gap_ns) noexcept {
        mean_gap_ns_ += (gap_ns - mean_gap_ns_) / 8;
        const auto wanted = static_cast<std::uint32_t>(std::max<std::int64_t>(mean_gap_ns_, 0)) * 4;
        budget_ns_ = std::clamp(wanted + kFloorNs, kFloorNs, spin_limits().max_ns);
    }

    void on_miss() noexcept {
        budget_ns_ /= 2;
        if (budget_ns_ < kFloorNs) {
            budget_ns_ = 0;
        }
    }

    std::uint32_t budget_ns_ = 10'000;
    std::uint32_t waits_ = 0;
    std::int64_t mean_gap_ns_ = 1'000;
};

}  // namespace smcd
