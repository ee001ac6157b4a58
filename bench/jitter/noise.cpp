#include "bench/jitter/noise.hpp"

#include <algorithm>

#include "smcd/base/clock.hpp"

namespace smcd::jitter {

double ticks_per_ns() noexcept {
    constexpr std::uint64_t kLongNs = 50 * kNsPerMs;
    const std::uint64_t began_ns = monotonic_ns();
    const std::uint64_t began = ticks();
    std::uint64_t now_ns = began_ns;
    while (now_ns - began_ns < kLongNs) {
        now_ns = monotonic_ns();
    }
    return static_cast<double>(ticks() - began) / static_cast<double>(now_ns - began_ns);
}

NoiseSampler::NoiseSampler(double ticks_per_ns) noexcept
    : ticks_per_ns_(ticks_per_ns),
      limit_(static_cast<std::uint64_t>(ticks_per_ns * kThresholdsUs.front() * 1000)) {}

void NoiseSampler::begin(std::uint64_t now) noexcept {
    first_ = last_ = now;
}

void NoiseSampler::record(std::uint64_t gap) noexcept {
    noise_ += gap;
    longest_ = std::max(longest_, gap);
    const double us = static_cast<double>(gap) / ticks_per_ns_ / 1000;
    for (std::size_t i = 0; i < kThresholdsUs.size(); ++i) {
        over_[i] += us > kThresholdsUs[i] ? 1 : 0;
    }
}

Noise NoiseSampler::result() const noexcept {
    const auto ns = [this](std::uint64_t count) {
        return static_cast<double>(count) / ticks_per_ns_;
    };
    return {looks_,
            ns(last_ - first_),
            looks_ == 0 ? 0 : ns(std::min(shortest_, last_ - first_)),
            ns(noise_),
            ns(longest_),
            over_};
}

} // namespace smcd::jitter
