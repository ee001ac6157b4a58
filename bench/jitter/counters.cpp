#include "bench/jitter/counters.hpp"

#include <linux/perf_event.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>

namespace smcd::jitter {
namespace {

void read_interrupts(int cpu, std::map<std::string, std::uint64_t>& interrupts) {
    std::ifstream file("/proc/interrupts");
    std::string line;
    std::getline(file, line);
    // The columns are those of the CPUs that are online.
    std::istringstream head(line);
    int column = -1;
    std::string word;
    for (int i = 0; head >> word; ++i) {
        column = word == "CPU" + std::to_string(cpu) ? i : column;
    }
    while (column >= 0 && std::getline(file, line)) {
        std::istringstream words(line);
        std::string name;
        words >> name;
        std::uint64_t count = 0;
        bool there = false;
        for (int i = 0; i <= column; ++i) {
            there = static_cast<bool>(words >> count);
        }
        if (there && name.ends_with(':')) {
            name.pop_back();
            interrupts[name] = count;
        }
    }
}

std::uint64_t steal_of(int cpu) {
    std::ifstream file("/proc/stat");
    const std::string wanted = "cpu" + std::to_string(cpu);
    for (std::string line; std::getline(file, line);) {
        std::istringstream words(line);
        std::string name;
        words >> name;
        std::uint64_t value = 0;
        constexpr int kSteal = 8; // user nice system idle iowait irq softirq steal
        for (int i = 0; name == wanted && i < kSteal; ++i) {
            words >> value;
        }
        if (name == wanted) {
            return value;
        }
    }
    return 0;
}

std::uint64_t number_in(const std::string& path) {
    std::ifstream file(path);
    std::uint64_t value = 0;
    file >> value;
    return file ? value : 0;
}

UniqueFd open_event(std::uint32_t type, std::uint64_t config) {
    perf_event_attr attributes{};
    attributes.size = sizeof(attributes);
    attributes.type = type;
    attributes.config = config;
    return UniqueFd(static_cast<int>(
        ::syscall(SYS_perf_event_open, &attributes, 0, -1, -1, PERF_FLAG_FD_CLOEXEC)));
}

bool read_event(const UniqueFd& event, std::uint64_t& value) {
    return event.valid() && ::read(event.get(), &value, sizeof(value)) == sizeof(value);
}

} // namespace

CpuCounters read_cpu(int cpu) {
    CpuCounters counters;
    read_interrupts(cpu, counters.interrupts);
    counters.steal_ticks = steal_of(cpu);
    counters.frequency_khz = number_in("/sys/devices/system/cpu/cpu" + std::to_string(cpu) +
                                       "/cpufreq/scaling_cur_freq");
    return counters;
}

CpuCounters since(const CpuCounters& before, const CpuCounters& after) {
    CpuCounters change;
    for (const auto& [name, count] : after.interrupts) {
        const auto old = before.interrupts.find(name);
        const std::uint64_t start = old == before.interrupts.end() ? 0 : old->second;
        if (count > start) {
            change.interrupts[name] = count - start;
        }
    }
    change.steal_ticks = after.steal_ticks - before.steal_ticks;
    const std::uint64_t low = std::min(before.frequency_khz, after.frequency_khz);
    change.frequency_khz = std::max(before.frequency_khz, after.frequency_khz) - low;
    return change;
}

ThreadWatch::ThreadWatch()
    : migrations_(open_event(PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_MIGRATIONS)) {
    for (const char* folder : {"/sys/kernel/tracing", "/sys/kernel/debug/tracing"}) {
        const std::uint64_t id =
            number_in(std::string(folder) + "/events/raw_syscalls/sys_enter/id");
        if (id != 0 && !calls_.valid()) {
            calls_ = open_event(PERF_TYPE_TRACEPOINT, id);
        }
    }
    before_ = absolute();
}

ThreadCounters ThreadWatch::absolute() const {
    ThreadCounters now;
    // First: what follows is not the measured code's.
    now.system_calls_known = read_event(calls_, now.system_calls);
    now.migrations_known = read_event(migrations_, now.migrations);
    rusage usage{};
    ::getrusage(RUSAGE_THREAD, &usage);
    now.minor_faults = static_cast<std::uint64_t>(usage.ru_minflt);
    now.major_faults = static_cast<std::uint64_t>(usage.ru_majflt);
    now.voluntary_switches = static_cast<std::uint64_t>(usage.ru_nvcsw);
    now.involuntary_switches = static_cast<std::uint64_t>(usage.ru_nivcsw);
    return now;
}

ThreadCounters ThreadWatch::read() const {
    ThreadCounters now = absolute();
    now.minor_faults -= before_.minor_faults;
    now.major_faults -= before_.major_faults;
    now.voluntary_switches -= before_.voluntary_switches;
    now.involuntary_switches -= before_.involuntary_switches;
    now.migrations -= before_.migrations;
    // Ours: getrusage() and the other event behind the first reading, and the second reading.
    const std::uint64_t own = migrations_.valid() ? 3 : 2;
    now.system_calls -= std::min(now.system_calls, before_.system_calls + own);
    return now;
}

std::uint64_t locked_kib() {
    std::ifstream file("/proc/self/status");
    for (std::string line; std::getline(file, line);) {
        if (line.starts_with("VmLck:")) {
            return std::strtoull(line.c_str() + 6, nullptr, 10);
        }
    }
    return 0;
}

} // namespace smcd::jitter
