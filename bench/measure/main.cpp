// smcu-bench: what `smcu bench` starts. Floor 4, docs/bench.md.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>

#include <CLI/CLI.hpp>

#include "bench/measure/campaign.hpp"
#include "bench/measure/floor.hpp"
#include "bench/measure/output.hpp"
#include "bench/measure/rfc.hpp"
#include "bench/measure/words.hpp"
#include "bench/measure/worker.hpp"
#include "smcd/runtime/profile.hpp"
#include "smcd/tools/command.hpp"
#include "smcd/tools/launcher.hpp"

namespace smcd::bench {
namespace {

constexpr const char* kFooter =
    "Modes: pingpong (pp), stream (tp), rate, connect, request (crr), many, load (ul), mixed; "
    "floor measures the\n"
    "machine alone; rfc runs the four benchmarks of the kernel's SMC-D loopback proposal.\n"
    "Paths: shim (ordinary sockets under the preloaded library), library, zerocopy; to compare: "
    "tcp, unix.\n"
    "Exit status: 0 done, 1 something failed, 2 wrong usage, 10 --require-smc and a connection "
    "stayed on TCP.";

/// The options as typed, before they are checked.
struct Typed {
    std::string mode;
    std::string sizes;
    std::string through = "shim";
    std::string against = "tcp";
    std::string cpus = "two";
    std::string nodelay;
    bool no_floor = false;
};

void add_measuring(CLI::App& program, Options& options, Typed& typed) {
    program.add_option("mode", typed.mode, "what to measure")->required();
    program.add_option("-m,--msg-size,-l,--length", typed.sizes, "message sizes: 14,64k,1M")
        ->type_name("SIZES");
    program.add_option("-t,--time", options.seconds, "seconds of each sample (1)")
        ->check(CLI::Range(0.001, 86400.0));
    program.add_option("-n,--count", options.count, "messages of each sample, instead of a time");
    program.add_option("--warmup", options.warmup_s, "seconds before the counting starts (0.1)")
        ->check(CLI::Range(0.0, 3600.0));
    program
        .add_option("-r,--repetitions", options.repetitions, "rounds of all samples in turns (5)")
        ->check(CLI::Range(1, 10000));
    program
        .add_option(
            "-P,--parallel,--connections", options.connections, "streams, or connections of many")
        ->check(CLI::Range(1, 100000));
    program
        .add_option(
            "--active", options.active_percent, "many: percent with a request under way (1)")
        ->check(CLI::Range(0.0, 100.0));
    program.add_option("--mps,--rate", options.rate, "load: requests per second (10000)")
        ->check(CLI::Range(1.0, 1e8));
    program
        .add_option("-b,--batch", options.batch, "library, zerocopy: messages per publication (1)")
        ->check(CLI::Range(1, 65536));
}

void add_paths(CLI::App& program, Options& options, Typed& typed) {
    program.add_option("--through", typed.through, "shim,library,zerocopy (shim)")
        ->type_name("PATHS");
    program.add_option("--against", typed.against, "tcp,unix or none (tcp)")->type_name("PATHS");
    program.add_option("--cpus,--pin", typed.cpus, "two, same, none, or SERVER,CLIENT (two)");
    program.add_option("--nodelay", typed.nodelay, "TCP_NODELAY: on, off, both (on; rate: both)")
        ->check(CLI::IsMember({"on", "off", "both"}));
    program.add_option("-C,--congestion", options.congestion, "TCP's algorithm (cubic)");
    program.add_option("--profile", options.profile, "how our paths wait for data")
        ->check([](const std::string& name) {
            return find_profile(name) != nullptr ? std::string() : "there are: " + profile_names();
        });
    program.add_option("--device", options.device, "devices that our paths offer (loopback)")
        ->type_name("LIST");
    program.add_flag(
        "--require-smc", options.require_smc, "fail when a connection of ours stays on TCP");
}

void add_outputs(CLI::App& program, Options& options, Typed& typed) {
    program
        .add_option("-J,--json", options.json_file, "report as JSON, to FILE or standard output")
        ->expected(0, 1)
        ->default_str("-")
        ->type_name("[FILE]");
    program.add_option("--csv", options.csv_file, "samples as CSV")->type_name("FILE");
    program.add_option("--svg", options.svg_file, "picture")->type_name("FILE");
    program
        .add_option("--hdr",
                    options.hdr_prefix,
                    "percentiles in HdrHistogram's form: PREFIX-path-size.hgrm")
        ->type_name("PREFIX");
    program.add_flag("--no-floor", typed.no_floor, "do not measure the machine itself");
    program.add_flag("-q,--quiet", options.quiet, "no table, no progress");
}

/// What was typed is turned into options. Empty: fine, else what is wrong.
std::string digest(const Typed& typed, Options& options) {
    const auto mode = mode_of_word(typed.mode);
    if (!mode) {
        return "unknown mode '" + typed.mode + "'";
    }
    options.mode = *mode;
    options.floor = !typed.no_floor;
    options.nodelay_given = !typed.nodelay.empty();
    options.nodelay = typed.nodelay == "off"    ? Nodelay::off
                      : typed.nodelay == "both" ? Nodelay::both
                                                : Nodelay::on;
    if (!parse_sizes(typed.sizes, options.sizes)) {
        return "'" + typed.sizes + "' is not a list of sizes from 1 to 64M";
    }
    if (!parse_paths(typed.through, true, options.through) ||
        !parse_paths(typed.against, false, options.against)) {
        return "unknown path in '" + typed.through + "' or '" + typed.against + "'";
    }
    if (!parse_cpus(typed.cpus, options)) {
        return "'" + typed.cpus + "' is none of two, same, none, SERVER,CLIENT";
    }
    if (options.mode == Mode::many && std::any_of(options.through.begin(),
                                                  options.through.end(),
                                                  [](Path path) { return path != Path::shim; })) {
        return "many uses epoll: through the shim only";
    }
    return "";
}

int status_of(const Options& options, const Result& result) {
    if (!result.failure.empty()) {
        tools::complain("bench", result.failure);
        return tools::kExitFailure;
    }
    if (options.require_smc && result.fell_back) {
        std::fputs("smcu bench: a connection that was to be accelerated stayed on TCP\n", stderr);
        return tools::kExitOnTcp;
    }
    return tools::kExitOk;
}

/// The command lines that run_sample() makes: role, plan, and for a client the address.
int run_worker(std::vector<std::string> words) {
    const bool is_server = words.front() == "internal-server";
    words.erase(words.begin());
    std::string address;
    if (!is_server && !words.empty()) {
        address = words.back();
        words.pop_back();
    }
    const auto plan = parse_plan(words);
    if (!plan) {
        tools::complain("bench", "a worker was given no plan");
        return tools::kExitUsage;
    }
    return is_server ? run_server(*plan) : run_client(*plan, address);
}

int run_floor(const Options& options) {
    Result result;
    const Floor floor =
        measure_floor({options.server_cpu, options.client_cpu, 64'000, options.seconds});
    std::printf(
        "cache line there and back %10.0f ns\nwake a sleeper by futex   %10.2f us\nwake by eventfd "
        "          "
        "%10.2f us\nmemcpy of 64,000 B        %10.1f GB/s\ntwo copies through a ring %10.1f GB/s\n",
        floor.cache_line_round_trip_ns(),
        floor.futex_wake_us(),
        floor.eventfd_wake_us(),
        floor.memcpy_gb_per_s(),
        floor.two_copy_ring_gb_per_s());
    return tools::kExitOk;
}

int run_program(const std::vector<std::string>& arguments) {
    if (!arguments.empty() && arguments.front().starts_with("internal-")) {
        return run_worker(arguments);
    }
    // What we start decides for itself what is preloaded.
    ::unsetenv("LD_PRELOAD"); // NOLINT(concurrency-mt-unsafe): one thread
    CLI::App program("Measure our paths beside TCP and UNIX sockets, in turns, in the same run.",
                     "smcu bench");
    program.footer(kFooter);
    Options options;
    Typed typed;
    add_measuring(program, options, typed);
    add_paths(program, options, typed);
    add_outputs(program, options, typed);
    try {
        program.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) {
            return program.exit(error);
        }
        tools::complain("bench", std::string(error.what()) + "; --help tells more");
        return tools::kExitUsage;
    }
    options.command = "smcu bench";
    for (const std::string& word : arguments) {
        options.command += " " + word;
    }
    if (program.count("--json") != 0 && options.json_file.empty()) {
        options.json_file = "-";
    }
    if (typed.mode == "floor" && parse_cpus(typed.cpus == "two" ? "0,1" : typed.cpus, options)) {
        return run_floor(options);
    }
    if (typed.mode == "rfc") {
        return run_rfc(options);
    }
    if (const std::string wrong = digest(typed, options); !wrong.empty()) {
        tools::complain("bench", wrong + "; --help tells more");
        return tools::kExitUsage;
    }
    if (!options.device.empty()) {
        tools::apply({
            {"SMCD_DEVICES", options.device}
        });
    }
    const Result result = run_campaign(options);
    return write_all(options, result) ? status_of(options, result) : tools::kExitFailure;
}

} // namespace
} // namespace smcd::bench

int main(int argc, char** argv) {
    try {
        return smcd::bench::run_program({argv + 1, argv + argc});
    } catch (const std::exception& error) {
        smcd::tools::complain("bench", error.what());
        return smcd::tools::kExitFailure;
    }
}
