// The two phases of `smcu jitter`: the machine alone, then a ping-pong on the same CPUs. Floor 4,
// docs/smcu.md "smcu jitter".
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "bench/jitter/counters.hpp"
#include "bench/jitter/noise.hpp"
#include "bench/measure/histogram.hpp"

namespace smcd::jitter {

struct Plan {
    std::array<int, 2> cpus{0, 1}; ///< of server and client
    double seconds = 5;            ///< of each phase
    std::uint32_t message_bytes = 64;
    std::string profile = "isolated";
};

/// What one CPU did while a thread looked at the time on it.
struct CpuReport {
    int cpu = 0;
    Noise noise;
    CpuCounters counters; ///< in between
    ThreadCounters thread;
    std::uint64_t locked_kib = 0; ///< transport: of the process
};

struct MachineReport {
    std::array<CpuReport, 2> cpus;
};

struct TransportReport {
    bool accelerated = false;
    std::string reason; ///< why not; or what went wrong
    std::array<CpuReport, 2> sides;
    std::uint64_t hit = 0;  ///< samples in which one of both CPUs was not ours all the time
    bench::Histogram all;   ///< half round trips
    bench::Histogram clean; ///< those that were not hit
};

/// Both CPUs at once. Two threads of its own.
[[nodiscard]] MachineReport watch_machine(const Plan& plan, double ticks_per_ns);

/// A server in a child process, the client here. To be called while the process has one thread.
[[nodiscard]] TransportReport watch_transport(const Plan& plan, double ticks_per_ns);

/// false: not allowed on that CPU.
[[nodiscard]] bool pin_to(int cpu) noexcept;

/// "ok", or what was seen: "tick", "interrupts", "preempted", "steal", "frequency", "unexplained".
[[nodiscard]] std::string verdict_of(const CpuReport& report);

} // namespace smcd::jitter
