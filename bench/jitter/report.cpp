#include "bench/jitter/report.hpp"

#include <array>
#include <cstdio>

#include <nlohmann/json.hpp>

namespace smcd::jitter {
namespace {

using Json = nlohmann::ordered_json;

struct Column {
    const char* name;
    double percent;
};

constexpr std::array<Column, 6> kPercentiles{
    {{"p50", 50},
     {"p99", 99},
     {"p99.9", 99.9},
     {"p99.99", 99.99},
     {"p99.999", 99.999},
     {"max", 100}}
};

double us(double ns) {
    return ns / 1000;
}

Json times_of(const bench::Histogram& histogram) {
    Json times{
        {"count", histogram.count()                          },
        {"min",   us(static_cast<double>(histogram.min_ns()))}
    };
    for (const Column& column : kPercentiles) {
        times[column.name] = us(static_cast<double>(histogram.percentile_ns(column.percent)));
    }
    return times;
}

Json cpu_of(const CpuReport& report) {
    const Noise& noise = report.noise;
    Json row{
        {"cpu",               report.cpu             },
        {"samples",           noise.looks            },
        {"seconds",           noise.duration_ns / 1e9},
        {"shortest_ns",       noise.shortest_ns      },
        {"noise_percent",     noise.percent()        },
        {"available_percent", 100 - noise.percent()  },
        {"longest_us",        us(noise.longest_ns)   }
    };
    for (std::size_t i = 0; i < kThresholdsUs.size(); ++i) {
        row["over_" + std::to_string(kThresholdsUs[i]) + "_us"] = noise.over[i];
    }
    const ThreadCounters& thread = report.thread;
    row["system_calls"] = thread.system_calls_known ? Json(thread.system_calls) : Json();
    row["minor_faults"] = thread.minor_faults;
    row["major_faults"] = thread.major_faults;
    row["voluntary_switches"] = thread.voluntary_switches;
    row["involuntary_switches"] = thread.involuntary_switches;
    row["migrations"] = thread.migrations_known ? Json(thread.migrations) : Json();
    row["interrupts"] = report.counters.interrupts;
    row["steal_ticks"] = report.counters.steal_ticks;
    row["verdict"] = verdict_of(report);
    return row;
}

std::string number_or_dash(bool known, std::uint64_t number) {
    return known ? std::to_string(number) : "-";
}

template <typename... Values>
void line(std::string& text, const char* format, Values... values) {
    std::array<char, 256> row{};
    std::snprintf(row.data(), row.size(), format, values...); // NOLINT: literals of this file
    text += row.data();
    text += '\n';
}

void add_cpus(std::string& text, const std::array<CpuReport, 2>& cpus, bool side) {
    line(text,
         "%4s %9s %9s %10s %8s %7s %7s %7s %6s %6s %6s %6s  %s",
         "cpu",
         "noise %",
         "avail. %",
         "longest us",
         "> 1 us",
         "> 5",
         "> 20",
         "> 100",
         "calls",
         "faults",
         "switch",
         "moves",
         "verdict");
    for (const CpuReport& cpu : cpus) {
        const ThreadCounters& thread = cpu.thread;
        line(text,
             "%4d %9.4f %9.4f %10.1f %8llu %7llu %7llu %7llu %6s %6llu %6llu %6s  %s%s",
             cpu.cpu,
             cpu.noise.percent(),
             100 - cpu.noise.percent(),
             us(cpu.noise.longest_ns),
             static_cast<unsigned long long>(cpu.noise.over[0]),
             static_cast<unsigned long long>(cpu.noise.over[1]),
             static_cast<unsigned long long>(cpu.noise.over[2]),
             static_cast<unsigned long long>(cpu.noise.over[3]),
             number_or_dash(thread.system_calls_known, thread.system_calls).c_str(),
             static_cast<unsigned long long>(thread.minor_faults + thread.major_faults),
             static_cast<unsigned long long>(thread.voluntary_switches +
                                             thread.involuntary_switches),
             number_or_dash(thread.migrations_known, thread.migrations).c_str(),
             verdict_of(cpu).c_str(),
             side && cpu.locked_kib == 0 ? "; memory not locked" : "");
    }
}

void add_times(std::string& text, const char* name, const bench::Histogram& histogram) {
    std::array<double, kPercentiles.size()> values{};
    for (std::size_t i = 0; i < kPercentiles.size(); ++i) {
        values[i] = us(static_cast<double>(histogram.percentile_ns(kPercentiles[i].percent)));
    }
    line(text,
         "%-22s %10llu %8.2f %8.2f %8.2f %8.2f %8.2f %8.2f %9.2f",
         name,
         static_cast<unsigned long long>(histogram.count()),
         us(static_cast<double>(histogram.min_ns())),
         values[0],
         values[1],
         values[2],
         values[3],
         values[4],
         values[5]);
}

} // namespace

std::string isolation_of(const Results& results) {
    if (results.plan.profile != "isolated" || !results.transport.accelerated) {
        return "none";
    }
    const auto& sides = results.transport.sides;
    const int locked = (sides[0].locked_kib > 0 ? 1 : 0) + (sides[1].locked_kib > 0 ? 1 : 0);
    return locked == 2 ? "both" : locked == 1 ? "one side" : "none";
}

std::string text_of(const Results& results) {
    const TransportReport& transport = results.transport;
    std::string text;
    line(text, "The machine alone, %.1f s on each CPU", results.plan.seconds);
    add_cpus(text, results.machine.cpus, false);
    text += '\n';
    if (!transport.accelerated) {
        line(text, "The connection stayed on TCP: %s", transport.reason.c_str());
        return text;
    }
    line(text,
         "Ping-pong of %u B, profile %s, isolation: %s (server first)",
         results.plan.message_bytes,
         results.plan.profile.c_str(),
         isolation_of(results).c_str());
    add_cpus(text, transport.sides, true);
    text += '\n';
    line(text,
         "%-22s %10s %8s %8s %8s %8s %8s %8s %9s",
         "half round trip, us",
         "samples",
         "min",
         "p50",
         "p99",
         "p99.9",
         "p99.99",
         "p99.999",
         "max");
    add_times(text, "all", transport.all);
    add_times(text, "without the machine", transport.clean);
    line(text,
         "%llu samples (%.4f %%) met a moment in which one of the CPUs did not run its end.",
         static_cast<unsigned long long>(transport.hit),
         transport.all.count() == 0 ? 0.0
                                    : 100.0 * static_cast<double>(transport.hit) /
                                          static_cast<double>(transport.all.count()));
    return text;
}

std::string json_of(const Results& results) {
    const TransportReport& transport = results.transport;
    Json document{
        {"schema",        "smcu.jitter/1"           },
        {"seconds",       results.plan.seconds      },
        {"message_bytes", results.plan.message_bytes},
        {"profile",       results.plan.profile      },
        {"isolation",     isolation_of(results)     },
        {"machine",       Json::array()             }
    };
    for (const CpuReport& cpu : results.machine.cpus) {
        document["machine"].push_back(cpu_of(cpu));
    }
    Json& out = document["transport"];
    out["accelerated"] = transport.accelerated;
    out["reason"] = transport.reason;
    out["sides"] = Json::array();
    for (const CpuReport& side : transport.sides) {
        Json row = cpu_of(side);
        row["locked_kib"] = side.locked_kib;
        out["sides"].push_back(row);
    }
    out["half_round_trip_us"] = times_of(transport.all);
    out["without_noise_us"] = times_of(transport.clean);
    out["noise_hit_samples"] = transport.hit;
    return document.dump(2, ' ', false, Json::error_handler_t::replace) + '\n';
}

} // namespace smcd::jitter
