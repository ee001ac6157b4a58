#include "bench/measure/campaign.hpp"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "bench/measure/floor.hpp"
#include "bench/measure/statistics.hpp"

namespace smcd::bench {
namespace {

struct Cpus {
    int server = -1;
    int client = -1;
};

Cpus place(const Options& options) {
    if (options.placement == Placement::none) {
        return {};
    }
    if (options.placement == Placement::given) {
        return {options.server_cpu, options.client_cpu};
    }
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    ::sched_getaffinity(0, sizeof(allowed), &allowed);
    std::vector<int> cpus;
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (CPU_ISSET(static_cast<unsigned>(cpu), &allowed)) {
            cpus.push_back(cpu);
        }
    }
    if (cpus.empty()) {
        return {};
    }
    const bool same = options.placement == Placement::same_cpu || cpus.size() < 2;
    return {cpus[0], same ? cpus[0] : cpus[1]};
}

std::string describe(const Cpus& cpus) {
    if (cpus.server < 0) {
        return "none";
    }
    return "server " + std::to_string(cpus.server) + ", client " + std::to_string(cpus.client);
}

std::uint32_t connections_of(const Options& options) {
    if (options.connections != 0) {
        return options.connections;
    }
    return options.mode == Mode::many ? 1000 : 1;
}

Plan plan_of(const Options& options, const Cpus& cpus) {
    Plan plan;
    plan.mode = options.mode;
    plan.seconds = options.seconds;
    plan.count = options.count;
    plan.warmup_s = options.warmup_s;
    plan.connections = connections_of(options);
    plan.active =
        std::max(1U, static_cast<std::uint32_t>(plan.connections * options.active_percent / 100));
    plan.batch = std::max(options.batch, 1U);
    plan.rate = options.rate;
    plan.congestion = options.congestion;
    plan.profile = options.profile;
    plan.server_cpu = cpus.server;
    plan.client_cpu = cpus.client;
    return plan;
}

/// Nagle's algorithm is TCP's second mode for small messages; the other paths have none.
std::vector<bool> nodelay_modes(const Options& options, Path path) {
    const bool wants_both =
        options.nodelay == Nodelay::both || (!options.nodelay_given && options.mode == Mode::rate);
    if (path == Path::tcp && wants_both) {
        return {true, false};
    }
    return {options.nodelay != Nodelay::off};
}

std::vector<Line> lines_of(const Options& options, const Cpus& cpus) {
    std::vector<Line> lines;
    std::vector<Path> paths = options.against;
    paths.insert(paths.end(), options.through.begin(), options.through.end());
    for (const std::uint64_t size :
         options.sizes.empty() ? default_sizes(options.mode) : options.sizes) {
        for (const Path path : paths) {
            for (const bool nodelay : nodelay_modes(options, path)) {
                Line line;
                line.plan = plan_of(options, cpus);
                line.plan.path = path;
                line.plan.message_bytes = size;
                line.plan.nodelay = nodelay;
                Series& series = line.series;
                series.set_mode(std::string(name_of(options.mode)));
                series.set_path(std::string(name_of(path)));
                series.set_message_bytes(static_cast<double>(size));
                series.set_nodelay(nodelay);
                series.set_connections(line.plan.connections);
                series.set_placement(describe(cpus));
                series.set_profile(options.profile.empty() ? "balanced" : options.profile);
                series.set_device(options.device.empty() ? "loopback" : options.device);
                series.set_batch(line.plan.batch);
                series.set_latency_of(latency_of(options.mode));
                lines.push_back(std::move(line));
            }
        }
    }
    return lines;
}

void fill(Summary& summary, const std::vector<double>& values) {
    const Interval interval = interval_of(values);
    summary.set_median(interval.median);
    summary.set_low(interval.low);
    summary.set_high(interval.high);
    summary.set_coverage(interval.coverage);
}

template <typename F>
std::vector<double> values_of(const Series& series, F&& value) {
    std::vector<double> values;
    for (const Sample& sample : series.samples()) {
        if (!sample.failed()) {
            values.push_back(value(sample));
        }
    }
    return values;
}

double rate_of(const Sample& sample) {
    return sample.seconds() > 0 ? sample.messages() / sample.seconds() : 0;
}

void summarize(Line& line) {
    Series& series = line.series;
    fill(*series.mutable_rate(), values_of(series, rate_of));
    fill(*series.mutable_bandwidth(), values_of(series, [](const Sample& sample) {
        return sample.seconds() > 0 ? sample.bytes() / sample.seconds() / 1e6 : 0;
    }));
    if (line.latency.count() != 0) {
        fill(*series.mutable_latency_p50_us(),
             values_of(series, [](const Sample& sample) { return sample.latency_us().p50(); }));
        fill(*series.mutable_latency_p99_us(),
             values_of(series, [](const Sample& sample) { return sample.latency_us().p99(); }));
    }
}

double goodness(const Options& options, const Sample& sample) {
    if (options.mode == Mode::load) {
        return sample.latency_us().p50() > 0 ? 1 / sample.latency_us().p50() : 0;
    }
    return rate_of(sample);
}

/// Each of ours against each peer at the same size; of a peer's modes the better one counts.
void compare(const Options& options, Result& result) {
    const auto median = [&](const Line& line) {
        return interval_of(
                   values_of(line.series, [&](const Sample& s) { return goodness(options, s); }))
            .median;
    };
    for (const Line& subject : result.lines) {
        if (std::count(options.through.begin(), options.through.end(), subject.plan.path) == 0) {
            continue;
        }
        for (const Path path : options.against) {
            const Line* peer = nullptr;
            for (const Line& line : result.lines) {
                const bool fits =
                    line.plan.path == path && line.plan.message_bytes == subject.plan.message_bytes;
                peer = fits && (peer == nullptr || median(line) > median(*peer)) ? &line : peer;
            }
            if (peer == nullptr || peer == &subject) {
                continue;
            }
            std::vector<double> ratios;
            const int pairs = std::min(subject.series.samples_size(), peer->series.samples_size());
            for (int i = 0; i < pairs; ++i) {
                const double below = goodness(options, peer->series.samples(i));
                if (below > 0 && !subject.series.samples(i).failed()) {
                    ratios.push_back(goodness(options, subject.series.samples(i)) / below);
                }
            }
            Comparison& comparison = *result.report.add_comparisons();
            comparison.set_subject(subject.series.path());
            comparison.set_against(std::string(name_of(path)) +
                                   (peer->plan.nodelay ? "" : " (Nagle)"));
            comparison.set_message_bytes(subject.series.message_bytes());
            comparison.set_what(options.mode == Mode::load ? "latency" : "rate");
            fill(*comparison.mutable_ratio(), ratios);
        }
    }
}

class Progress {
public:
    Progress(bool quiet, std::size_t total, double seconds_each)
        : shown_(!quiet && ::isatty(STDERR_FILENO) == 1), total_(total),
          seconds_each_(seconds_each) {}

