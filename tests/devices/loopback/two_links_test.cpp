// Two links between the same two processes: doorbells must be known on both. Floor 4.
#include "tests/devices/loopback/fixture.hpp"

namespace smcd::dev::test {
namespace {

/// Two links to one peer, as when both connect at once: `ours` told it of our DMB, and `theirs`
/// told us of its DMB.
class TwoLinksTest : public LoopbackTest {
protected:
    void open_ours() {
        ASSERT_TRUE(victim->register_for(peer_.id));
        ASSERT_TRUE(peer_.accept());
        ASSERT_TRUE(peer_.say_hello());
        ours_ = std::exchange(peer_.socket, UniqueFd{});
    }

    /// Then the peer's messages go over that link.
    RemoteDmb open_theirs() {
        peer_.greet(victim->group());
        const auto remote = victim->device->attach_dmb(peer_.id, peer_.announce());
        EXPECT_TRUE(remote);
        return *remote;
    }

    /// Number of doorbells that came over a link.
    std::size_t doorbells(UniqueFd& socket) {
        std::swap(peer_.socket, socket);
        std::size_t count = 0;
        while (peer_.expect(MessageKind::doorbell)) {
            ++count;
        }
        std::swap(peer_.socket, socket);
        return count;
    }

    void TearDown() override {
        ours_.reset();
        peer_.socket.reset();
        LoopbackTest::TearDown();
    }

    RawPeer peer_;
    UniqueFd ours_;
};

TEST_F(TwoLinksTest, BothTellOfADoorbell) {
    open_ours();
    const RemoteDmb remote = open_theirs();
    const auto door = victim->doorbells->acquire();

    ASSERT_TRUE(victim->device->export_doorbell(remote, *door));
    ASSERT_TRUE(victim->device->export_doorbell(remote, *door));

    EXPECT_EQ(doorbells(ours_), 1U);
    EXPECT_EQ(doorbells(peer_.socket), 1U);
}

TEST_F(TwoLinksTest, TheSecondTellsOfEarlierDoorbells) {
    const RemoteDmb remote = open_theirs();
    const auto door = victim->doorbells->acquire();
    ASSERT_TRUE(victim->device->export_doorbell(remote, *door));
    ASSERT_TRUE(victim->doorbells->acquire()); // never exported
    UniqueFd first = std::exchange(peer_.socket, UniqueFd{});

    static_cast<void>(open_theirs());

    EXPECT_EQ(doorbells(first), 1U);
    EXPECT_EQ(doorbells(peer_.socket), 1U);
}

TEST_F(TwoLinksTest, OneThatIsGoneDoesNotMatter) {
    open_ours();
    const RemoteDmb remote = open_theirs();
    const auto door = victim->doorbells->acquire();
    ours_.reset();

    EXPECT_TRUE(victim->device->export_doorbell(remote, *door));

    EXPECT_EQ(doorbells(peer_.socket), 1U);
}

} // namespace
} // namespace smcd::dev::test
