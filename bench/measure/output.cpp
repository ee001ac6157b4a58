#include "bench/measure/output.hpp"

#include <cstdarg>
#include <cstdio>
#include <fstream>

#include <google/protobuf/util/json_util.h>

namespace smcd::bench {
namespace {

[[gnu::format(printf, 1, 2)]] std::string format(const char* pattern, ...) {
    char line[512];
    va_list arguments;
    va_start(arguments, pattern);
    std::vsnprintf(line, sizeof(line), pattern, arguments);
    va_end(arguments);
    return line;
}

std::string path_label(const Line& line) {
    std::string label(name_of(line.plan.path));
    if (line.plan.path == Path::tcp) {
        label += line.plan.nodelay ? " nodelay" : " Nagle";
    }
    return label;
}

/// Why the line is not what it says: empty when it is.
std::string complaint(const Line& line) {
    for (const Sample& sample : line.series.samples()) {
        if (sample.failed()) {
            return "FAILED: " + sample.reason();
        }
        if (is_subject(line.plan.path) && !sample.accelerated()) {
            return "on TCP: " + sample.reason();
        }
    }
    return "";
}

std::string heading(const Options& options, const Result& result) {
    const Series& first = result.lines.front().series;
    const std::string amount = options.count != 0 ? std::to_string(options.count) + " messages"
                                                  : format("%g s", options.seconds);
    std::string text = format("smcu bench %s: %s, %u x %s, warm-up %g s, pinned: %s, profile %s\n",
                              SMCD_VERSION,
                              first.mode().c_str(),
                              options.repetitions,
                              amount.c_str(),
                              options.warmup_s,
                              first.placement().c_str(),
                              first.profile().c_str());
    std::string congestion;
    for (const Line& line : result.lines) {
        congestion = line.plan.path == Path::tcp ? line.series.congestion() : congestion;
    }
    const Machine& machine = result.report.machine();
    text += format("%s, %g CPUs%s, Linux %s; TCP: %s (system default %s); load %s\n",
                   machine.cpu().c_str(),
                   machine.cpus(),
                   machine.virtual_machine() ? " (virtual)" : "",
                   machine.kernel().c_str(),
                   congestion.empty() ? "not measured" : congestion.c_str(),
                   machine.congestion_control().c_str(),
                   machine.load_before().c_str());
    if (!first.latency_of().empty()) {
        text += format("latency: %s, microseconds\n", first.latency_of().c_str());
    }
    return text;
}

std::string row(const Line& line) {
    const Series& series = line.series;
    const Summary& rate = series.rate();
    std::string text = format("%-12s %8s %12.0f [%10.0f %10.0f] %10.1f",
                              path_label(line).c_str(),
                              size_label(series.message_bytes()).c_str(),
                              rate.median(),
                              rate.low(),
                              rate.high(),
                              series.bandwidth().median());
    if (line.latency.count() != 0) {
        Percentiles all;
        fill_percentiles(all, line.latency, latency_scale(line.plan.mode));
        text += format(" %9.3f %9.3f %9.3f %9.3f",
                       series.latency_p50_us().median(),
                       series.latency_p99_us().median(),
                       all.p999(),
                       all.max());
    }
    if (line.plan.mode == Mode::many && series.samples_size() != 0) {
        text += format("   opened %.0f/s", series.samples(0).setups_per_s());
    }
    const std::string problem = complaint(line);
    return text + (problem.empty() ? "" : "   " + problem) + "\n";
}

std::string floor_text(const Floor& floor) {
    return format(
        "floor: cache line there and back %.0f ns; wake a sleeper: futex %.2f us, eventfd %.2f us; "
        "memcpy of %s %.1f GB/s, through a ring %.1f GB/s\n",
        floor.cache_line_round_trip_ns(),
        floor.futex_wake_us(),
        floor.eventfd_wake_us(),
        size_label(floor.copy_bytes()).c_str(),
        floor.memcpy_gb_per_s(),
        floor.two_copy_ring_gb_per_s());
}

bool write_file(const std::string& name, const std::string& text) {
    if (name == "-") {
        return std::fputs(text.c_str(), stdout) >= 0;
    }
    std::ofstream file(name);
    file << text;
    file.flush();
    if (!file) {
        std::fprintf(stderr, "smcu bench: cannot write %s\n", name.c_str());
        return false;
    }
    return true;
}

} // namespace

std::string size_label(double bytes) {
    constexpr double kKi = 1024;
    const auto whole = static_cast<std::uint64_t>(bytes);
    if (whole >= (1U << 20U) && whole % (1U << 20U) == 0) {
        return format("%.0fM", bytes / kKi / kKi);
    }
    if (whole >= 1024 && whole % 1024 == 0) {
        return format("%.0fk", bytes / kKi);
    }
    return format("%.0f", bytes);
}

std::string table_text(const Options& options, const Result& result) {
    std::string text = heading(options, result);
    text += format("\n%-12s %8s %12s %-23s %10s",
                   "path",
                   "bytes",
                   "per second",
                   " interval of the median",
                   "MB/s");
    bool timed = false;
    for (const Line& line : result.lines) {
        timed = timed || line.latency.count() != 0;
    }
    text += timed ? format(" %9s %9s %9s %9s\n", "p50", "p99", "p99.9", "max") : "\n";
    for (const Line& line : result.lines) {
        text += row(line);
    }
    text += "\n";
    for (const Comparison& comparison : result.report.comparisons()) {
        text += format("%s / %s, %s B: %.2fx [%.2f %.2f] by %s\n",
                       comparison.subject().c_str(),
                       comparison.against().c_str(),
                       size_label(comparison.message_bytes()).c_str(),
                       comparison.ratio().median(),
                       comparison.ratio().low(),
                       comparison.ratio().high(),
                       comparison.what().c_str());
    }
    if (result.report.has_floor()) {
        text += floor_text(result.report.floor());
    }
    return text;
}

std::string json_text(const Result& result) {
    Report report = result.report;
    for (const Line& line : result.lines) {
        *report.add_series() = line.series;
    }
    google::protobuf::util::JsonPrintOptions options;
    options.add_whitespace = true;
    options.always_print_primitive_fields = true;
    options.preserve_proto_field_names = true;
    std::string text;
    static_cast<void>(google::protobuf::util::MessageToJsonString(report, &text, options));
    return text;
}

std::string csv_text(const Result& result) {
    std::string text =
        "mode,path,bytes,nodelay,congestion,connections,repetition,seconds,messages,moved_bytes,"
        "min_us,p50_us,p90_us,p99_us,p999_us,max_us,accelerated,failed,reason\n";
    for (const Line& line : result.lines) {
        const Series& series = line.series;
        for (const Sample& sample : series.samples()) {
            const Percentiles& times = sample.latency_us();
            text += format(
                "%s,%s,%.0f,%d,%s,%.0f,%.0f,%.6f,%.0f,%.0f,%.3f,%.3f,%.3f,%.3f,%.3f,%.3f,%d,%d,\"",
                series.mode().c_str(),
                series.path().c_str(),
                series.message_bytes(),
                series.nodelay() ? 1 : 0,
                series.congestion().c_str(),
                series.connections(),
                sample.repetition(),
                sample.seconds(),
                sample.messages(),
                sample.bytes(),
                times.min(),
                times.p50(),
                times.p90(),
                times.p99(),
                times.p999(),
                times.max(),
                sample.accelerated() ? 1 : 0,
                sample.failed() ? 1 : 0);
            text += sample.reason() + "\"\n";
        }
    }
    return text;
}

bool write_all(const Options& options, const Result& result) {
    bool written = true;
    if (options.json_file != "-" && !options.quiet) {
        written = std::fputs(table_text(options, result).c_str(), stdout) >= 0;
    }
    if (!options.json_file.empty()) {
        written = write_file(options.json_file, json_text(result)) && written;
    }
    if (!options.csv_file.empty()) {
        written = write_file(options.csv_file, csv_text(result)) && written;
    }
    if (!options.svg_file.empty()) {
        written = write_file(options.svg_file, svg_text(options, result)) && written;
    }
    if (!options.hdr_prefix.empty()) {
        for (const Line& line : result.lines) {
            const std::string name =
                options.hdr_prefix + "-" + line.series.path() +
                (line.plan.path == Path::tcp && !line.plan.nodelay ? "-nagle" : "") + "-" +
                size_label(line.series.message_bytes()) + ".hgrm";
            written =
                write_file(name, line.latency.percentile_text(latency_scale(line.plan.mode))) &&
                written;
        }
    }
    return written;
}

} // namespace smcd::bench