    ~Progress() {
        if (shown_) {
            std::fputs("\r\033[K", stderr);
        }
    }

    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    void step(const Line& line) {
        if (shown_) {
            const double left_s = static_cast<double>(total_ - done_) * seconds_each_;
            std::fprintf(stderr,
                         "\r\033[K%3zu %%  %s, %.0f B; about %.0f s left",
                         done_ * 100 / total_,
                         line.series.path().c_str(),
                         line.series.message_bytes(),
                         left_s);
        }
        ++done_;
    }

private:
    bool shown_;
    std::size_t total_;
    std::size_t done_ = 0;
    double seconds_each_;
};

/// The medians of several measurements of the floor.
void settle_floor(const std::vector<Floor>& floors, Floor& floor) {
    const auto median = [&](auto&& value) {
        std::vector<double> values;
        for (const Floor& one : floors) {
            values.push_back(value(one));
        }
        return interval_of(values).median;
    };
    floor.set_cache_line_round_trip_ns(
        median([](const Floor& f) { return f.cache_line_round_trip_ns(); }));
    floor.set_futex_wake_us(median([](const Floor& f) { return f.futex_wake_us(); }));
    floor.set_eventfd_wake_us(median([](const Floor& f) { return f.eventfd_wake_us(); }));
    floor.set_memcpy_gb_per_s(median([](const Floor& f) { return f.memcpy_gb_per_s(); }));
    floor.set_two_copy_ring_gb_per_s(
        median([](const Floor& f) { return f.two_copy_ring_gb_per_s(); }));
    floor.set_copy_bytes(floors.front().copy_bytes());
}

void take(Line& line, Measured&& measured, std::uint32_t repetition, Result& result) {
    Sample& sample = *line.series.add_samples();
    sample = std::move(measured.sample);
    sample.set_repetition(repetition);
    line.series.set_congestion(measured.congestion);
    line.latency.add(measured.latency);
    if (sample.failed() && result.failure.empty()) {
        result.failure = std::string(name_of(line.plan.path)) + ": " + sample.reason();
    }
    result.fell_back = result.fell_back ||
                       (is_subject(line.plan.path) && !sample.failed() && !sample.accelerated());
}

} // namespace

