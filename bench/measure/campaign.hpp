// Campaign: one run of `smcu bench`: every path at every size, repetitions interleaved. Floor 4.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "bench/measure/sample.hpp"

namespace smcd::bench {

enum class Placement { two_cpus, same_cpu, none, given };
enum class Nodelay { on, off, both };

struct Options {
    Mode mode = Mode::pingpong;
    std::vector<std::uint64_t> sizes; ///< empty: the mode's default
    std::vector<Path> through{Path::shim};
    std::vector<Path> against;
    double seconds = 1;
    std::uint64_t count = 0;
    double warmup_s = 0.1;
    std::uint32_t repetitions = 5;
    std::uint32_t connections = 0; ///< 0: the mode's default
    double active_percent = 1;     ///< many
    std::uint32_t batch = 1;
    double rate = 10'000; ///< load
    Placement placement = Placement::two_cpus;
    int server_cpu = -1; ///< Placement::given
    int client_cpu = -1;
    Nodelay nodelay = Nodelay::on;
    bool nodelay_given = false;
    std::string congestion = "cubic";
    std::string profile;
    std::string device; ///< SMCD_DEVICES of the workers; empty: as it is
    bool floor = true;
    bool require_smc = false;
    bool quiet = false;
    std::string json_file; ///< "-": standard output
    std::string csv_file;
    std::string svg_file;
    std::string hdr_prefix;
    std::string command; ///< as typed, for the report
};

/// One line of the result: a path at a size with its settings, and what was measured.
struct Line {
    Plan plan;
    Series series;
    Histogram latency; ///< all repetitions
};

struct Result {
    Report report; ///< whole but for the series, which are in `lines`
    std::vector<Line> lines;
    std::string failure;    ///< of the first sample that failed: its path and why; empty: none did
    bool fell_back = false; ///< a path of ours was on TCP
};

/// Measures. Progress goes to stderr when that is a terminal.
[[nodiscard]] Result run_campaign(const Options& options);

/// What the mode means when nothing is said.
[[nodiscard]] std::vector<std::uint64_t> default_sizes(Mode mode);

/// Lower is better for these.
[[nodiscard]] constexpr bool is_latency_mode(Mode mode) noexcept {
    return mode == Mode::pingpong || mode == Mode::load || mode == Mode::mixed;
}

[[nodiscard]] std::string latency_of(Mode mode);

void describe_machine(Machine& machine);

} // namespace smcd::bench
