// What the kernel counts for a CPU and for a thread. Floor 4, docs/smcu.md "smcu jitter".
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "smcd/base/unique_fd.hpp"

namespace smcd::jitter {

/// Of one CPU since it was started; two of them are subtracted.
struct CpuCounters {
    std::map<std::string, std::uint64_t> interrupts; ///< by their name in /proc/interrupts
    std::uint64_t steal_ticks = 0;                   ///< time that the hypervisor gave to others
    std::uint64_t frequency_khz = 0;                 ///< now; 0: not told
};

[[nodiscard]] CpuCounters read_cpu(int cpu);
/// What came in between; interrupts that did not are left out. The frequency is how far it moved.
[[nodiscard]] CpuCounters since(const CpuCounters& before, const CpuCounters& after);

/// Of the calling thread.
struct ThreadCounters {
    std::uint64_t minor_faults = 0;
    std::uint64_t major_faults = 0;
    std::uint64_t voluntary_switches = 0;
    std::uint64_t involuntary_switches = 0;
    std::uint64_t migrations = 0;
    std::uint64_t system_calls = 0;
    bool migrations_known = false;
    bool system_calls_known = false; ///< the kernel lets us count them (perf)
};

/// Counts from its creation on, for the thread that made it.
class ThreadWatch {
public:
    ThreadWatch();
    [[nodiscard]] ThreadCounters read() const;

private:
    [[nodiscard]] ThreadCounters absolute() const;

    UniqueFd calls_; ///< perf events
    UniqueFd migrations_;
    ThreadCounters before_;
};

/// VmLck of the process, in KiB.
[[nodiscard]] std::uint64_t locked_kib();

} // namespace smcd::jitter
