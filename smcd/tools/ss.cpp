// `smcu ss`: the socket table. Floor 4, docs/smcu.md "smcu ss".
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "smcd/tools/command.hpp"
#include "smcd/tools/connections.hpp"
#include "smcd/tools/proc_files.hpp"
#include "smcd/tools/remote_memory.hpp"
#include "smcd/tools/ss_output.hpp"

namespace smcd::tools {
namespace {

constexpr unsigned kScanSecondsMax = 30;

struct SsOptions {
    bool all = false;
    bool listening = false;
    bool fallback = false;
    bool accelerated = false;
    bool extended = false;
    bool json = false;
    bool watch = false;
    double interval_s = 1.0;
    int pid = 0;
};

bool wanted(const Connection& connection, const SsOptions& options) {
    if (options.pid != 0 &&
        std::find(connection.pids.begin(), connection.pids.end(), options.pid) ==
            connection.pids.end()) {
        return false;
    }
    if (options.all) {
        return true;
    }
    if (options.listening || options.fallback || options.accelerated) {
        return (options.listening && connection.mode == Mode::listen) ||
               (options.fallback && connection.mode == Mode::tcp) ||
               (options.accelerated && connection.mode == Mode::smcd);
    }
    return connection.mode != Mode::listen;
}

/// What the table cannot show, on stderr, so that an empty table is not taken for the truth.
void report_gaps(const ShimSnapshot& snapshot) {
    if (snapshot.denied != 0) {
        complain("ss",
                 std::to_string(snapshot.denied) +
                     " process(es) under the library may not be read: run as root, or see "
                     "kernel.yama.ptrace_scope");
    }
    if (snapshot.foreign != 0) {
        complain("ss",
                 std::to_string(snapshot.foreign) +
                     " process(es) run another version of the library, or its pages are damaged");
    }
}

int print_once(const SsOptions& options) {
    const ScanWatchdog watchdog(kScanSecondsMax);
    // The whole machine even for one process: the others tell who else has its sockets open.
    const ShimSnapshot snapshot = scan_processes();
    std::vector<Connection> connections = list_connections(snapshot);
    std::erase_if(connections, [&](const Connection& c) { return !wanted(c, options); });
    if (options.pid != 0) {
        for (Connection& connection : connections) {
            connection.pid = options.pid;
            connection.command = command_of(options.pid);
        }
    }
    const JsonForm form = options.watch ? JsonForm::one_line : JsonForm::indented;
    const std::string text = options.json ? connections_json(connections, form)
                                          : connections_table(connections, options.extended);
    std::fputs(text.c_str(), stdout);
    std::fflush(stdout);
    report_gaps(snapshot);
    return std::ferror(stdout) == 0 ? kExitOk : kExitFailure;
}

void wait(double seconds) {
    timespec pause{};
    pause.tv_sec = static_cast<time_t>(seconds);
    pause.tv_nsec = static_cast<long>((seconds - static_cast<double>(pause.tv_sec)) * 1e9);
    ::nanosleep(&pause, nullptr);
}

int print(const SsOptions& options) {
    if (options.pid != 0 && ::access(("/proc/" + std::to_string(options.pid)).c_str(), F_OK) != 0) {
        complain("ss", "no process " + std::to_string(options.pid));
        return kExitFailure;
    }
    int status = print_once(options);
    while (options.watch && status == kExitOk) {
        wait(options.interval_s);
        const bool on_terminal = ::isatty(STDOUT_FILENO) == 1 && !options.json;
        std::fputs(on_terminal ? "\033[H\033[2J" : "", stdout);
        status = print_once(options);
    }
    return status;
}

} // namespace

void add_ss(CLI::App& program, int& status) {
    auto options = std::make_shared<SsOptions>();
    CLI::App* ss =
        program.add_subcommand("ss", "Show the TCP sockets of programs under the library");
    ss->footer("Without -a, -l, -t, -s: all connections, no listeners.\n"
               "Mode TCP is followed by this side's and the peer's reason; see 'smcu explain'.");
    ss->add_flag("-a,--all", options->all, "connections and listeners");
    ss->add_flag("-l,--listening", options->listening, "listeners");
    ss->add_flag("-t,--tcp,--fallback", options->fallback, "connections that stay on TCP");
    ss->add_flag("-s,--smc", options->accelerated, "accelerated connections");
    ss->add_flag("-e,--extended", options->extended, "cursors, flags, tokens and counters");
    ss->add_flag("-j,--json",
                 options->json,
                 "print JSON, schema smcu.ss/1; with --watch one line each time");
    ss->add_option("-p,--pid", options->pid, "sockets that this process has open")
        ->type_name("PID");
    ss->add_flag("-w,--watch", options->watch, "print again and again");
    ss->add_option("--interval", options->interval_s, "seconds between two prints (1)")
        ->type_name("SECONDS")
        ->check(CLI::Range(0.1, 86400.0));
    ss->callback([options, &status] { status = print(*options); });
}

} // namespace smcd::tools
