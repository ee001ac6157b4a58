// `smcu stats`: counters of each process under the library, and their sum. Floor 4, docs/smcu.md
// "smcu stats".
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "smcd/base/reason.hpp"
#include "smcd/tools/command.hpp"
#include "smcd/tools/process_totals.hpp"
#include "smcd/tools/remote_memory.hpp"
#include "smcd/tools/text.hpp"

namespace smcd::tools {
namespace {

constexpr unsigned kScanSecondsMax = 30;

struct StatsOptions {
    std::string action = "show";
    bool json = false;
    int pid = 0;
};

/// The code itself where it has no name here: two such codes stay two.
std::string name_of(std::uint32_t code) {
    const std::string_view name = reason_name(static_cast<Reason>(code));
    return name == "unknown" ? hex(code) : std::string(name);
}

nlohmann::ordered_json totals_json(const ProcessTotals& totals) {
    const ProcessCounters& sums = totals.sums;
    nlohmann::ordered_json reasons = nlohmann::ordered_json::object();
    for (const auto& [code, count] : totals.tcp_reasons) {
        reasons[name_of(code)] = count;
    }
    return {
        {"accelerated",        sums.accelerated       },
        {"tcp",                sums.tcp               },
        {"tcp_reasons",        reasons                },
        {"live_smc",           totals.live_smc        },
        {"live_tcp",           totals.live_tcp        },
        {"listeners",          sums.listeners         },
        {"handshake_errors",   sums.handshake_errors  },
        {"dmb_tx_bytes",       sums.dmb_tx_bytes      },
        {"dmb_rx_bytes",       sums.dmb_rx_bytes      },
        {"tcp_tx_bytes",       sums.tcp_tx_bytes      },
        {"tcp_rx_bytes",       sums.tcp_rx_bytes      },
        {"wakeups_sent",       sums.wakeups_sent      },
        {"wakeups_suppressed", sums.wakeups_suppressed},
        {"sleeps",             sums.sleeps            },
        {"spin_hits",          sums.spin_hits         },
        {"spin_misses",        sums.spin_misses       }
    };
}

std::string stats_json(const std::vector<ProcessTotals>& processes) {
    nlohmann::ordered_json document;
    document["schema"] = "smcu.stats/1";
    document["processes"] = nlohmann::ordered_json::array();
    for (const ProcessTotals& process : processes) {
        nlohmann::ordered_json row{
            {"pid",      process.pid     },
            {"command",  process.command },
            {"readable", process.readable}
        };
        row.update(totals_json(process));
        document["processes"].push_back(std::move(row));
    }
    document["total"] = totals_json(total_of(processes));
    return document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + '\n';
}

std::vector<std::string> row_of(const ProcessTotals& totals, std::string name) {
    const ProcessCounters& sums = totals.sums;
    std::vector<std::string> row{std::move(name)};
    for (const std::uint64_t value : {sums.accelerated,
                                      totals.live_smc,
                                      sums.tcp,
                                      totals.live_tcp,
                                      sums.dmb_rx_bytes,
                                      sums.dmb_tx_bytes,
                                      sums.wakeups_sent,
                                      sums.wakeups_suppressed,
                                      sums.sleeps,
                                      sums.spin_hits,
                                      sums.spin_misses}) {
        row.push_back(totals.readable ? std::to_string(value) : "?");
    }
    return row;
}

std::string reasons_text(const ProcessTotals& total) {
    if (total.tcp_reasons.empty()) {
        return {};
    }
    Table table({"Connections", "Reason", "In words"});
    table.align_right(0);
    for (const auto& [code, count] : total.tcp_reasons) {
        table.add({std::to_string(count),
                   name_of(code),
                   std::string(reason_text(static_cast<Reason>(code)))});
    }
    return "\nConnections that stayed on TCP:\n" + table.render();
}

std::string stats_text(const std::vector<ProcessTotals>& processes) {
    const std::vector<std::string> heading{"PID/Command",
                                           "SMC-D",
                                           "live",
                                           "TCP",
                                           "live",
                                           "DMB rx bytes",
                                           "DMB tx bytes",
                                           "Wake-ups",
                                           "suppressed",
                                           "Sleeps",
                                           "Spin hits",
                                           "misses"};
    Table table(heading);
    for (std::size_t i = 1; i < heading.size(); ++i) {
        table.align_right(i);
    }
    for (const ProcessTotals& process : processes) {
        table.add(row_of(process, std::to_string(process.pid) + '/' + process.command));
    }
    const ProcessTotals total = total_of(processes);
    table.add(row_of(total, "total"));
    return table.render() + reasons_text(total);
}

int print(const StatsOptions& options) {
    const ScanWatchdog watchdog(kScanSecondsMax);
    const ShimSnapshot snapshot = scan_processes();
    std::vector<ProcessTotals> processes = add_up(snapshot, list_connections(snapshot));
    if (options.pid != 0) {
        std::erase_if(processes, [&](const ProcessTotals& p) { return p.pid != options.pid; });
        if (processes.empty()) {
            complain("stats", "no process " + std::to_string(options.pid) + " under the library");
            return kExitFailure;
        }
    }
    const bool json = options.json || options.action == "json";
    const std::string text = json ? stats_json(processes) : stats_text(processes);
    std::fputs(text.c_str(), stdout);
    if (snapshot.denied != 0) {
        complain("stats",
                 std::to_string(snapshot.denied) + " process(es) may not be read; run as root");
    }
    return kExitOk;
}

} // namespace

void add_stats(CLI::App& program, int& status) {
    auto options = std::make_shared<StatsOptions>();
    CLI::App* stats =
        program.add_subcommand("stats", "Show counters of programs under the library");
    stats->footer("Processes that have ended are not shown; SMCD_STATS_FILE keeps a line of each.");
    stats->add_option("action", options->action, "show (default) or json")
        ->check(CLI::IsMember({"show", "json"}));
    stats->add_flag("-j,--json", options->json, "print one JSON object, schema smcu.stats/1");
    stats->add_option("-p,--pid", options->pid, "this process alone")->type_name("PID");
    stats->callback([options, &status] { status = print(*options); });
}

} // namespace smcd::tools
