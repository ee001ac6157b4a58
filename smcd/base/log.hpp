// The logger of code that runs inside somebody's program: silent unless SMCD_DEBUG asks, one line
// per call. Floor 0. Async-signal-safe and lock-free: a buffer on the stack, one raw write() to
// stderr, errno kept. Formats may use integers, strings and pointers; floating point is out (it may
// allocate).
#pragma once

#include <atomic>
#include <cstdint>

namespace smcd {

enum class LogLevel : int { off = 0, error = 1, info = 2, debug = 3 };

/// The level in force: SMCD_DEBUG, else its alias SMC_DEBUG, 0..3, read once at the first use;
/// anything else is off.
[[nodiscard]] LogLevel log_level() noexcept;
/// Overrides the environment (command line tools, tests).
void set_log_level(LogLevel level) noexcept;
/// The level that a value of SMCD_DEBUG means; nullptr: not set.
[[nodiscard]] LogLevel parse_log_level(const char* text) noexcept;

[[nodiscard]] inline bool log_enabled(LogLevel level) noexcept {
    return level != LogLevel::off && static_cast<int>(level) <= static_cast<int>(log_level());
}

/// Writes "smcd[pid] text\n" to stderr; longer lines are cut at kLogLineBytes. Writes nothing when
/// stderr is an Internet socket (inetd): a peer would read it. Use the macros, which skip the
/// arguments when the level is off.
[[gnu::format(printf, 1, 2)]] void log_line(const char* format, ...) noexcept;

/// Lets one caller through per kLogIntervalMs, and counts the others.
class LogLimiter {
public:
    constexpr LogLimiter() noexcept = default;
    /// Whether to log now; then `suppressed` is the number of calls refused since the last one let
    /// through.
    [[nodiscard]] bool allow(std::uint64_t now_ns, std::uint32_t& suppressed) noexcept;

private:
    std::atomic<std::uint64_t> next_ns_{0};
    std::atomic<std::uint32_t> suppressed_{0};
};

/// LogLimiter::allow() at the present time.
[[nodiscard]] bool log_allowed_now(LogLimiter& limiter, std::uint32_t& suppressed) noexcept;

} // namespace smcd

/// SMCD_LOG(info, "format %d", value)
#define SMCD_LOG(level, ...)                                                                       \
    do {                                                                                           \
        if (::smcd::log_enabled(::smcd::LogLevel::level)) [[unlikely]] {                           \
            ::smcd::log_line(__VA_ARGS__);                                                         \
        }                                                                                          \
    } while (false)

/// The same, at most once per kLogIntervalMs from this place; format is a literal.
#define SMCD_LOG_LIMITED(level, format, ...)                                                       \
    do {                                                                                           \
        if (::smcd::log_enabled(::smcd::LogLevel::level)) [[unlikely]] {                           \
            static constinit ::smcd::LogLimiter smcd_limiter;                                      \
            std::uint32_t smcd_suppressed = 0;                                                     \
            if (::smcd::log_allowed_now(smcd_limiter, smcd_suppressed)) {                          \
                ::smcd::log_line(format " (%u more suppressed)" __VA_OPT__(, ) __VA_ARGS__,        \
                                 smcd_suppressed);                                                 \
            }                                                                                      \
        }                                                                                          \
    } while (false)
