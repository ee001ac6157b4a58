#include "smcd/tools/process_totals.hpp"

#include <array>
#include <unordered_map>

namespace smcd::tools {
namespace {

using Counter = std::uint64_t ProcessCounters::*;

constexpr std::array<Counter, 14> kCounters{
    &ProcessCounters::accelerated,
    &ProcessCounters::tcp,
    &ProcessCounters::live,
    &ProcessCounters::listeners,
    &ProcessCounters::handshake_errors,
    &ProcessCounters::dmb_tx_bytes,
    &ProcessCounters::dmb_rx_bytes,
    &ProcessCounters::tcp_tx_bytes,
    &ProcessCounters::tcp_rx_bytes,
    &ProcessCounters::wakeups_sent,
    &ProcessCounters::wakeups_suppressed,
    &ProcessCounters::sleeps,
    &ProcessCounters::spin_hits,
    &ProcessCounters::spin_misses,
};

void add_live(ProcessTotals& totals, const Connection& connection) {
    if (connection.mode == Mode::tcp) {
        ++totals.live_tcp;
        totals.sums.tcp_tx_bytes += connection.tx_bytes;
        totals.sums.tcp_rx_bytes += connection.rx_bytes;
        return;
    }
    if (connection.mode != Mode::smcd) {
        return;
    }
    const ConnView& block = *connection.block;
    ++totals.live_smc;
    totals.sums.dmb_tx_bytes += block.tx_bytes;
    totals.sums.dmb_rx_bytes += block.rx_bytes;
    totals.sums.wakeups_sent += block.wakeups_sent;
    totals.sums.wakeups_suppressed += block.wakeups_suppressed;
    totals.sums.sleeps += block.sleeps;
    totals.sums.spin_hits += block.spin_hits;
    totals.sums.spin_misses += block.spin_misses;
}

} // namespace

std::vector<ProcessTotals> add_up(const ShimSnapshot& snapshot,
                                  const std::vector<Connection>& connections) {
    std::vector<ProcessTotals> list;
    std::unordered_map<pid_t, std::size_t> places;
    for (const ShimProcess& process : snapshot.processes) {
        ProcessTotals totals;
        totals.pid = process.pid;
        totals.command = process.command;
        totals.readable = process.counters.has_value();
        totals.sums = process.counters.value_or(ProcessCounters{});
        for (const auto& [code, count] : totals.sums.reasons) {
            totals.tcp_reasons[code] += count;
        }
        places.emplace(process.pid, list.size());
        list.push_back(std::move(totals));
    }
    for (const Connection& connection : connections) {
        const auto place = places.find(connection.pid);
        if (place != places.end()) {
            add_live(list[place->second], connection);
        }
    }
    return list;
}

ProcessTotals total_of(const std::vector<ProcessTotals>& processes) {
    ProcessTotals total;
    total.readable = true;
    for (const ProcessTotals& process : processes) {
        total.live_smc += process.live_smc;
        total.live_tcp += process.live_tcp;
        for (const Counter counter : kCounters) {
            total.sums.*counter += process.sums.*counter;
        }
        for (const auto& [code, count] : process.tcp_reasons) {
            total.tcp_reasons[code] += count;
        }
    }
    return total;
}

} // namespace smcd::tools
