// Monotonic time in nanoseconds. Floor 0. Nothing in the tree decides by any other clock.
#pragma once

#include <ctime>

#include <cstdint>

namespace smcd {

inline constexpr std::uint64_t kNsPerMs = 1'000'000;
inline constexpr std::uint64_t kNsPerSecond = 1'000'000'000;

/// Nanoseconds since an arbitrary start; async-signal-safe, no system call (vDSO).
[[nodiscard]] inline std::uint64_t monotonic_ns() noexcept {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * kNsPerSecond +
           static_cast<std::uint64_t>(now.tv_nsec);
}

/// The same clock as of its last tick, some milliseconds ago: for what counts in hundreds of them and happens with every
/// connection.
[[nodiscard]] inline std::uint64_t coarse_ns() noexcept {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * kNsPerSecond +
           static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace smcd
