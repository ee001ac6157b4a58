// Counters per process: what a process counted for connections that are over, plus those that live.
// Floor 4.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "smcd/tools/connections.hpp"
#include "smcd/tools/shim_memory.hpp"

namespace smcd::tools {

struct ProcessTotals {
    pid_t pid = 0;
    std::string command;
    bool readable = false; ///< the process's own counters could be read
    std::uint64_t live_smc = 0;
    std::uint64_t live_tcp = 0;
    ProcessCounters sums;                               ///< reasons are in tcp_reasons
    std::map<std::uint32_t, std::uint64_t> tcp_reasons; ///< code -> connections since the start
};

/// One entry per process of the snapshot, in its order. A connection that several processes hold
/// counts for the one that its row names.
[[nodiscard]] std::vector<ProcessTotals> add_up(const ShimSnapshot& snapshot,
                                                const std::vector<Connection>& connections);

/// The sum over all processes; pid 0.
[[nodiscard]] ProcessTotals total_of(const std::vector<ProcessTotals>& processes);

} // namespace smcd::tools
