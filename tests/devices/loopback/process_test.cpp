// Two processes: exchange, ping-pong over doorbells, and a peer that is killed. Floor 4.
#include <csignal>

#include "tests/devices/loopback/fixture.hpp"
#include "tests/devices/processes.hpp"

namespace smcd::dev::test {
namespace {

/// One side of a connection between two processes, as the engine would set it up.
struct Side {
    Party party;
    unsigned door = 0;
    Dmb own;
    RemoteDmb peer;

    /// Exchanges ids and tokens over the line; false when anything fails.
    bool set_up(Line& line) {
        const LinkGroupId me = party.group();
        line.tell(me);
        const auto other = line.hear<LinkGroupId>();
        const auto registered = party.register_for(other);
        if (!registered) {
            return false;
        }
        own = *registered;
        line.tell(own.token);
        const auto attached = party.device->attach_dmb(other, line.hear<DmbToken>());
        const auto acquired = party.doorbells->acquire();
        if (!attached || !acquired) {
            return false;
        }
        peer = *attached;
        door = *acquired;
        const bool exported = party.device->export_doorbell(peer, door).has_value();
        line.tell(door);
        peer_door = line.hear<unsigned>();
        return exported;
    }

    void signal() { party.device->signal(peer, std::uint64_t{1} << peer_door); }

    /// Sleeps until our DMB is signalled; false when the watchdog ended it.
    bool sleep() {
        DoorbellTable& table = *party.doorbells;
        for (;;) {
            table.begin_sleep(door);
            const bool woken = party.device->has_signal(door) || readable(table.event_fd(door));
            table.end_sleep(door);
            static_cast<void>(take_rings(table.event_fd(door)));
            if (!woken || party.device->harvest(door, [](SbaIndex) {}) > 0) {
                return woken;
            }
        }
    }

