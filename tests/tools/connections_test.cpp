#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include <gtest/gtest.h>

#include "devices/api/device_kind.hpp"
#include "smcd/base/reason.hpp"
#include "smcd/core/cdc.hpp"
#include "smcd/tools/connections.hpp"
#include "smcd/tools/process_totals.hpp"
#include "tests/tools/fake_process.hpp"

namespace smcd::tools {
namespace {

using testing::FakeProcess;
using testing::fill;
using testing::make_trio;
using testing::publish_chunk;
using testing::publish_page;
using testing::TcpTrio;

/// A process with a listener, an accelerated client and a server on TCP; numbers: their inodes.
FakeProcess::Numbers publish_trio() {
    const TcpTrio trio = make_trio();
    publish_page();
    ConnChunk& chunk = publish_chunk();
    fill(chunk.blocks[0], Phase::smc, trio.inodes[1]);
    chunk.blocks[0].rx.bytes.store(1000);
    chunk.blocks[0].tx.bytes.store(2000);
    fill(chunk.blocks[1], Phase::tcp, trio.inodes[2]);
    chunk.blocks[1].reason.store(0x03010000);
    // Leftovers: no socket of this process has that inode.
    fill(chunk.blocks[2], Phase::smc, 3);
    return {trio.inodes[0], trio.inodes[1], trio.inodes[2]};
}

const Connection* find(const std::vector<Connection>& list, std::uint64_t inode) {
    const auto found = std::find_if(
        list.begin(), list.end(), [&](const Connection& c) { return c.inode == inode; });
    return found == list.end() ? nullptr : &*found;
}

TEST(ConnectionsTest, JoinsBlocksAndTheKernelsTable) {
    const FakeProcess other(publish_trio);

    const auto list = list_connections(scan_processes(other.pid()));

    ASSERT_EQ(list.size(), 3U);
    const Connection* listener = find(list, other.numbers()[0]);
    const Connection* client = find(list, other.numbers()[1]);
    const Connection* server = find(list, other.numbers()[2]);
    ASSERT_TRUE(listener != nullptr && client != nullptr && server != nullptr);
    EXPECT_EQ(listener->mode, Mode::listen);
    EXPECT_EQ(listener->state, "LISTEN");
    EXPECT_FALSE(listener->has_beacon);
    EXPECT_EQ(client->mode, Mode::smcd);
    EXPECT_EQ(client->state, "ACTIVE");
    EXPECT_EQ(client->device, "loopback");
    EXPECT_EQ(client->rx_bytes, 1000U);
    EXPECT_EQ(client->tx_bytes, 2000U);
    EXPECT_EQ(client->uid, ::geteuid());
    EXPECT_EQ(client->pid, other.pid());
    EXPECT_EQ(client->peer, listener->local);
    EXPECT_EQ(why(*client), "");
    EXPECT_EQ(server->mode, Mode::tcp);
    EXPECT_EQ(server->state, "ACTIVE");
    EXPECT_EQ(server->local, client->peer);
    EXPECT_EQ(server->peer, client->local);
    EXPECT_NE(why(*server), "");
}

TEST(ConnectionsTest, ASharedSocketIsOneRowThatNamesItsCreator) {
    const FakeProcess parent([] {
        auto numbers = publish_trio();
        const pid_t child = ::fork();
        if (child == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            ::pause();
            ::_exit(0);
        }
        numbers.push_back(static_cast<std::uint64_t>(child));
        return numbers;
    });
    const auto child = static_cast<pid_t>(parent.numbers().at(3));

    const auto list = list_connections(scan_processes());
    ::kill(child, SIGKILL);

    const Connection* client = find(list, parent.numbers()[1]);
    ASSERT_NE(client, nullptr);
    EXPECT_EQ(client->pid, parent.pid());
    EXPECT_EQ(client->pids.size(), 2U);
    EXPECT_TRUE(std::find(client->pids.begin(), client->pids.end(), child) != client->pids.end());
    EXPECT_EQ(std::count_if(list.begin(),
                            list.end(),
                            [&](const Connection& c) { return c.inode == client->inode; }),
              1);
}

// A connection left on TCP from the start is known by its number alone.
TEST(ConnectionsTest, ABlockWithoutAnInodeIsFoundByItsNumber) {
    const FakeProcess other([] {
        publish_page();
        ConnChunk& chunk = publish_chunk();
        const TcpTrio trio = make_trio();
        fill(chunk.blocks[0], Phase::tcp, 0);
        chunk.blocks[0].fd = trio.server;
        chunk.blocks[0].reason.store(static_cast<std::uint32_t>(Reason::peer_no_smc));
        return FakeProcess::Numbers{trio.inodes[1], trio.inodes[2]};
    });

    const auto list = list_connections(scan_processes(other.pid()));

    const Connection* client = find(list, other.numbers()[0]);
    const Connection* server = find(list, other.numbers()[1]);
    ASSERT_TRUE(client != nullptr && server != nullptr);
    EXPECT_FALSE(client->block);
    ASSERT_TRUE(server->block);
    EXPECT_EQ(server->block->reason, static_cast<std::uint32_t>(Reason::peer_no_smc));
}

// A child has the chunk too, and something else under that number.
TEST(ConnectionsTest, ANumberCountsInTheProcessThatMadeTheBlockAlone) {
    const FakeProcess parent([] {
        publish_page();
        ConnChunk& chunk = publish_chunk();
        const TcpTrio trio = make_trio();
        fill(chunk.blocks[0], Phase::tcp, 0);
        chunk.blocks[0].fd = trio.server;
        const pid_t child = ::fork();
        if (child == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            ::dup2(make_trio().server, trio.server);
            ::pause();
            ::_exit(0);
        }
        return FakeProcess::Numbers{trio.inodes[2], static_cast<std::uint64_t>(child)};
    });
    const auto child = static_cast<pid_t>(parent.numbers().at(1));
    const auto moved = [&](const std::vector<Connection>& list) {
        const Connection* server = find(list, parent.numbers()[0]);
        return server != nullptr && server->pids == std::vector<pid_t>{parent.pid()};
    };
    auto list = list_connections(scan_processes());
    while (!moved(list)) {
        list = list_connections(scan_processes());
    }
    ::kill(child, SIGKILL);

    const Connection* server = find(list, parent.numbers()[0]);
    ASSERT_NE(server, nullptr);
    EXPECT_TRUE(server->block);
    EXPECT_TRUE(std::none_of(list.begin(), list.end(), [&](const Connection& c) {
        return c.pids == std::vector<pid_t>{child} && c.block;
    }));
}

TEST(ConnectionsTest, ASocketThatTheLibraryDoesNotFollowIsShown) {
    const FakeProcess other([] {
        publish_page();
        const TcpTrio trio = make_trio();
        return FakeProcess::Numbers{trio.inodes[1]};
    });

    const auto list = list_connections(scan_processes(other.pid()));

    const Connection* client = find(list, other.numbers()[0]);
    ASSERT_NE(client, nullptr);
    EXPECT_EQ(client->mode, Mode::tcp);
    EXPECT_FALSE(client->block);
    EXPECT_NE(why(*client), "");
}

TEST(ConnectionsTest, AVanishedProcessLeavesNoRows) {
    ShimSnapshot snapshot;
    {
        const FakeProcess other(publish_trio);
        snapshot = scan_processes(other.pid());
    }

    EXPECT_TRUE(list_connections(snapshot).empty());
}

ConnView view_in(Phase phase, std::uint32_t sent = 0, std::uint32_t received = 0) {
    ConnView view;
    view.phase = phase;
    view.tx_flags = sent;
    view.rx_flags = received;
    return view;
}

TEST(ConnectionsTest, PhasesMapToModes) {
    EXPECT_EQ(mode_of(view_in(Phase::smc), kTcpEstablished), Mode::smcd);
    EXPECT_EQ(mode_of(view_in(Phase::connecting), 2), Mode::handshake);
    EXPECT_EQ(mode_of(view_in(Phase::handshake), kTcpEstablished), Mode::handshake);
    EXPECT_EQ(mode_of(view_in(Phase::settling), kTcpEstablished), Mode::tcp);
    EXPECT_EQ(mode_of(view_in(Phase::tcp), kTcpEstablished), Mode::tcp);
    EXPECT_EQ(mode_of(std::nullopt, kTcpEstablished), Mode::tcp);
    EXPECT_EQ(mode_of(std::nullopt, kTcpListen), Mode::listen);
}

TEST(ConnectionsTest, FlagsMapToTheStatesOfSmcss) {
    struct Row {
        std::uint32_t sent;
        std::uint32_t received;
        const char* state;
    };

    const std::vector<Row> rows{
        {0,                0,                "ACTIVE"         },
        {kPeerDoneWriting, 0,                "PEERCLOSEWAIT1" },
        {kPeerConnClosed,  0,                "PEERCLOSEWAIT1" },
        {0,                kPeerDoneWriting, "APPCLOSEWAIT1"  },
        {0,                kPeerConnClosed,  "APPCLOSEWAIT1"  },
        {kPeerDoneWriting, kPeerDoneWriting, "PEERCLOSEWAIT2" },
        {kPeerDoneWriting, kPeerConnClosed,  "APPFINCLOSEWAIT"},
        {0,                kPeerConnAbort,   "PROCESSABORT"   },
        {kPeerConnAbort,   0,                "PEERABORTWAIT"  },
    };
    for (const Row& row : rows) {
        EXPECT_EQ(state_word(view_in(Phase::smc, row.sent, row.received), kTcpEstablished),
                  row.state);
    }
    EXPECT_EQ(state_word(view_in(Phase::handshake), kTcpEstablished), "INIT");
    EXPECT_EQ(state_word(view_in(Phase::tcp), 8), "CLOSEWAIT");
    EXPECT_EQ(state_word(view_in(Phase::tcp), 0), "CLOSED");
}

TEST(ConnectionsTest, NamesDevices) {
    const auto name = [](dev::DeviceKind kind, std::uint16_t chid) {
        return dev::device_name(dev::DeviceId::of(dev::DeviceId{kind, Chid(chid)}.word()));
    };
    EXPECT_EQ(name(dev::DeviceKind::loopback, 0xFFFF), "loopback");
    EXPECT_EQ(name(dev::DeviceKind::ism, 0x0100), "ism");
    EXPECT_EQ(name(dev::DeviceKind::ism, 0x0101), "ism:0101");
    EXPECT_EQ(name(dev::DeviceKind::ism, 0xFF01), "ism:ff01");
    EXPECT_EQ(name(dev::DeviceKind::ivshmem, 0xFF01), "ivshmem");
    EXPECT_EQ(name(dev::DeviceKind::ivshmem, 0xFF02), "ivshmem:ff02");
    EXPECT_EQ(name(dev::DeviceKind{77}, 0xFF02), "chid 0xff02");
}

} // namespace
} // namespace smcd::tools
