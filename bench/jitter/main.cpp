// smcu-jitter: what `smcu jitter` starts. Floor 4, docs/smcu.md "smcu jitter".
#include <sched.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "bench/jitter/report.hpp"
#include "smcd/runtime/profile.hpp"
#include "smcd/tools/command.hpp"

namespace smcd::jitter {
namespace {

struct Options {
    Plan plan;
    std::vector<int> cpus;
    double max_us = 0;
    bool json = false;
    std::string hdr_prefix;
};

/// The first two that we may use; the same twice where there is one.
std::array<int, 2> allowed_cpus() {
    cpu_set_t set;
    std::array<int, 2> found{-1, -1};
    ::sched_getaffinity(0, sizeof(set), &set);
    for (int cpu = 0; cpu < CPU_SETSIZE && found[1] < 0; ++cpu) {
        if (CPU_ISSET(static_cast<unsigned>(cpu), &set)) {
            found[found[0] < 0 ? 0 : 1] = cpu;
        }
    }
    return {found[0], found[1] < 0 ? found[0] : found[1]};
}

bool may_use(int cpu) {
    cpu_set_t set;
    return cpu >= 0 && cpu < CPU_SETSIZE && ::sched_getaffinity(0, sizeof(set), &set) == 0 &&
           CPU_ISSET(static_cast<unsigned>(cpu), &set);
}

void add_options(CLI::App& program, Options& options) {
    program.add_option("--cpus", options.cpus, "of server and client (the first two allowed)")
        ->delimiter(',')
        ->expected(2)
        ->type_name("CPU,CPU");
    program.add_option("-t,--time", options.plan.seconds, "seconds of each phase (5)")
        ->check(CLI::Range(0.01, 86400.0));
    program.add_option("-m,--msg-size", options.plan.message_bytes, "bytes of a message (64)")
        ->check(CLI::Range(1, 65536));
    program.add_option("--profile", options.plan.profile, "of both ends (isolated)")
        ->check([](const std::string& name) {
            return find_profile(name) != nullptr ? std::string() : "there are: " + profile_names();
        });
    program.add_option("--max-us", options.max_us, "fail when a half round trip took longer")
        ->check(CLI::PositiveNumber);
    program.add_flag("-j,--json", options.json, "print one JSON object, schema smcu.jitter/1");
    program
        .add_option("--hdr",
                    options.hdr_prefix,
                    "percentiles in HdrHistogram's form: PREFIX-all.hgrm, PREFIX-clean.hgrm")
        ->type_name("PREFIX");
}

bool write_file(const std::string& path, const std::string& text) {
    std::FILE* file = std::fopen(path.c_str(), "we");
    const bool done =
        file != nullptr && std::fwrite(text.data(), 1, text.size(), file) == text.size();
    return file != nullptr && std::fclose(file) == 0 && done;
}

int run(const Options& options) {
    // What the library reads of the environment must not switch it off or send it elsewhere.
    for (const char* name : {"LD_PRELOAD", "SMCD_DISABLE"}) {
        ::unsetenv(name); // NOLINT(concurrency-mt-unsafe): one thread
    }
    ::setenv("SMCD_LEARN", "0", 1); // NOLINT(concurrency-mt-unsafe): one thread
    Results results;
    results.plan = options.plan;
    const double per_ns = ticks_per_ns();
    results.machine = watch_machine(options.plan, per_ns);
    results.transport = watch_transport(options.plan, per_ns);
    std::fputs((options.json ? json_of(results) : text_of(results)).c_str(), stdout);
    const TransportReport& transport = results.transport;
    if (!options.hdr_prefix.empty() &&
        !(write_file(options.hdr_prefix + "-all.hgrm", transport.all.percentile_text()) &&
          write_file(options.hdr_prefix + "-clean.hgrm", transport.clean.percentile_text()))) {
        tools::complain("jitter", "cannot write " + options.hdr_prefix + "-*.hgrm");
        return tools::kExitFailure;
    }
    if (!transport.accelerated) {
        return tools::kExitOnTcp;
    }
    const double max_us = static_cast<double>(transport.all.max_ns()) / 1000;
    const bool late = options.max_us > 0 && max_us > options.max_us;
    return late || !transport.reason.empty() ? tools::kExitFailure : tools::kExitOk;
}

int run_program(const std::vector<std::string>& arguments) {
    CLI::App program("Tell the noise of the machine and of the transport apart.", "smcu jitter");
    program.footer(
        "Exit status: 0 done, 1 failed, or a half round trip took longer than --max-us, 2 wrong "
        "usage,\n10 the connection stayed on TCP.");
    Options options;
    add_options(program, options);
    try {
        program.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) {
            return program.exit(error);
        }
        tools::complain("jitter", std::string(error.what()) + "; --help tells more");
        return tools::kExitUsage;
    }
    options.plan.cpus = options.cpus.empty() ? allowed_cpus()
                                             : std::array<int, 2>{options.cpus[0], options.cpus[1]};
    if (!may_use(options.plan.cpus[0]) || !may_use(options.plan.cpus[1]) ||
        options.plan.cpus[0] == options.plan.cpus[1]) {
        tools::complain("jitter", "it takes two CPUs that this process may use");
        return tools::kExitUsage;
    }
    return run(options);
}

} // namespace
} // namespace smcd::jitter

int main(int argc, char** argv) {
    try {
        return smcd::jitter::run_program({argv + 1, argv + argc});
    } catch (const std::exception& error) {
        smcd::tools::complain("jitter", error.what());
        return smcd::tools::kExitFailure;
    }
}
