// getrandom() and what to do without it. Floor 0.
#include "smcd/base/random.hpp"

#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "smcd/base/clock.hpp"

namespace smcd {
namespace {

constexpr int kAttemptsMax = 16;

// The finisher of splitmix64: each input bit changes about half of the output bits.
constexpr std::uint64_t mix(std::uint64_t value) noexcept {
    value = (value ^ (value >> 30U)) * 0xBF58476D1CE4E5B9ULL;
    value = (value ^ (value >> 27U)) * 0x94D049BB133111EBULL;
    return value ^ (value >> 31U);
}

// A raw call: getrandom() is a cancellation point, and no caller expects to end here.
template <typename T>
T random_number() noexcept {
    for (int attempt = 0; attempt < kAttemptsMax; ++attempt) {
        T value = 0;
        const long got = ::syscall(SYS_getrandom, &value, sizeof(value), 0U);
        if (got == static_cast<long>(sizeof(value)) && value != 0) {
            return value;
        }
        if (got < 0 && errno != EINTR) {
            break;
        }
    }
    const T weak = static_cast<T>(weak_random_u64());
    return weak == 0 ? T{1} : weak;
}

} // namespace

std::uint64_t weak_random_u64() noexcept {
    static std::atomic<std::uint64_t> counter{0};
    std::uint64_t seed = 0;
    // NOLINTNEXTLINE(performance-no-int-to-ptr): the kernel hands the address over as a number
    if (const auto* start = reinterpret_cast<const unsigned char*>(::getauxval(AT_RANDOM))) {
        std::memcpy(&seed, start, sizeof(seed));
    }
    // Relaxed: only the uniqueness of each value counts, it orders nothing.
    const std::uint64_t turn = counter.fetch_add(1, std::memory_order_relaxed);
    seed = mix(seed + static_cast<std::uint64_t>(::syscall(SYS_getpid)));
    return mix(mix(seed + monotonic_ns()) + turn * 0x9E3779B97F4A7C15ULL);
}

std::uint64_t random_u64() noexcept {
    return random_number<std::uint64_t>();
}

std::uint32_t random_u32() noexcept {
    return random_number<std::uint32_t>();
}

} // namespace smcd
