// The machine alone, and what its counters say of it.
#include <sched.h>

#include <atomic>
#include <string_view>
#include <thread>

#include "bench/jitter/run.hpp"

namespace smcd::jitter {
namespace {

/// Together: one CPU's interrupts may be the other's doing.
void watch_cpu(const Plan& plan, double per_ns, std::atomic<int>& waiting, CpuReport& report) {
    if (!pin_to(report.cpu)) {
        waiting.fetch_sub(1);
        return;
    }
    waiting.fetch_sub(1);
    while (waiting.load(std::memory_order_acquire) > 0) {
        __builtin_ia32_pause();
    }
    const CpuCounters before = read_cpu(report.cpu);
    const ThreadWatch thread;
    NoiseSampler sampler(per_ns);
    const std::uint64_t began = ticks();
    const auto length = static_cast<std::uint64_t>(plan.seconds * 1e9 * per_ns);
    sampler.begin(began);
    std::uint64_t now = began;
    while (now - began < length) {
        now = ticks();
        static_cast<void>(sampler.look(now));
    }
    report.thread = thread.read();
    report.counters = since(before, read_cpu(report.cpu));
    report.noise = sampler.result();
}

bool is_tick(std::string_view interrupt) {
    return interrupt == "LOC";
}

} // namespace

bool pin_to(int cpu) noexcept {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (cpu < 0 || cpu >= CPU_SETSIZE) {
        return false;
    }
    CPU_SET(static_cast<unsigned>(cpu), &set);
    return ::sched_setaffinity(0, sizeof(set), &set) == 0;
}

MachineReport watch_machine(const Plan& plan, double ticks_per_ns) {
    MachineReport report;
    report.cpus[0].cpu = plan.cpus[0];
    report.cpus[1].cpu = plan.cpus[1];
    const bool two = plan.cpus[0] != plan.cpus[1];
    std::atomic<int> waiting{two ? 2 : 1};
    std::thread first([&] { watch_cpu(plan, ticks_per_ns, waiting, report.cpus[0]); });
    if (two) {
        std::thread([&] { watch_cpu(plan, ticks_per_ns, waiting, report.cpus[1]); }).join();
    }
    first.join();
    if (!two) {
        report.cpus[1] = report.cpus[0];
    }
    return report;
}

std::string verdict_of(const CpuReport& report) {
    std::string words;
    const auto say = [&words](const char* word) {
        words += (words.empty() ? "" : ", ") + std::string(word);
    };
    const double seconds = report.noise.duration_ns / 1e9;
    std::uint64_t tick_count = 0;
    std::uint64_t others = 0;
    for (const auto& [name, count] : report.counters.interrupts) {
        (is_tick(name) ? tick_count : others) += count;
    }
    // A CPU without a tick still has some timer interrupts.
    constexpr double kTicklessHz = 10;
    if (seconds > 0 && static_cast<double>(tick_count) / seconds > kTicklessHz) {
        say("tick");
    }
    if (others > 0) {
        say("interrupts");
    }
    if (report.thread.involuntary_switches > 0) {
        say("preempted");
    }
    if (report.counters.steal_ticks > 0) {
        say("steal");
    }
    if (report.counters.frequency_khz > 0) {
        say("frequency");
    }
    const std::uint64_t known = tick_count + others + report.thread.involuntary_switches;
    if (report.noise.over.front() > known) {
        say("unexplained"); // a hypervisor, or the firmware: nothing that this kernel counts
    }
    return words.empty() ? "ok" : words;
}

} // namespace smcd::jitter
