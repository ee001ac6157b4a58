// Memory that is kept for the next DMB: when it is reused, and when it must not be. Floor 4.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <thread>

#include "tests/devices/loopback/fixture.hpp"
#include "tests/devices/processes.hpp"

namespace smcd::dev::test {
namespace {

class SparesTest : public ::testing::Test {
protected:
    struct Pair {
        Dmb own;
        RemoteDmb remote;
    };

    Pair open(SizeClass size_class = kSmall) {
        const auto own = owner->register_for(peer->group(), size_class);
        EXPECT_TRUE(own) << own.error().message();
        const auto remote = peer->device->attach_dmb(owner->group(), own->token);
        EXPECT_TRUE(remote) << remote.error().message();
        return {*own, *remote};
    }

    void unregister(const Pair& pair) {
        EXPECT_TRUE(owner->device->unregister_dmb(pair.own.token));
    }

    void detach(const Pair& pair) { EXPECT_TRUE(peer->device->detach_dmb(pair.own.token)); }

    void close(const Pair& pair) {
        unregister(pair);
        detach(pair);
    }

    std::vector<Pair> open_many(std::size_t count) {
        std::vector<Pair> pairs(count);
        std::generate(pairs.begin(), pairs.end(), [this] { return open(); });
        return pairs;
    }

    void close_all(std::span<const Pair> pairs) {
        for (const Pair& pair : pairs) {
            close(pair);
        }
    }

    std::uint64_t reused() { return owner->device->counters().reused; }

    static std::size_t dmb_mappings() { return mappings_of("/memfd:smcd-dmb"); }

