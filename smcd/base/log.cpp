// One line to stderr by raw system calls. Floor 0.
#include "smcd/base/log.hpp"

#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>

#include "smcd/base/clock.hpp"
#include "smcd/base/limits.hpp"
#include "smcd/base/raw_syscall.hpp"

namespace smcd {
namespace {

constexpr int kLevelUnknown = -1;
// NOLINTNEXTLINE(cppcoreguidelines-avoid-non-const-global-variables): a signal handler may log
constinit std::atomic<int> current_level{kLevelUnknown};

LogLevel level_from_environment() noexcept {
    const char* text = ::secure_getenv("SMCD_DEBUG");
    return parse_log_level(text != nullptr ? text : ::secure_getenv("SMC_DEBUG"));
}

// A daemon's stderr may be a TCP connection, by inetd or by chance after close(2).
bool stderr_is_internet_socket() noexcept {
    int domain = 0;
    socklen_t size = sizeof(domain);
    return raw::getsockopt(STDERR_FILENO, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 &&
           (domain == AF_INET || domain == AF_INET6);
}

// snprintf's answer as the number of characters that really stand in the buffer.
std::size_t written(int answer, std::size_t room) noexcept {
    if (answer < 0 || room == 0) {
        return 0;
    }
    return std::min(static_cast<std::size_t>(answer), room - 1);
}

} // namespace

LogLevel parse_log_level(const char* text) noexcept {
    if (text == nullptr || text[0] < '0' || text[0] > '3' || text[1] != '\0') {
        return LogLevel::off;
    }
    return static_cast<LogLevel>(text[0] - '0');
}

LogLevel log_level() noexcept {
    // Relaxed: the level guards no other data, and two first readers find the same value.
    int level = current_level.load(std::memory_order_relaxed);
    if (level == kLevelUnknown) {
        level = static_cast<int>(level_from_environment());
        current_level.store(level, std::memory_order_relaxed);
    }
    return static_cast<LogLevel>(level);
}

void set_log_level(LogLevel level) noexcept {
    current_level.store(static_cast<int>(level), std::memory_order_relaxed);
}

// NOLINTNEXTLINE(cert-dcl50-cpp): printf-like on purpose, the compiler checks the format
void log_line(const char* format, ...) noexcept {
    const int saved_errno = errno;
    if (!stderr_is_internet_socket()) {
        std::array<char, kLogLineBytes> text{};
        const long pid = ::syscall(SYS_getpid);
        std::size_t size =
            written(std::snprintf(text.data(), text.size(), "smcd[%ld] ", pid), text.size());
        va_list arguments;
        va_start(arguments, format);
        const std::size_t room = text.size() - size;
        // NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): va_start stands two lines above
        size += written(std::vsnprintf(text.data() + size, room, format, arguments), room);
        va_end(arguments);
        text[size++] = '\n';
        ::syscall(SYS_write, STDERR_FILENO, text.data(), size);
    }
    errno = saved_errno;
}

bool LogLimiter::allow(std::uint64_t now_ns, std::uint32_t& suppressed) noexcept {
    // Relaxed throughout: a lost or doubled line is harmless, no other data hangs on it.
    std::uint64_t next = next_ns_.load(std::memory_order_relaxed);
    if (now_ns < next || !next_ns_.compare_exchange_strong(
                             next, now_ns + kLogIntervalMs * kNsPerMs, std::memory_order_relaxed)) {
        suppressed_.fetch_add(1, std::memory_order_relaxed);
        return false;
    }
    suppressed = suppressed_.exchange(0, std::memory_order_relaxed);
    return true;
}

bool log_allowed_now(LogLimiter& limiter, std::uint32_t& suppressed) noexcept {
    return limiter.allow(monotonic_ns(), suppressed);
}

} // namespace smcd
