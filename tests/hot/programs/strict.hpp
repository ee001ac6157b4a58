// What the calling thread may ask of the kernel from now on, and what it has cost so far.
#pragma once

#include <cstdint>

namespace smcd::hot {

enum class Strict {
    none,
    wakes, ///< futex, and writes of 8 bytes (eventfd)
    all,   ///< nothing
};

/// From now on any other system call of this thread kills the process (SIGSYS), but for finish().
/// false: seccomp is not to be had here.
[[nodiscard]] bool forbid(Strict strict);

struct Cost {
    long minor_faults;
    long major_faults;
    long voluntary_switches;
    long involuntary_switches;
    std::uint64_t allocations; ///< calls of malloc() and its relatives, by this thread
};

[[nodiscard]] Cost cost_so_far();

/// Prints the difference and ends the process with status 0; the one way out behind forbid().
[[noreturn]] void finish(const Cost& before);

/// A call that forbid() forbids.
void stray_call();

} // namespace smcd::hot
