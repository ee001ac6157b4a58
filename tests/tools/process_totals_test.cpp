#include <gtest/gtest.h>

#include "smcd/tools/process_totals.hpp"

namespace smcd::tools {
namespace {

ShimProcess process_with(pid_t pid, std::uint64_t accelerated, std::uint64_t dmb_rx_bytes) {
    ShimProcess process;
    process.pid = pid;
    process.command = "p" + std::to_string(pid);
    process.counters = ProcessCounters{};
    process.counters->accelerated = accelerated;
    process.counters->dmb_rx_bytes = dmb_rx_bytes;
    process.counters->reasons = {
        {7, 2},
        {8, 1}
    };
    return process;
}

Connection accelerated_of(pid_t pid, std::uint64_t rx_bytes) {
    Connection connection;
    connection.pid = pid;
    connection.mode = Mode::smcd;
    connection.block = ConnView{};
    connection.block->rx_bytes = rx_bytes;
    connection.block->spin_hits = 3;
    return connection;
}

TEST(ProcessTotalsTest, AddsWhatLivesToWhatIsOver) {
    ShimSnapshot snapshot;
    snapshot.processes = {process_with(1, 5, 100), process_with(2, 1, 10)};
    Connection on_tcp;
    on_tcp.pid = 2;
    on_tcp.mode = Mode::tcp;
    on_tcp.tx_bytes = 9;
    const std::vector<Connection> connections{
        accelerated_of(1, 1000), accelerated_of(1, 1), on_tcp};

    const auto list = add_up(snapshot, connections);

    ASSERT_EQ(list.size(), 2U);
    EXPECT_EQ(list[0].sums.dmb_rx_bytes, 1101U);
    EXPECT_EQ(list[0].sums.spin_hits, 6U);
    EXPECT_EQ(list[0].live_smc, 2U);
    EXPECT_EQ(list[0].live_tcp, 0U);
    EXPECT_EQ(list[1].live_tcp, 1U);
    EXPECT_EQ(list[1].sums.tcp_tx_bytes, 9U);
    const ProcessTotals total = total_of(list);
    EXPECT_EQ(total.sums.accelerated, 6U);
    EXPECT_EQ(total.sums.dmb_rx_bytes, 1111U);
    EXPECT_EQ(total.tcp_reasons.at(7), 4U);
    EXPECT_EQ(total.tcp_reasons.at(8), 2U);
}

TEST(ProcessTotalsTest, AProcessThatCannotBeReadIsListedAsSuch) {
    ShimSnapshot snapshot;
    snapshot.processes = {process_with(1, 5, 100)};
    snapshot.processes[0].counters.reset();

    const auto list = add_up(snapshot, {});

    ASSERT_EQ(list.size(), 1U);
    EXPECT_FALSE(list[0].readable);
}

TEST(ProcessTotalsTest, AConnectionOfAnUnknownProcessIsIgnored) {
    const auto list = add_up(ShimSnapshot{}, {accelerated_of(1, 1)});

    EXPECT_TRUE(list.empty());
    EXPECT_EQ(total_of(list).sums.dmb_rx_bytes, 0U);
}

} // namespace
} // namespace smcd::tools
