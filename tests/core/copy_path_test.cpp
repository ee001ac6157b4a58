// Sending through a device that copies: what is moved, in which order, and what a failure does.
// Floor 4.
#include <gtest/gtest.h>

#include "tests/core/support.hpp"

namespace smcd::test {
namespace {

using Move = FakeDevice::Move;
using Moves = std::vector<Move>;

constexpr std::uint32_t kRing = 800;
constexpr Move kControl{0, 32, true};

class CopyPath : public ::testing::Test {
protected:
    Moves moves_of(End& end) { return std::exchange(end.device.moves, {}); }

    Connection c_ = Connection::copying(kRing, kRing);
};

TEST_F(CopyPath, BytesGoBeforeControlAndSignal) {
    ASSERT_EQ(send(*c_.a, "hello").bytes, 5U);

    EXPECT_EQ(moves_of(*c_.a),
              (Moves{
                  {32, 5, false},
                  kControl
    }));
    EXPECT_EQ(receive(*c_.b, 10).text, "hello");
    EXPECT_TRUE(moves_of(*c_.b).empty()); // far from an eighth of the ring
}

TEST_F(CopyPath, AWrapIsTwoPieces) {
    const std::string lap(kRing / 8, 'x');
    for (int i = 0; i < 7; ++i) {
        ASSERT_EQ(send(*c_.a, lap).bytes, lap.size());
        ASSERT_EQ(receive(*c_.b, kRing).text, lap);
    }
    ASSERT_EQ(send(*c_.a, std::string(60, 'y')).bytes, 60U);
    moves_of(*c_.a);

    ASSERT_EQ(send(*c_.a, std::string(90, 'z')).bytes, 90U);

    EXPECT_EQ(moves_of(*c_.a),
              (Moves{
                  {32 + 760, 40, false},
                  {32,       50, false},
                  kControl
    }));
    EXPECT_EQ(receive(*c_.b, kRing).text, std::string(60, 'y') + std::string(90, 'z'));
}

TEST_F(CopyPath, AConsumerUpdateIsControlAlone) {
    ASSERT_EQ(send(*c_.a, std::string(kRing, 'x')).bytes, kRing);
    ASSERT_EQ(send(*c_.a, "x").status, IoStatus::would_block);
    ASSERT_EQ(receive(*c_.b, kRing / 8).text.size(), kRing / 8);

    EXPECT_EQ(moves_of(*c_.b), Moves{kControl});
    EXPECT_EQ(c_.a->tx.space(), kRing / 8);
}

TEST_F(CopyPath, AnAttachedRingIsNeverCopied) {
    Connection attached(kRing, kRing);
    ASSERT_EQ(send(*attached.a, "hello").bytes, 5U);

    EXPECT_TRUE(attached.a->device.moves.empty());
}

TEST_F(CopyPath, ClosingTakesItsBytesAlong) {
    ASSERT_EQ(send(*c_.a, "last").bytes, 4U);
    c_.a->tx.send_state(kPeerConnClosed);

    EXPECT_EQ(receive(*c_.b, 10).text, "last");
    EXPECT_EQ(receive(*c_.b, 10).result.status, IoStatus::end_of_stream);
}

TEST_F(CopyPath, ADeviceThatFailsIsAReset) {
    c_.a->device.refusal = std::errc::io_error;
    static_cast<void>(send(*c_.a, "lost"));

    const IoResult next = send(*c_.a, "more");
    EXPECT_EQ(next.status, IoStatus::error);
    EXPECT_EQ(next.error, ECONNRESET);
}

TEST_F(CopyPath, WhatADeviceThatIsLostRefusesStaysInTheSendBuffer) {
    for (const std::errc refusal : {std::errc::no_such_device, std::errc::invalid_argument}) {
        c_.a->device.refusal = refusal;
        ASSERT_EQ(send(*c_.a, "late").bytes, 4U);

        EXPECT_EQ(c_.a->channel.copy->refused.load(), 1U);
        EXPECT_EQ(receive(*c_.b, 10).result.status, IoStatus::would_block);
        // A hang-up would be a reset: the peer is not known to have read all.
        EXPECT_NE(c_.a->channel.peer_bells->consumed.load(),
                  c_.a->channel.peer.cdc->producer.load());

        c_.a->device.refusal = {};
        push(c_.a->channel);
        EXPECT_EQ(receive(*c_.b, 10).text, "late");
    }
}

TEST_F(CopyPath, APeerThatClosedMayTakeItsMemoryAway) {
    c_.b->tx.send_state(kPeerConnClosed);
    c_.a->device.refusal = std::errc::invalid_argument;

    push(c_.a->channel);

    EXPECT_EQ(receive(*c_.a, 10).result.status, IoStatus::end_of_stream);
}

TEST_F(CopyPath, WhatIsMovedTwiceIsTheSame) {
    ASSERT_EQ(send(*c_.a, "again").bytes, 5U);
    c_.a->channel.copy->moved.store(0); // as a push that was overtaken leaves it

    push(c_.a->channel);

    EXPECT_EQ(receive(*c_.b, 10).text, "again");
}

} // namespace
} // namespace smcd::test
