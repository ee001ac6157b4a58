// Memory that is kept for the next DMB, and a peer that lies about it. Floor 4.
#include "tests/devices/loopback/fixture.hpp"

namespace smcd::dev::test {
namespace {

class HostileSparesTest : public LoopbackTest {
protected:
    /// A DMB of the victim, for a peer that does as it likes.
    void SetUp() override {
        LoopbackTest::SetUp();
        peer.emplace();
        own_ = victim->register_for(peer->id);
        ASSERT_TRUE(*own_);
        ASSERT_TRUE(peer->accept());
        auto received = peer->expect(MessageKind::dmb);
        ASSERT_TRUE(received);
        file_ = *Mapping::map_shared(
            received->descriptors[0].get(), kSmallFile, PROT_READ | PROT_WRITE);
        ASSERT_TRUE(peer->say_hello());
    }

    void TearDown() override {
        file_.reset();
        peer.reset();
        LoopbackTest::TearDown();
    }

    void claim(PeerUse use) { page_of(file_).use.store(use); }

    bool send_reuse(DmbToken token, SizeClass size_class, DmbToken previous) {
        const LinkMessage message =
            reuse_message(dmb_message(token, SbaIndex(0), size_class), previous);
        return send_message(peer->socket.get(), message, {}).has_value();
    }

    std::optional<RawPeer> peer;
    std::optional<Result<Dmb>> own_;
    Mapping file_;
};

TEST_F(HostileSparesTest, AnyStateTheyClaimIsHarmless) {
    for (std::uint32_t value = 0; value < 8; ++value) {
        claim(static_cast<PeerUse>(value));
        page_of(file_).dropped.store(value % 2);
        const auto dmb = victim->register_for(peer->id);
        ASSERT_TRUE(dmb);
        EXPECT_TRUE(victim->device->unregister_dmb(dmb->token));
        victim->device->service();
        expect_bystander_unharmed();
    }
    EXPECT_TRUE(victim->device->unregister_dmb((*own_)->token));
}

TEST_F(HostileSparesTest, MemoryThatTheyKeptGoesBackToThemAlone) {
    claim(PeerUse::spare);
    ASSERT_TRUE(victim->device->unregister_dmb((*own_)->token));
    const std::uint64_t before = victim->device->counters().reused;

    const auto others = victim->register_for(bystander->group());
    ASSERT_TRUE(others);
    EXPECT_NE(others->memory.data(), (*own_)->memory.data());
    EXPECT_EQ(victim->device->counters().reused, before);
    const auto theirs = victim->register_for(peer->id);
    ASSERT_TRUE(theirs);
    EXPECT_EQ(theirs->memory.data(), (*own_)->memory.data());

    EXPECT_TRUE(victim->device->unregister_dmb(others->token));
    EXPECT_TRUE(victim->device->unregister_dmb(theirs->token));
}

TEST_F(HostileSparesTest, ReuseOfWhatWasNeverKeptEndsTheLink) {
    const DmbToken token = peer->announce();
    ASSERT_TRUE(victim->device->attach_dmb(peer->id, token));

    // Attached, not spare.
    ASSERT_TRUE(send_reuse(DmbToken(77), kSmall, token));
    EXPECT_FALSE(victim->device->attach_dmb(peer->id, DmbToken(77)));

    EXPECT_FALSE(victim->device->has_link(peer->id));
    EXPECT_TRUE(victim->device->detach_dmb(token));
    EXPECT_TRUE(victim->device->unregister_dmb((*own_)->token));
}

TEST_F(HostileSparesTest, ReuseWithAnotherSizeEndsTheLink) {
    const DmbToken token = peer->announce();
    ASSERT_TRUE(victim->device->attach_dmb(peer->id, token));
    ASSERT_TRUE(victim->device->detach_dmb(token));

    ASSERT_TRUE(send_reuse(DmbToken(77), SizeClass(9), token));
    EXPECT_FALSE(victim->device->attach_dmb(peer->id, DmbToken(77)));

    EXPECT_FALSE(victim->device->has_link(peer->id));
    EXPECT_TRUE(victim->device->unregister_dmb((*own_)->token));
}

TEST_F(HostileSparesTest, AnHonestReuseIsTaken) {
    UniqueFd memory;
    const DmbToken token = peer->announce(&memory);
    ASSERT_TRUE(victim->device->attach_dmb(peer->id, token));
    ASSERT_TRUE(victim->device->detach_dmb(token));
    ASSERT_TRUE(send_reuse(DmbToken(77), kSmall, token));

    const auto again = victim->device->attach_dmb(peer->id, DmbToken(77));

    ASSERT_TRUE(again);
    const auto mapped = Mapping::map_shared(memory.get(), kSmallFile, PROT_READ);
    again->memory[3] = std::byte{3};
    EXPECT_EQ(mapped->bytes()[kDmbPageBytes + 3], std::byte{3});
    EXPECT_EQ(page_of(*mapped).use.load(), PeerUse::attached);
    EXPECT_TRUE(victim->device->unregister_dmb((*own_)->token));
}

// An owner that pretends to be reusing everything must not make us keep everything.
TEST_F(HostileSparesTest, WhatCannotBeEndedIsBounded) {
    for (int i = 0; i < 100; ++i) {
        UniqueFd memory;
        const DmbToken token = peer->announce(&memory);
        ASSERT_TRUE(victim->device->attach_dmb(peer->id, token));
        ASSERT_TRUE(victim->device->detach_dmb(token));
        const auto mapped = Mapping::map_shared(memory.get(), kSmallFile, PROT_READ | PROT_WRITE);
        page_of(*mapped).use.store(PeerUse::offered);
    }

    EXPECT_EQ(mappings_of("/memfd:test-dmb"), 64U);
    EXPECT_TRUE(victim->device->unregister_dmb((*own_)->token));
}

} // namespace
} // namespace smcd::dev::test
