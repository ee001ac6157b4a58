// What a peer said before its link ended, and we read too late, still counts: a handshake under
// way may need it. Floor 4.
#include "tests/devices/loopback/fixture.hpp"

namespace smcd::dev::test {
namespace {

/// A peer for which we have a DMB, as in a handshake, and which has announced one that nobody has
/// looked at yet.
class LastWordsTest : public LoopbackTest {
protected:
    void SetUp() override {
        LoopbackTest::SetUp();
        peer_.emplace();
        id_ = peer_->id;
        const auto own = victim->register_for(id_);
        ASSERT_TRUE(own);
        own_ = own->token;
        ASSERT_TRUE(peer_->accept());
        ASSERT_TRUE(peer_->say_hello());
        announced_ = peer_->announce();
    }

    void expect_attachable() {
        const auto remote = victim->device->attach_dmb(id_, announced_);
        ASSERT_TRUE(remote) << remote.error().message();
        EXPECT_TRUE(victim->device->detach_dmb(announced_));
    }

    void TearDown() override {
        EXPECT_TRUE(victim->device->unregister_dmb(own_));
        EXPECT_EQ(victim->device->usage().links, 1U);
        peer_.reset();
        LoopbackTest::TearDown();
    }

    std::optional<RawPeer> peer_;
    LinkGroupId id_;
    DmbToken own_;
    DmbToken announced_;
};

TEST_F(LastWordsTest, SurviveAFailureToSend) {
    peer_.reset();
    ASSERT_FALSE(victim->register_for(id_));

    expect_attachable();
}

TEST_F(LastWordsTest, SurviveAForgottenLink) {
    victim->device->forget_link(id_);
    ASSERT_FALSE(victim->device->has_link(id_));

    expect_attachable();
}

TEST_F(LastWordsTest, SurviveTheEndOfTheLink) {
    peer_.reset();
    victim->device->service();

    expect_attachable();
}

} // namespace
} // namespace smcd::dev::test
