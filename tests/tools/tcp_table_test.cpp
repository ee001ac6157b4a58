#include <unistd.h>

#include <gtest/gtest.h>

#include "smcd/tools/tcp_table.hpp"

namespace smcd::tools {
namespace {

constexpr const char* kLine = "   1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 "
                              "00000000  1000        0 45678 1 "
                              "0000000000000000 20 4 30 10 -1";

TEST(TcpTableTest, ReadsALine) {
    const auto socket = parse_tcp_line(kLine, false);

    ASSERT_TRUE(socket);
    EXPECT_EQ(socket->local, "127.0.0.1:8080");
    EXPECT_EQ(socket->peer, "127.0.0.1:50000");
    EXPECT_EQ(socket->state, kTcpEstablished);
    EXPECT_EQ(socket->uid, 1000U);
    EXPECT_EQ(socket->inode, 45678U);
}

TEST(TcpTableTest, ReadsAddressesOfBothFamilies) {
    EXPECT_EQ(parse_tcp_address("0100007F:0050", false), "127.0.0.1:80");
    EXPECT_EQ(parse_tcp_address("00000000:0000", false), "0.0.0.0:0");
    EXPECT_EQ(parse_tcp_address("00000000000000000000000001000000:01BB", true), "[::1]:443");
    EXPECT_EQ(parse_tcp_address("0000000000000000FFFF00000100007F:0050", true),
              "[::ffff:127.0.0.1]:80");
    EXPECT_EQ(parse_tcp_address("B80D0120000000000000000001000000:0001", true), "[2001:db8::1]:1");
}

TEST(TcpTableTest, RefusesOtherAddresses) {
    for (const char* text : {"",
                             ":",
                             "0100007F",
                             "0100007F:",
                             "0100007F:005",
                             "0100007F:00500",
                             "0100007G:0050",
                             "0100007F-0050",
                             "+100007F:0050",
                             "0100007F:00 0"}) {
        EXPECT_EQ(parse_tcp_address(text, false), "") << text;
        EXPECT_EQ(parse_tcp_address(text, true), "") << text;
    }
}

TEST(TcpTableTest, RefusesOtherLines) {
    const std::string line = kLine;
    EXPECT_FALSE(
        parse_tcp_line("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when "
                       "retrnsmt   uid  timeout inode",
                       false));
    EXPECT_FALSE(parse_tcp_line("", false));
    EXPECT_FALSE(parse_tcp_line(line, true));
    // Whatever is missing at the end: never more than the line says.
    const std::size_t inode_end = line.find("45678") + 5;
    for (std::size_t size = 0; size < line.find("45678"); ++size) {
        EXPECT_FALSE(parse_tcp_line(line.substr(0, size), false)) << size;
    }
    EXPECT_TRUE(parse_tcp_line(line.substr(0, inode_end), false));
}

TEST(TcpTableTest, NamesStates) {
    EXPECT_EQ(tcp_state_word(kTcpEstablished), "ACTIVE");
    EXPECT_EQ(tcp_state_word(kTcpListen), "LISTEN");
    EXPECT_EQ(tcp_state_word(8), "CLOSEWAIT");
    EXPECT_EQ(tcp_state_word(0), "UNKNOWN");
    EXPECT_EQ(tcp_state_word(255), "UNKNOWN");
}

TEST(TcpTableTest, FindsBeacons) {
    EXPECT_EQ(
        parse_beacon_line("0000000000000000: 00000002 00000000 00000000 0002 01 22 @smcd/l/4711"),
        4711U);
    EXPECT_EQ(parse_beacon_line("0: 2 0 0 2 1 22 @smcd/g/4712"), 4712U);
    for (const char* line : {"",
                             "@smcd/",
                             "@smcd/l",
                             "@smcd/l/",
                             "@smcd/l/x",
                             "@smcd/r/12",
                             "@smcd/l/1x",
                             "x @smcd/ll/1",
                             "x /run/@smcd/l/1",
                             "Num RefCount Path"}) {
        EXPECT_FALSE(parse_beacon_line(line)) << line;
    }
}

TEST(TcpTableTest, ReadsTheKernelsTables) {
    constexpr pid_t kNobody = 0x3fffffff;

    EXPECT_NO_FATAL_FAILURE(read_tcp_table(::getpid()));
    EXPECT_TRUE(read_tcp_table(kNobody).empty());
    EXPECT_TRUE(read_beacons(kNobody).empty());
}

} // namespace
} // namespace smcd::tools
