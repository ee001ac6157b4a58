// What events of the fabric do to connections, seen from both ends of one. Floor 4.
#include <poll.h>
#include <smcd/smcd.h>

#include <cstdlib>
#include <optional>

#include <gtest/gtest.h>

#include "devices/ism/ism.hpp"
#include "smcd/library/handles.hpp"
#include "tests/library/peers.hpp"

namespace smcd::library::test {
namespace {

constexpr std::uint64_t kInfo = 0x0042'1234'5678ULL; ///< VLAN id and link group id, as they come

std::uint64_t info_with(std::uint64_t code) {
    return kInfo | code << dev::kSmcdInfoCodeShift;
}

class EventsTest : public ::testing::Test {
protected:
    EventsTest() { ::setenv("SMCD_DEVICES", "ism", 1); }

    ~EventsTest() override { ::unsetenv("SMCD_DEVICES"); }

    static bool on_tcp(const smcd_sock* sock) { return sock->socket->phase() == Phase::tcp; }

    static void wait_for_tcp(const smcd_sock* sock) {
        while (!on_tcp(sock)) {
            ::poll(nullptr, 0, 1); // under the watchdog
        }
    }

    static Result<void> tell_peer(const smcd_sock* sock, std::uint32_t code, std::uint64_t info) {
        return sock->socket->device->signal_event(sock->socket->peer_gid, code, info);
    }
};

TEST_F(EventsTest, AShutdownTakesTheConnectionsOfItsLinkGroupToTcp) {
    Line line;
    run_pair(
        [&](smcd_ctx*, smcd_sock* sock) {
            SMCD_CHILD_CHECK(::smcd_wait_verdict(sock, -1) == 1);
            SMCD_CHILD_CHECK(::smcd_send(sock, "a", 1, 0) == 1);
            line.child_hears();
            SMCD_CHILD_CHECK(tell_peer(sock, dev::kSmcdShutdown, info_with(0)));
            wait_for_tcp(sock);
            SMCD_CHILD_CHECK(::smcd_send(sock, "b", 1, 0) == 1);
            char byte = 0;
            SMCD_CHILD_CHECK(::smcd_recv(sock, &byte, 1, 0) == 1 && byte == 'c');
        },
        [&](smcd_ctx*, smcd_sock* sock) {
            ASSERT_EQ(::smcd_wait_verdict(sock, -1), 1);
            line.parent_says();
            wait_for_tcp(sock);
            EXPECT_EQ(sock->socket->live_block().reason.load(),
                      static_cast<std::uint32_t>(Reason::device_lost));
            std::array<char, 2> bytes{};
            EXPECT_EQ(::smcd_recv(sock, bytes.data(), 2, MSG_WAITALL), 2);
            EXPECT_EQ(bytes, (std::array<char, 2>{'a', 'b'}));
            EXPECT_EQ(::smcd_send(sock, "c", 1, 0), 1);
        });
}

TEST_F(EventsTest, ATestOfTheLinkIsAnsweredAndOtherCodesAreNot) {
    run_pair(
        [&](smcd_ctx*, smcd_sock* sock) {
            SMCD_CHILD_CHECK(::smcd_wait_verdict(sock, -1) == 1);
            char byte = 0;
            SMCD_CHILD_CHECK(::smcd_recv(sock, &byte, 1, 0) == 1);
            SMCD_CHILD_CHECK(!on_tcp(sock));
        },
        [&](smcd_ctx*, smcd_sock* sock) {
            ASSERT_EQ(::smcd_wait_verdict(sock, -1), 1);
            const auto doorbells = *dev::DoorbellTable::create();
            const auto member = *dev::IsmDevice::create(*doorbells, {});
            const Gid peer = sock->socket->peer_gid;
            ASSERT_TRUE(member->link_group_id());
            ASSERT_TRUE(member->signal_event(peer, 0x81, info_with(dev::kSmcdTestRequest)));
            ASSERT_TRUE(
                member->signal_event(peer, dev::kSmcdTestLink, info_with(dev::kSmcdTestResponse)));
            ASSERT_TRUE(
                member->signal_event(peer, dev::kSmcdTestLink, info_with(dev::kSmcdTestRequest)));

            std::optional<dev::FabricEvent> answer;
            while (!(answer = member->next_event())) {
                pollfd news{member->poll_fd(), POLLIN, 0};
                ASSERT_EQ(::poll(&news, 1, -1), 1); // under the watchdog
                member->service();
            }

            EXPECT_EQ(answer->type, dev::FabricEventType::software);
            EXPECT_EQ(answer->code, dev::kSmcdTestLink);
            EXPECT_EQ(answer->token, peer.high);
            EXPECT_EQ(answer->info, info_with(dev::kSmcdTestResponse));
            EXPECT_FALSE(member->next_event());
            EXPECT_EQ(::smcd_send(sock, "x", 1, 0), 1);
        });
}

} // namespace
} // namespace smcd::library::test
