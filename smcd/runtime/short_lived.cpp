#include "smcd/runtime/short_lived.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "smcd/base/clock.hpp"

namespace smcd {
namespace {

/// A burst: so many short connections in a row within that time.
constexpr std::uint32_t kBurstCount = 64;
constexpr std::uint64_t kBurstNs = kNsPerSecond;
constexpr std::uint64_t kFirstPauseNs = 200 * kNsPerMs;
constexpr std::uint64_t kLongestPauseNs = 5 * kNsPerSecond;
/// What pays: about a millisecond of TCP's work saved, or a connection that lasts.
constexpr std::uint64_t kWorthBytes = 256 * 1024;
constexpr std::uint64_t kWorthCalls = 128;
constexpr std::uint64_t kWorthNs = kNsPerSecond;

}  // namespace

bool was_worth_it(std::uint64_t bytes, std::uint64_t calls, std::uint64_t lived_ns) noexcept {
    return bytes >= kWorthBytes || calls >= kWorthCalls || lived_ns >= kWorthNs;
}

ShortLived::Entry& ShortLived::entry_of(const TcpAddress& to) noexcept {
    std::uint64_t halves[2];
    std::memcpy(halves, to.address_be, sizeof(halves));
    const std::uint64_t key = halves[0] ^ std::rotl(halves[1], 29) ^ (std::uint64_t{to.port_be} << 40U);
    Entry& entry = entries_[(key * 0x9E3779B97F4A7C15U >> 32U) % entries_.size()];
    if (!(entry.to == to)) {
        entry = Entry{};
        entry.to = to;
    }
    return entry;
}

bool ShortLived::skip(const TcpAddress& to, std::uint64_t now_ns) {
    const std::lock_guard guard(mutex_);
    Entry& entry = entry_of(to);
    if (entry.pause_ns == 0) {
        return false;
    }
    if (now_ns < entry.paused_until_ns) {
        return true;
    }
    // One is tried; the others wait for how it ends.
    entry.paused_until_ns = now_ns + entry.pause_ns;
    return false;
}

void ShortLived::on_end(const TcpAddress& to, bool paid, std::uint64_t now_ns) {
    const std::lock_guard guard(mutex_);
    Entry& entry = entry_of(to);
    if (paid) {
        entry.shorts = 0;
        entry.pause_ns = 0;
        return;
    }
    if (entry.pause_ns != 0) {
        entry.pause_ns = std::min(entry.pause_ns * 2, kLongestPauseNs);
        entry.paused_until_ns = now_ns + entry.pause_ns;
        return;
    }
    if (entry.shorts == 0 || now_ns - entry.burst_since_ns > kBurstNs) {
        entry.shorts = 0;
        entry.burst_since_ns = now_ns;
    }
    if (++entry.shorts >= kBurstCount) {
        entry.pause_ns = kFirstPauseNs;
        entry.paused_until_ns = now_ns + kFirstPauseNs;
    }
}

}  // namespace smcd
