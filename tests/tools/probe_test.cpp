#include <netinet/in.h>
#include <sys/socket.h>

#include <gtest/gtest.h>

#include "smcd/base/unique_fd.hpp"
#include "smcd/tools/probe.hpp"

namespace smcd::tools {
namespace {

TEST(ProbeTest, SplitsTargets) {
    const auto plain = parse_target("localhost:80");
    const auto v6 = parse_target("[::1]:http");

    ASSERT_TRUE(plain && v6);
    EXPECT_EQ(plain->host, "localhost");
    EXPECT_EQ(plain->port, "80");
    EXPECT_EQ(v6->host, "::1");
    EXPECT_EQ(v6->port, "http");
}

TEST(ProbeTest, RefusesTextsWithoutHostOrPort) {
    for (const char* text : {"", ":", "localhost", "localhost:", ":80", "::1:80", "[]:80"}) {
        EXPECT_FALSE(parse_target(text)) << text;
    }
}

TEST(ProbeTest, ReportsTravelAsOneLine) {
    ProbeReport report;
    report.verdict = Verdict::on_tcp;
    report.local = "127.0.0.1:1";
    report.peer = "127.0.0.1:2";
    report.device = "loopback";
    report.problem = "a \"quoted\"\nproblem";
    report.reason = 0x03010000;
    report.peer_reason = 7;
    report.rx_bytes = 1ULL << 60U;
    report.tx_bytes = 5;

    const std::string line = encode(report);
    const auto back = decode_report(line);

    EXPECT_EQ(line.find('\n'), std::string::npos);
    ASSERT_TRUE(back);
    EXPECT_EQ(back->verdict, report.verdict);
    EXPECT_EQ(back->local, report.local);
    EXPECT_EQ(back->peer, report.peer);
    EXPECT_EQ(back->device, report.device);
    EXPECT_EQ(back->problem, report.problem);
    EXPECT_EQ(back->reason, report.reason);
    EXPECT_EQ(back->peer_reason, report.peer_reason);
    EXPECT_EQ(back->rx_bytes, report.rx_bytes);
    EXPECT_EQ(back->tx_bytes, report.tx_bytes);
}

TEST(ProbeTest, RefusesOtherLines) {
    std::string out_of_range = encode(ProbeReport{});
    const auto at = out_of_range.find("\"verdict\":3");
    ASSERT_NE(at, std::string::npos);
    out_of_range.replace(at, 11, "\"verdict\":9");

    for (const std::string& line : {std::string(),
                                    std::string("{}"),
                                    std::string("[]"),
                                    std::string("nonsense"),
                                    std::string("{\"verdict\":\"x\"}"),
                                    out_of_range}) {
        EXPECT_FALSE(decode_report(line)) << line;
    }
}

TEST(ProbeTest, SaysWhyThereIsNoConnection) {
    // Bound but not listening: nobody else can answer at this port.
    const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    socklen_t length = sizeof(address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    ASSERT_EQ(::bind(fd.get(), generic, length), 0);
    ASSERT_EQ(::getsockname(fd.get(), generic, &length), 0);

    const ProbeReport report = probe({"127.0.0.1", std::to_string(ntohs(address.sin_port))}, {});

    EXPECT_EQ(report.verdict, Verdict::no_connection);
    EXPECT_EQ(report.problem, "Connection refused");
}

} // namespace
} // namespace smcd::tools
