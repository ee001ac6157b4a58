// fork(): what children inherit, what they must not disturb, and locks held by other threads.
// Floor 4.
#include <atomic>
#include <thread>

#include "tests/devices/loopback/fixture.hpp"
#include "tests/devices/processes.hpp"

namespace smcd::dev::test {
namespace {

/// fork() as the preloaded library does it around the application's.
class ForkedChild {
public:
    ForkedChild(Party& party, const std::function<int()>& body) {
        party.device->before_fork();
        child_.emplace([&] {
            party.doorbells->after_fork_in_child();
            party.device->after_fork_in_child();
            return body();
        });
        party.device->after_fork_in_parent();
    }

    [[nodiscard]] int wait() { return child_->wait(); }

private:
    std::optional<Child> child_;
};

/// The victim forks; the bystander is its peer and stays in the parent process, which plays both.
class LoopbackForkTest : public LoopbackTest {
protected:
    /// A DMB of the bystander that the victim has attached: the way from the victim to it.
    RemoteDmb attach_bystander() {
        auto dmb = bystander->register_for(victim->group());
        EXPECT_TRUE(dmb);
        auto remote = victim->device->attach_dmb(bystander->group(), dmb->token);
        EXPECT_TRUE(remote);
        return *remote;
    }
};

TEST_F(LoopbackForkTest, AChildUsesWhatItInherited) {
    const RemoteDmb remote = attach_bystander();
    ForkedChild child(*victim, [&] {
        remote.memory[77] = std::byte{77};
        victim->device->signal(remote, 1ULL << 5U);
        SMCD_CHILD_REQUIRE((*kept)->memory[1] == std::byte{0});
        SMCD_CHILD_REQUIRE(victim->device->usage().attached == 1);
        SMCD_CHILD_REQUIRE(victim->device->detach_dmb(remote.token));
        SMCD_CHILD_REQUIRE(victim->device->unregister_dmb((*kept)->token));
        SMCD_CHILD_REQUIRE(victim->device->usage().links == 0);
        return 0;
    });

    EXPECT_EQ(child.wait(), 0);
    EXPECT_EQ(bystander->device->harvest(5, [](SbaIndex) {}), 1U);
    // The parent's own are untouched by what the child gave up.
    EXPECT_EQ(victim->device->usage().attached, 1U);
    remote.memory[77] = std::byte{78};
    bystander->device->service();
    EXPECT_TRUE(bystander->device->has_link(victim->group()));
}

TEST_F(LoopbackForkTest, AChildHasARendezvousOfItsOwn) {
    const LinkGroupId before = victim->group();
    Line line;
    ForkedChild child(*victim, [&] {
        line.be_child();
        SMCD_CHILD_REQUIRE(victim->device->poll_fd() == -1);
        const LinkGroupId own = victim->group();
        SMCD_CHILD_REQUIRE(own != before);
        SMCD_CHILD_REQUIRE(!victim->device->has_link(bystander->group()));
        line.tell(own);
        const auto token = line.hear<DmbToken>();
        const auto remote = victim->device->attach_dmb(bystander->group(), token);
        SMCD_CHILD_REQUIRE(remote);
        const auto dmb = victim->register_for(bystander->group());
        SMCD_CHILD_REQUIRE(dmb);
        line.tell(dmb->token);
        SMCD_CHILD_REQUIRE(line.hear<int>() == 1);
        SMCD_CHILD_REQUIRE(dmb->memory[4] == std::byte{4});
        SMCD_CHILD_REQUIRE(victim->device->harvest(2, [](SbaIndex) {}) == 1);
        return 0;
    });
    line.be_parent();
    const auto child_id = line.hear<LinkGroupId>();
    const auto dmb = bystander->register_for(child_id);
    ASSERT_TRUE(dmb);
    line.tell(dmb->token);
    const auto remote = bystander->device->attach_dmb(child_id, line.hear<DmbToken>());
    ASSERT_TRUE(remote);
    remote->memory[4] = std::byte{4};
    bystander->device->signal(*remote, 1ULL << 2U);
    line.tell(1);

    EXPECT_EQ(child.wait(), 0);
    EXPECT_EQ(victim->group(), before);
    EXPECT_TRUE(victim->device->has_link(bystander->group()));
}

TEST_F(LoopbackForkTest, AChildTakesNoMessageFromItsParent) {
    const RemoteDmb remote = attach_bystander();
    Line line;
    ForkedChild child(*victim, [&] {
        line.be_child();
        SMCD_CHILD_REQUIRE(line.hear<int>() == 1);
        victim->device->service();
        static_cast<void>(victim->device->attach_dmb(bystander->group(), DmbToken(1)));
        static_cast<void>(victim->group());
        victim->device->service();
        victim->device->signal(remote, ~0ULL);
        return 0;
    });
    line.be_parent();
    const auto dmb = bystander->register_for(victim->group()); // waits in the parent's socket
    ASSERT_TRUE(dmb);
    line.tell(1);

    EXPECT_EQ(child.wait(), 0);
    EXPECT_TRUE(victim->device->attach_dmb(bystander->group(), dmb->token));
}

TEST_F(LoopbackForkTest, AChildIsRungByItsOwnDoorbell) {
    const RemoteDmb remote = attach_bystander();
    const unsigned parents_door = *victim->doorbells->acquire();
    ASSERT_TRUE(victim->device->export_doorbell(remote, parents_door));
    Line line;
    ForkedChild child(*victim, [&] {
        line.be_child();
        const auto door = victim->doorbells->acquire();
        SMCD_CHILD_REQUIRE(door && *door != parents_door);
        SMCD_CHILD_REQUIRE(victim->device->export_doorbell(remote, *door));
        victim->doorbells->begin_sleep(*door);
        line.tell(*door);
        SMCD_CHILD_REQUIRE(readable(victim->doorbells->event_fd(*door)));
        SMCD_CHILD_REQUIRE(victim->device->harvest(*door, [](SbaIndex) {}) == 1);
        return 0;
    });
    line.be_parent();
    const auto childs_door = line.hear<unsigned>();
    bystander->device->service();
    victim->doorbells->begin_sleep(parents_door);

    bystander->device->signal(**kept_remote, 1ULL << childs_door);

    EXPECT_EQ(child.wait(), 0);
    EXPECT_EQ(take_rings(victim->doorbells->event_fd(parents_door)), 0U);
    victim->doorbells->end_sleep(parents_door);
}

// One child after another sleeps at the same index; the peer has not looked at its socket since the
// first one's doorbell came.
TEST_F(LoopbackForkTest, ALaterChildIsRungThoughItsDoorbellIsStillUnderWay) {
    const RemoteDmb remote = attach_bystander();
    std::atomic<int> last_resorts{0};
    bystander->device->set_last_resort([&](const RemoteDmb&) { ++last_resorts; });
    for (int round = 0; round < 3; ++round) {
        Line line;
        ForkedChild child(*victim, [&] {
            line.be_child();
            const auto door = victim->doorbells->acquire();
            SMCD_CHILD_REQUIRE(door && *door == 0);
            SMCD_CHILD_REQUIRE(victim->device->export_doorbell(remote, *door));
            victim->doorbells->begin_sleep(*door);
            line.tell(1);
            SMCD_CHILD_REQUIRE(line.hear<int>() == 1);
            SMCD_CHILD_REQUIRE(take_rings(victim->doorbells->event_fd(*door)) == 1);
            victim->doorbells->release(*door);
            return 0;
        });
        line.be_parent();
        EXPECT_EQ(line.hear<int>(), 1);

        bystander->device->signal(**kept_remote, 1U);

        line.tell(1);
        EXPECT_EQ(child.wait(), 0) << "round " << round;
        bystander->device->harvest(0, [](SbaIndex) {});
        victim->device->harvest(0, [](SbaIndex) {});
    }
    EXPECT_EQ(last_resorts.load(), 0);
}

TEST_F(LoopbackForkTest, TheParentsEventsSurviveTheChild) {
    static_cast<void>(attach_bystander());
    ForkedChild child(*victim, [&] {
        static_cast<void>(victim->device->unregister_dmb((*kept)->token));
        victim.reset();
        return 0;
    });
    EXPECT_EQ(child.wait(), 0);
    victim->device->service();
    const auto dmb = bystander->register_for(victim->group());
    ASSERT_TRUE(dmb);

    EXPECT_TRUE(readable(victim->device->poll_fd()));
    victim->device->service();
    EXPECT_TRUE(victim->device->has_link(bystander->group()));
}

// Other threads are inside the device whenever fork() happens; the child's copy must be usable at
// once.
TEST_F(LoopbackForkTest, LocksHeldByOtherThreadsDoNotHangTheChild) {
    std::atomic<bool> stop{false};
    std::thread busy([&] {
        while (!stop.load()) {
            const auto dmb = victim->register_for(victim->group());
            if (dmb) {
                static_cast<void>(victim->device->attach_dmb(victim->group(), dmb->token));
                static_cast<void>(victim->device->detach_dmb(dmb->token));
                static_cast<void>(victim->device->unregister_dmb(dmb->token));
            }
            victim->device->service();
        }
    });

    for (int i = 0; i < 40; ++i) {
        ForkedChild child(*victim, [&] {
            SMCD_CHILD_REQUIRE(victim->device->link_group_id());
            const auto dmb = victim->register_for(victim->group());
            SMCD_CHILD_REQUIRE(dmb);
            SMCD_CHILD_REQUIRE(victim->device->attach_dmb(victim->group(), dmb->token));
            return 0;
        });
        EXPECT_EQ(child.wait(), 0);
    }
    stop.store(true);
    busy.join();
}

} // namespace
} // namespace smcd::dev::test