    std::optional<Party> owner{std::in_place};
    std::optional<Party> peer{std::in_place};
};

TEST_F(SparesTest, TheNextDmbTakesTheMemoryOfTheLast) {
    const Pair first = open();
    first.remote.memory[5000] = std::byte{5};
    close(first);

    const Pair second = open();

    EXPECT_EQ(reused(), 1U);
    EXPECT_EQ(second.own.memory.data(), first.own.memory.data());
    EXPECT_EQ(second.remote.memory.data(), first.remote.memory.data());
    EXPECT_NE(second.own.token, first.own.token);
    second.remote.memory[5000] = std::byte{6};
    EXPECT_EQ(second.own.memory[5000], std::byte{6});
    peer->device->signal(second.remote, 1);
    EXPECT_EQ(owner->device->harvest(0, [](SbaIndex) {}), 1U);
    EXPECT_EQ(dmb_mappings(), 2U);
}

TEST_F(SparesTest, TheOrderOfDetachAndUnregisterDoesNotMatter) {
    for (int i = 0; i < 10; ++i) {
        const Pair pair = open();
        if (i % 2 == 0) {
            detach(pair);
            unregister(pair);
        } else {
            unregister(pair);
            detach(pair);
        }
    }
    EXPECT_EQ(reused(), 9U);
    EXPECT_EQ(dmb_mappings(), 2U);
}

TEST_F(SparesTest, MemoryStillAttachedIsNotReused) {
    const Pair first = open();
    unregister(first);

    const Pair second = open();

    EXPECT_EQ(reused(), 0U);
    EXPECT_NE(second.own.memory.data(), first.own.memory.data());
    first.remote.memory[77] = std::byte{1}; // the peer is not done with the first
    EXPECT_EQ(second.own.memory[77], std::byte{0});
    detach(first);
    const Pair third = open();
    EXPECT_EQ(reused(), 1U);
    EXPECT_EQ(third.own.memory.data(), first.own.memory.data());
}

TEST_F(SparesTest, MemoryStillRegisteredIsNotReused) {
    const Pair first = open();
    detach(first);

    const Pair second = open();

    EXPECT_EQ(reused(), 0U);
    EXPECT_NE(second.own.memory.data(), first.own.memory.data());
}

TEST_F(SparesTest, AttachedTwiceMeansInUse) {
    const Pair first = open();
    ASSERT_TRUE(peer->device->attach_dmb(owner->group(), first.own.token));
    unregister(first);
    detach(first);
    open();
    EXPECT_EQ(reused(), 0U);

    detach(first);
    open();
    EXPECT_EQ(reused(), 1U);
}

TEST_F(SparesTest, SizesAreNotMixed) {
    close(open(SizeClass(1)));

    const Pair other = open(SizeClass(2));
    EXPECT_EQ(reused(), 0U);
    const Pair same = open(SizeClass(1));
    EXPECT_EQ(reused(), 1U);

    EXPECT_EQ(other.own.memory.size(), dmb_size_bytes(SizeClass(2)));
    EXPECT_EQ(same.own.memory.size(), dmb_size_bytes(SizeClass(1)));
}

TEST_F(SparesTest, ANeverAttachedDmbIsForgottenOnBothSides) {
    close(open());
    const auto dmb = owner->register_for(peer->group()); // reuse, on its way
    ASSERT_TRUE(dmb);
    EXPECT_EQ(reused(), 1U);
    ASSERT_TRUE(owner->device->unregister_dmb(dmb->token));

    const Pair next = open();

    EXPECT_EQ(reused(), 1U);
    next.remote.memory[9] = std::byte{9};
    EXPECT_EQ(next.own.memory[9], std::byte{9});
}

TEST_F(SparesTest, TheNumberOfSparesIsBounded) {
    const std::vector<Pair> pairs = open_many(100);
    close_all(pairs);
    peer->device->service();

    EXPECT_EQ(dmb_mappings(), 2 * 64U);
    for (int i = 0; i < 70; ++i) {
        open();
    }
    EXPECT_EQ(reused(), 64U);
}

TEST_F(SparesTest, ThePeerMayForgetFirst) {
    const std::vector<Pair> pairs = open_many(100);
    for (const Pair& pair : pairs) {
        detach(pair); // 64 stay mapped there
    }
    for (const Pair& pair : pairs) {
        unregister(pair);
    }
    peer->device->service();

    for (int i = 0; i < 100; ++i) {
        const Pair pair = open();
        pair.remote.memory[1] = static_cast<std::byte>(i);
        EXPECT_EQ(pair.own.memory[1], static_cast<std::byte>(i));
    }
    EXPECT_LE(reused(), 64U);
    EXPECT_GT(reused(), 0U);
}

TEST_F(SparesTest, BytesAreBoundedAndZeroSwitchesItOff) {
    LoopbackOptions options;
    options.max_spare_bytes = 2 * kSmallFile;
    owner.emplace(options);
    close_all(open_many(3));
    peer->device->service(); // told that the owner let go of the first
    EXPECT_EQ(dmb_mappings(), 2 * 2U);

    options.max_spare_bytes = 0;
    owner.emplace(options);
    peer->device->service(); // the end of the link to the owner before
    ASSERT_EQ(dmb_mappings(), 0U);
    close(open());
    EXPECT_EQ(dmb_mappings(), 0U);
    open();
    EXPECT_EQ(reused(), 0U);
}

TEST_F(SparesTest, TheOldestMakeWayForAnotherSize) {
    LoopbackOptions options;
    options.max_spare_bytes = 2 * kSmallFile;
    owner.emplace(options);
    close_all(open_many(2));

    close(open(SizeClass(1)));
    open(SizeClass(1));

    EXPECT_EQ(reused(), 1U);
    peer->device->service();
    EXPECT_EQ(dmb_mappings(), 2U);
}

TEST_F(SparesTest, SparesOfOnePeerMakeWayForThoseOfAnother) {
    LoopbackOptions options;
    options.max_spare_bytes = kSmallFile;
    owner.emplace(options);
    close(open());
    Party other;
    for (int i = 0; i < 2; ++i) {
        const auto own = owner->register_for(other.group());
        ASSERT_TRUE(own);
        ASSERT_TRUE(other.device->attach_dmb(owner->group(), own->token));
        ASSERT_TRUE(owner->device->unregister_dmb(own->token));
        ASSERT_TRUE(other.device->detach_dmb(own->token));
    }
    EXPECT_EQ(reused(), 1U);

    open();
    EXPECT_EQ(reused(), 1U);
}

TEST_F(SparesTest, SparesThatThePeerEndedMakeWay) {
    LoopbackOptions none;
    none.max_spare_bytes = 0;
    peer.emplace(none);
    LoopbackOptions options;
    options.max_spare_bytes = 4 * kSmallFile;
    owner.emplace(options);
    for (int i = 0; i < 20; ++i) {
        close(open());
        EXPECT_LE(dmb_mappings(), 4U);
    }
    EXPECT_EQ(reused(), 0U);
}

TEST_F(SparesTest, WhatIsOnItsWayIsNotEnded) {
    const std::vector<Pair> pairs = open_many(65);
    close_all(std::span(pairs).first(64));
    std::vector<Dmb> again;
    for (int i = 0; i < 64; ++i) {
        const auto dmb = owner->register_for(peer->group());
        ASSERT_TRUE(dmb);
        again.push_back(*dmb);
    }
    ASSERT_EQ(reused(), 64U);

    close(pairs.back()); // the peer has no room for another, and has not read what was sent

    for (const Dmb& dmb : again) {
        const auto remote = peer->device->attach_dmb(owner->group(), dmb.token);
        ASSERT_TRUE(remote);
        remote->memory[3] = std::byte{3};
        EXPECT_EQ(dmb.memory[3], std::byte{3});
    }
    EXPECT_EQ(peer->device->counters().violations, 0U);
}

TEST_F(SparesTest, SparesGoWithThePeer) {
    for (int i = 0; i < 5; ++i) {
        close(open());
    }
    ASSERT_EQ(dmb_mappings(), 2U);
    peer.reset();

    owner->device->service();

    EXPECT_EQ(dmb_mappings(), 0U);
    EXPECT_EQ(owner->device->usage().links, 0U);
}

TEST_F(SparesTest, MemoryThatAChildMayUseIsNotReused) {
    for (Party* forking : {&*owner, &*peer}) {
        const Pair live = open();
        Line line;
        forking->device->before_fork();
        std::optional<Child> child(std::in_place, [&] {
            line.be_child();
            forking->doorbells->after_fork_in_child();
            forking->device->after_fork_in_child();
            SMCD_CHILD_REQUIRE(line.hear<int>() == 1);
            // The parent has closed and opened another: this memory must be untouched.
            SMCD_CHILD_REQUIRE(live.own.memory[10] == std::byte{10});
            return 0;
        });
        forking->device->after_fork_in_parent();
        line.be_parent();
        live.own.memory[10] = std::byte{10};
        const std::uint64_t before = reused();
        close(live);

        const Pair next = open();
        std::memset(next.remote.memory.data(), 0xee, next.remote.memory.size());

        EXPECT_EQ(reused(), before);
        line.tell(1);
        EXPECT_EQ(child->wait(), 0);
        // What was made after the fork is reused again.
        close(next);
        const Pair after = open();
        EXPECT_EQ(reused(), before + 1);
        unregister(after);
        owner->device->service();
        peer->device->service();
        detach(after);
        owner.emplace();
        peer.emplace();
    }
}

TEST_F(SparesTest, AChildForgetsItsParentsSpares) {
    close(open());
    owner->device->before_fork();
    Child child([&] {
        owner->doorbells->after_fork_in_child();
        owner->device->after_fork_in_child();
        SMCD_CHILD_REQUIRE(dmb_mappings() == 1); // the peer's, which this process plays too
        return 0;
    });
    owner->device->after_fork_in_parent();
    EXPECT_EQ(child.wait(), 0);

    open();

    EXPECT_EQ(reused(), 1U);
}

// Both sides at full speed, from two threads, with their own order: no DMB ever sees another's
// bytes.
TEST_F(SparesTest, ReuseNeverMixesTwoConnections) {
    constexpr int kRounds = 5000;
    static_cast<void>(owner->group());
    static_cast<void>(peer->group());
    std::atomic<std::uint64_t> announced{0};
    std::atomic<std::uint64_t> written{0};
    std::atomic<bool> failed{false};
    std::thread attacher([&] {
        for (std::uint64_t last = 0; !failed.load();) {
            const std::uint64_t token = announced.load();
            if (token == 1) {
                return;
            }
            if (token == last || token == 0) {
                std::this_thread::yield();
                continue;
            }
            last = token;
            const auto remote = peer->device->attach_dmb(owner->group(), DmbToken(token));
            if (!remote) {
                failed.store(true);
                return;
            }
            std::memcpy(remote->memory.data() + 64, &token, sizeof(token));
            written.store(token);
            static_cast<void>(peer->device->detach_dmb(DmbToken(token)));
        }
    });

    for (int round = 0; round < kRounds && !failed.load(); ++round) {
        const auto dmb = owner->register_for(peer->group());
        if (!dmb) {
            failed.store(true);
            break;
        }
        const std::uint64_t token = dmb->token.value();
        announced.store(token);
        while (written.load() != token && !failed.load()) {
            std::this_thread::yield();
        }
        std::uint64_t seen = 0;
        std::memcpy(&seen, dmb->memory.data() + 64, sizeof(seen));
        if (seen != token || !owner->device->unregister_dmb(dmb->token)) {
            failed.store(true);
        }
    }
    announced.store(1);
    attacher.join();

    EXPECT_FALSE(failed.load());
    EXPECT_GT(reused(), static_cast<std::uint64_t>(kRounds) / 2);
}

} // namespace
} // namespace smcd::dev::test
