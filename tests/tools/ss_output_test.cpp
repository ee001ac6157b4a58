#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "smcd/tools/ss_output.hpp"
#include "smcd/tools/text.hpp"

namespace smcd::tools {
namespace {

Connection sample(Mode mode) {
    Connection connection;
    connection.pid = 17;
    connection.pids = {17, 18};
    connection.command = "prog";
    connection.uid = 1000;
    connection.inode = 99;
    connection.state = "ACTIVE";
    connection.local = "127.0.0.1:1";
    connection.peer = "127.0.0.1:2";
    connection.mode = mode;
    connection.rx_bytes = 10;
    connection.tx_bytes = 20;
    connection.block = ConnView{};
    if (mode == Mode::tcp) {
        connection.block->reason = 0x03010000;
        connection.block->peer_reason = 0x05000000;
    } else {
        connection.device = "loopback";
    }
    return connection;
}

std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    for_each_line(text, [&](std::string_view line) { lines.emplace_back(line); });
    return lines;
}

TEST(SsOutputTest, TheTableBeginsWithTheColumnsOfSmcss) {
    const auto lines = lines_of(connections_table({sample(Mode::smcd), sample(Mode::tcp)}, false));

    ASSERT_EQ(lines.size(), 3U);
    EXPECT_TRUE(
        lines[0].starts_with("State   UID   Inode  Local Address  Peer Address  Intf  Mode"));
    EXPECT_NE(lines[1].find("0000  SMCD "), std::string::npos);
    EXPECT_NE(lines[1].find("loopback"), std::string::npos);
    EXPECT_NE(lines[1].find("17/prog +1"), std::string::npos);
    EXPECT_NE(lines[2].find("TCP 0x03010000/0x05000000"), std::string::npos);
    EXPECT_NE(lines[2].find("the peer says"), std::string::npos);
}

TEST(SsOutputTest, ExtendedRowsFollowTheirConnection) {
    Connection bare = sample(Mode::tcp);
    bare.block.reset();

    const auto lines = lines_of(connections_table({bare, sample(Mode::smcd)}, true));

    ASSERT_EQ(lines.size(), 4U);
    EXPECT_NE(lines[3].find("txprod=0000:00000000"), std::string::npos);
}

TEST(SsOutputTest, TheJsonHasTheDocumentedMembers) {
    const auto document = nlohmann::json::parse(
        connections_json({sample(Mode::smcd), sample(Mode::tcp)}, JsonForm::indented));

    EXPECT_EQ(document.at("schema"), "smcu.ss/1");
    ASSERT_EQ(document.at("connections").size(), 2U);
    for (const auto& row : document.at("connections")) {
        for (const char* member : {"pid",
                                   "pids",
                                   "command",
                                   "fd",
                                   "uid",
                                   "inode",
                                   "state",
                                   "local",
                                   "peer",
                                   "interface",
                                   "mode",
                                   "device",
                                   "rx_bytes",
                                   "tx_bytes",
                                   "reason",
                                   "reason_name",
                                   "reason_code",
                                   "peer_reason_name",
                                   "peer_reason_code",
                                   "wakeups_sent",
                                   "wakeups_suppressed",
                                   "sleeps",
                                   "spin_hits",
                                   "spin_misses",
                                   "tx_producer",
                                   "tx_peer_consumer",
                                   "rx_peer_producer",
                                   "rx_consumer"}) {
            EXPECT_TRUE(row.contains(member)) << member;
        }
    }
    EXPECT_EQ(document["connections"][0]["mode"], "SMCD");
    EXPECT_EQ(document["connections"][1]["mode"], "TCP");
    EXPECT_EQ(document["connections"][1]["reason_code"], "0x03010000");
}

TEST(SsOutputTest, OneLineIsOneLine) {
    const std::string text = connections_json({sample(Mode::smcd)}, JsonForm::one_line);

    EXPECT_EQ(lines_of(text).size(), 1U);
    EXPECT_TRUE(text.ends_with('\n'));
}

TEST(SsOutputTest, NumbersFromABrokenProcessDoNoHarm) {
    Connection connection = sample(Mode::smcd);
    connection.block->size_class_local = 0xffffffff;
    connection.block->reason = 0xffffffff;
    connection.block->tx_producer = ~0ULL;
    connection.command = "\xff\xfe";

    const std::string json = connections_json({connection}, JsonForm::indented);
    const std::string table = connections_table({connection}, true);

    EXPECT_EQ(nlohmann::json::parse(json)["connections"][0]["dmb_bytes"], 0);
    EXPECT_NE(table.find("txprod=ffff:ffffffff"), std::string::npos);
}

} // namespace
} // namespace smcd::tools
