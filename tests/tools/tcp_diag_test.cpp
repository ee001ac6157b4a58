#include <sys/socket.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "smcd/tools/tcp_diag.hpp"
#include "tests/tools/fake_process.hpp"

namespace smcd::tools {
namespace {

TEST(TcpDiagTest, AgreesWithProcAndKnowsBytes) {
    const testing::FakeProcess other([] {
        const testing::TcpTrio trio = testing::make_trio();
        char buffer[3];
        const bool moved = ::send(trio.client, "abc", 3, 0) == 3 &&
                           ::recv(trio.server, buffer, 3, MSG_WAITALL) == 3;
        return testing::FakeProcess::Numbers{
            trio.inodes[0], trio.inodes[1], trio.inodes[2], moved ? 1U : 0U};
    });
    ASSERT_EQ(other.numbers()[3], 1U);

    const auto diag = read_tcp_diag();
    if (!diag) {
        GTEST_SKIP() << "no sock_diag here";
    }
    const TcpTable proc = read_tcp_table(::getpid());

    for (int i = 0; i < 3; ++i) {
        const std::uint64_t inode = other.numbers()[static_cast<std::size_t>(i)];
        ASSERT_TRUE(diag->contains(inode) && proc.contains(inode));
        const TcpSocket& one = diag->at(inode);
        const TcpSocket& two = proc.at(inode);
        EXPECT_EQ(one.local, two.local);
        EXPECT_EQ(one.peer, two.peer);
        EXPECT_EQ(one.state, two.state);
        EXPECT_EQ(one.uid, two.uid);
    }
    EXPECT_EQ(diag->at(other.numbers()[2]).rx_bytes, 3U);
}

} // namespace
} // namespace smcd::tools