    unsigned peer_door = 0;
};

TEST(LoopbackProcessTest, TwoProcessesSeeOneAnothersMemory) {
    Line line;
    Child child([&] {
        line.be_child();
        Side side;
        SMCD_CHILD_REQUIRE(side.set_up(line));
        side.peer.memory[1000] = std::byte{11};
        line.tell(1);
        SMCD_CHILD_REQUIRE(line.hear<int>() == 2);
        SMCD_CHILD_REQUIRE(side.own.memory[1000] == std::byte{22});
        SMCD_CHILD_REQUIRE(side.own.bells->doors_in.load() == 0);
        return 0;
    });
    line.be_parent();
    Side side;
    ASSERT_TRUE(side.set_up(line));

    ASSERT_EQ(line.hear<int>(), 1);
    EXPECT_EQ(side.own.memory[1000], std::byte{11});
    side.peer.memory[1000] = std::byte{22};
    line.tell(2);

    EXPECT_EQ(child.wait(), 0);
}

TEST(LoopbackProcessTest, PingPongOverDoorbellsLosesNoWakeUp) {
    constexpr int kRounds = 3000;
    Line line;
    Child child([&] {
        line.be_child();
        Side side;
        SMCD_CHILD_REQUIRE(side.set_up(line));
        for (int i = 0; i < kRounds; ++i) {
            SMCD_CHILD_REQUIRE(side.sleep());
            side.signal();
        }
        return 0;
    });
    line.be_parent();
    Side side;
    ASSERT_TRUE(side.set_up(line));

    int rounds = 0;
    while (rounds < kRounds) {
        side.signal();
        ASSERT_TRUE(side.sleep()) << "round " << rounds;
        ++rounds;
    }

    EXPECT_EQ(child.wait(), 0);
    EXPECT_EQ(side.party.device->counters().unsignalled, 0U);
}

TEST(LoopbackProcessTest, BothMayConnectAtOnce) {
    for (int round = 0; round < 20; ++round) {
        Line line;
        const auto body = [&line](Party& party) {
            line.tell(party.group());
            const auto other = line.hear<LinkGroupId>();
            const auto dmb = party.register_for(other); // both at once: two links, or one
            SMCD_CHILD_REQUIRE(dmb);
            line.tell(dmb->token);
            SMCD_CHILD_REQUIRE(party.device->attach_dmb(other, line.hear<DmbToken>()));
            const auto second = party.register_for(other);
            SMCD_CHILD_REQUIRE(second);
            line.tell(second->token);
            SMCD_CHILD_REQUIRE(party.device->attach_dmb(other, line.hear<DmbToken>()));
            return 0;
        };
        Child child([&] {
            line.be_child();
            Party party;
            return body(party);
        });
        line.be_parent();
        Party party;
        EXPECT_EQ(body(party), 0);
        EXPECT_EQ(child.wait(), 0);
    }
}

TEST(LoopbackProcessTest, AKilledPeerLeavesNothing) {
    const std::size_t descriptors = open_descriptors();
    {
        Line line;
        Child child([&] {
            line.be_child();
            Side side;
            SMCD_CHILD_REQUIRE(side.set_up(line));
            line.tell(1);
            static_cast<void>(line.hear<int>());
            return 0;
        });
        line.be_parent();
        Side side;
        ASSERT_TRUE(side.set_up(line));
        ASSERT_EQ(line.hear<int>(), 1);
        ASSERT_EQ(::kill(child.pid(), SIGKILL), 0);
        EXPECT_EQ(child.wait(), 128 + SIGKILL);

        ASSERT_TRUE(readable(side.party.device->poll_fd()));
        side.party.device->service();
        side.peer.memory[1] = std::byte{1}; // still ours to touch
        side.signal();
        EXPECT_FALSE(side.party.device->has_link(LinkGroupId(1)));
        const std::size_t links = side.party.device->usage().links;
        EXPECT_TRUE(links == 1 || links == 2) << links; // two when both connected at once
        EXPECT_TRUE(side.party.device->detach_dmb(side.peer.token));
        EXPECT_TRUE(side.party.device->unregister_dmb(side.own.token));
        const auto usage = side.party.device->usage();
        EXPECT_EQ(usage.links + usage.dmbs + usage.attached + usage.dmb_bytes, 0U);
        EXPECT_EQ(mappings_of("/memfd:smcd-dmb"), 0U);
        EXPECT_EQ(mappings_of("/memfd:smcd-signals"), 0U);
    }
    EXPECT_EQ(open_descriptors(), descriptors);
}

TEST(LoopbackProcessTest, AProcessCanBeItsOwnPeer) {
    const std::size_t descriptors = open_descriptors();
    {
        Party party;
        const auto dmb = party.register_for(party.group());
        ASSERT_TRUE(dmb);
        const auto remote = party.device->attach_dmb(party.group(), dmb->token);
        ASSERT_TRUE(remote);
        const auto door = party.doorbells->acquire();
        ASSERT_TRUE(party.device->export_doorbell(*remote, *door));

        remote->memory[9] = std::byte{9};
        party.doorbells->begin_sleep(*door);
        party.device->signal(*remote, std::uint64_t{1} << *door);

        EXPECT_EQ(dmb->memory[9], std::byte{9});
        EXPECT_EQ(take_rings(party.doorbells->event_fd(*door)), 1U);
        EXPECT_EQ(party.device->harvest(*door, [](SbaIndex) {}), 1U);
        EXPECT_TRUE(party.device->unregister_dmb(dmb->token));
        EXPECT_TRUE(party.device->detach_dmb(dmb->token));
    }
    EXPECT_EQ(open_descriptors(), descriptors);
}

TEST(LoopbackProcessTest, NothingIsOpenedBeforeTheFirstNeed) {
    const auto doorbells = *DoorbellTable::create();
    const std::size_t before = open_descriptors();

    LoopbackDevice device(*doorbells, {});

    EXPECT_EQ(device.poll_fd(), -1);
    device.service();
    EXPECT_FALSE(device.has_link(LinkGroupId(1)));
    EXPECT_EQ(open_descriptors(), before);
    ASSERT_TRUE(device.link_group_id());
    EXPECT_EQ(open_descriptors(), before + 2);
    EXPECT_EQ(*device.link_group_id(), *device.link_group_id());
}

} // namespace
} // namespace smcd::dev::test
