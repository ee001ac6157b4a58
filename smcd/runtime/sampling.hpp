// Sampling: of many events alike, which are worth a system call each. Floor 3.
#pragma once

#include <atomic>
#include <cstdint>

#include "smcd/base/clock.hpp"

namespace smcd {

class Sampling {
public:
    static constexpr std::uint32_t kAllOf = 64;
    static constexpr std::uint32_t kEvery = 16;

    /// How many events this one stands for: the first 64 of a second for themselves, of those behind them every 16th for
    /// 16, the others for none. Thread: any, lock-free; around the turn of a second a few may be counted with the wrong one.
    [[nodiscard]] std::uint32_t weight(std::uint64_t now_ns) noexcept {
        std::uint64_t since = since_ns_.load(std::memory_order_relaxed);
        if (now_ns - since >= kNsPerSecond && since_ns_.compare_exchange_strong(since, now_ns, std::memory_order_relaxed)) {
            seen_.store(0, std::memory_order_relaxed);
        }
        const std::uint32_t number = seen_.fetch_add(1, std::memory_order_relaxed);
        if (number < kAllOf) {
            return 1;
        }
        return (number - kAllOf) % kEvery == kEvery - 1 ? kEvery : 0;
    }

private:
    std::atomic<std::uint64_t> since_ns_{0};
    std::atomic<std::uint32_t> seen_{0};
};

}  // namespace smcd
