// Which descriptors of the process are ours: a program that closes "all the rest" must not close them. Floor 0.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace smcd {

namespace detail {
inline constexpr unsigned kHiddenNumbers = 65536;
/// One bit a number; higher numbers are not protected.
inline constinit std::array<std::atomic<std::uint64_t>, kHiddenNumbers / 64> hidden_fds{};
}  // namespace detail

/// Thread: any. Async-signal-safe.
[[nodiscard]] inline bool is_hidden_fd(int fd) noexcept {
    const auto number = static_cast<unsigned>(fd);
    return number < detail::kHiddenNumbers &&
           (detail::hidden_fds[number / 64].load(std::memory_order_relaxed) >> number % 64 & 1U) != 0;
}

inline void hide_fd(int fd) noexcept {
    if (const auto number = static_cast<unsigned>(fd); number < detail::kHiddenNumbers) {
        detail::hidden_fds[number / 64].fetch_or(std::uint64_t{1} << number % 64, std::memory_order_relaxed);
    }
}

inline void unhide_fd(int fd) noexcept {
    if (is_hidden_fd(fd)) {
        const auto number = static_cast<unsigned>(fd);
        detail::hidden_fds[number / 64].fetch_and(~(std::uint64_t{1} << number % 64), std::memory_order_relaxed);
    }
}

/// The first hidden number in [first, last], or -1.
[[nodiscard]] inline int next_hidden_fd(unsigned first, unsigned last) noexcept {
    for (unsigned fd = first; fd <= last && fd < detail::kHiddenNumbers; ++fd) {
        if (fd % 64 == 0 && detail::hidden_fds[fd / 64].load(std::memory_order_relaxed) == 0) {
            fd += 63;
        } else if (is_hidden_fd(static_cast<int>(fd))) {
            return static_cast<int>(fd);
        }
    }
    return -1;
}

}  // namespace smcd
