// What a thread that only looks at the time sees: the moments in which it did not run. Floor 4,
// docs/smcu.md "smcu jitter".
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace smcd::jitter {

/// Gaps longer than these are counted; the first is what counts as noise.
inline constexpr std::array<std::uint32_t, 4> kThresholdsUs{1, 5, 20, 100};

/// Ticks of the time stamp counter of x86.
[[nodiscard]] inline std::uint64_t ticks() noexcept {
    return __builtin_ia32_rdtsc();
}

/// Ticks per nanosecond, measured for 50 ms against the monotonic clock.
[[nodiscard]] double ticks_per_ns() noexcept;

struct Noise {
    std::uint64_t looks = 0;
    double duration_ns = 0;
    double shortest_ns = 0; ///< between two looks
    double noise_ns = 0;    ///< all gaps longer than the first threshold
    double longest_ns = 0;
    std::array<std::uint64_t, kThresholdsUs.size()> over{};

    [[nodiscard]] double percent() const noexcept {
        return duration_ns == 0 ? 0 : 100 * noise_ns / duration_ns;
    }
};

/// One subtraction and one branch per look. Thread: one.
class NoiseSampler {
public:
    explicit NoiseSampler(double ticks_per_ns) noexcept;

    void begin(std::uint64_t now) noexcept;

    /// Whether the thread did not run since the last look, as far as the first threshold can tell.
    bool look(std::uint64_t now) noexcept {
        const std::uint64_t gap = now - last_;
        last_ = now;
        ++looks_;
        if (gap > limit_) [[unlikely]] {
            record(gap);
            return true;
        }
        shortest_ = gap < shortest_ ? gap : shortest_;
        return false;
    }

    /// Time that is not looked at: from the last look to now.
    void skip_to(std::uint64_t now) noexcept { last_ = now; }

    [[nodiscard]] Noise result() const noexcept;

private:
    void record(std::uint64_t gap) noexcept;

    double ticks_per_ns_;
    std::uint64_t limit_;
    std::uint64_t first_ = 0;
    std::uint64_t last_ = 0;
    std::uint64_t looks_ = 0;
    std::uint64_t shortest_ = ~std::uint64_t{0};
    std::uint64_t longest_ = 0;
    std::uint64_t noise_ = 0;
    std::array<std::uint64_t, kThresholdsUs.size()> over_{};
};

} // namespace smcd::jitter