std::vector<std::uint64_t> default_sizes(Mode mode) {
    switch (mode) {
    case Mode::pingpong:
    case Mode::load:
    case Mode::mixed:
        return {14};
    case Mode::stream:
        return {64'000};
    case Mode::rate:
    case Mode::request:
    case Mode::many:
        return {64};
    case Mode::connect:
        return {1};
    }
    return {14};
}

std::string latency_of(Mode mode) {
    switch (mode) {
    case Mode::pingpong:
    case Mode::mixed:
        return "half round trip";
    case Mode::load:
        return "intended send to reply";
    case Mode::many:
        return "round trip";
    case Mode::connect:
    case Mode::request:
        return "connection";
    case Mode::stream:
    case Mode::rate:
        return "";
    }
    return "";
}

Result run_campaign(const Options& options) {
    Result result;
    const Cpus cpus = place(options);
    result.lines = lines_of(options, cpus);
    result.report.set_schema("smcu.bench/1");
    result.report.set_version(SMCD_VERSION);
    result.report.set_command(options.command);
    describe_machine(*result.report.mutable_machine());
    FloorPlan floor_plan{cpus.server, cpus.client, 64'000, std::min(0.2, options.seconds)};
    if (is_latency_mode(options.mode) || options.mode == Mode::stream) {
        floor_plan.copy_bytes =
            std::min<std::uint64_t>(result.lines.front().plan.message_bytes, 1U << 20U);
    }
    std::vector<Floor> floors;
    Progress progress(options.quiet,
                      result.lines.size() * options.repetitions,
                      options.seconds + options.warmup_s + 0.1);
    for (std::uint32_t repetition = 0; repetition < options.repetitions; ++repetition) {
        if (options.floor) {
            floors.push_back(measure_floor(floor_plan));
        }
        // A B, then B A: what drifts hits both alike.
        for (std::size_t i = 0; i < result.lines.size(); ++i) {
            Line& line = result.lines[repetition % 2 == 0 ? i : result.lines.size() - 1 - i];
            progress.step(line);
            take(line, run_settled(line.plan), repetition, result);
        }
    }
    if (!floors.empty()) {
        settle_floor(floors, *result.report.mutable_floor());
    }
    for (Line& line : result.lines) {
        summarize(line);
    }
    compare(options, result);
    Machine after;
    describe_machine(after);
    result.report.mutable_machine()->set_load_after(after.load_before());
    return result;
}

} // namespace smcd::bench
