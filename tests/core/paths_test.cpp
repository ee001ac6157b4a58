// The send and the receive path over plain memory: full and empty rings, flags, bells, hostile
// words in the shared area.
#include <sys/socket.h>

#include <cerrno>
#include <thread>

#include <gtest/gtest.h>

#include "tests/core/support.hpp"

namespace smcd::test {
namespace {

constexpr std::uint32_t kRing = 65504;

TEST(Paths, EmptyRing) {
    Connection c;
    EXPECT_EQ(receive(*c.b, 10).result.status, IoStatus::would_block);
    EXPECT_EQ(receive(*c.b, 0).result.status, IoStatus::ok);
    EXPECT_EQ(send(*c.a, "").status, IoStatus::ok);
    EXPECT_EQ(c.b->rx.readable(), 0U);
    EXPECT_FALSE(c.b->rx.ended());
    EXPECT_EQ(c.a->tx.space(), kRing);
    EXPECT_TRUE(c.a->tx.writable());
    EXPECT_EQ(c.a->tx.unread_by_peer(), 0U);
}

TEST(Paths, FullRing) {
    Connection c;
    const std::string text(kRing + 100, 'x');
    EXPECT_EQ(send(*c.a, text).bytes, kRing);
    EXPECT_EQ(send(*c.a, "y").status, IoStatus::would_block);
    EXPECT_EQ(c.a->tx.space(), 0U);
    EXPECT_FALSE(c.a->tx.writable());
    EXPECT_EQ(c.b->rx.readable(), kRing);
    EXPECT_EQ(receive(*c.b, kRing + 1).text, std::string(kRing, 'x'));
    EXPECT_EQ(c.a->tx.space(), kRing);
    EXPECT_EQ(send(*c.a, "y").bytes, 1U);
    EXPECT_EQ(receive(*c.b, 5).text, "y");
    EXPECT_TRUE(c.guards_intact());
}

TEST(Paths, SpaceThatComesBeforeTheStallIsCountedIsSeen) {
    Connection c;
    std::atomic<std::uint32_t> stalls{0};
    ASSERT_EQ(send(*c.a, std::string(kRing, 'x')).bytes, kRing);
    EXPECT_TRUE(c.a->tx.stalled(stalls));
    ASSERT_EQ(send(*c.a, "y").status, IoStatus::would_block);
    ASSERT_EQ(receive(*c.b, kRing / 4).result.bytes, kRing / 4);
    EXPECT_FALSE(c.a->tx.stalled(stalls));
    EXPECT_TRUE(c.a->tx.stalled(stalls, kRing / 2));
    EXPECT_EQ(stalls, 3U);
}

TEST(Paths, SpaceIsToldInEighths) {
    Connection c;
    ASSERT_EQ(send(*c.a, std::string(kRing, 'x')).bytes, kRing);
    ASSERT_EQ(receive(*c.b, kRing / 8 - 1).result.bytes, kRing / 8 - 1);
    EXPECT_EQ(c.a->tx.space(), 0U);
    ASSERT_EQ(receive(*c.b, 1).result.bytes, 1U);
    EXPECT_EQ(c.a->tx.space(), kRing / 8);
}

TEST(Paths, PeekAndDiscard) {
    Connection c;
    ASSERT_EQ(send(*c.a, "hello, world").bytes, 12U);
    EXPECT_EQ(receive(*c.b, 5, {.peek = true}).text, "hello");
    EXPECT_EQ(receive(*c.b, 100, {.peek = true}).text, "hello, world");
    EXPECT_EQ(receive(*c.b, 7, {.discard = true}).text, "#######") << "the buffer was touched";
    EXPECT_EQ(receive(*c.b, 100).text, "world");
}

TEST(Paths, GatherSkipsWhatWasSentBefore) {
    Connection c;
    std::string first = "abc";
    std::string second = "defgh";
    const iovec buffers[] = {{nullptr, 0}, {first.data(), 3}, {nullptr, 0}, {second.data(), 5}};
    for (std::size_t skip = 0; skip <= 8; ++skip) {
        EXPECT_EQ(c.a->tx.send(buffers, skip).bytes, 8 - skip);
        EXPECT_EQ(receive(*c.b, 20).text, std::string("abcdefgh").substr(skip));
    }
    EXPECT_EQ(c.a->tx.send(buffers, 9).bytes, 0U);
}

TEST(Paths, ReservationIsLostToAnotherWriter) {
    Connection c;
    const auto reservation = c.a->tx.reserve();
    ASSERT_EQ(reservation.first.size(), kRing);
    ASSERT_TRUE(reservation.second.empty());
    reservation.first[0] = std::byte{'r'};
    ASSERT_EQ(send(*c.a, "s").bytes, 1U);
    EXPECT_FALSE(c.a->tx.commit(reservation, 1));
    EXPECT_EQ(receive(*c.b, 10).text, "s");
    const auto again = c.a->tx.reserve();
    again.first[0] = std::byte{'t'};
    EXPECT_TRUE(c.a->tx.commit(again, 1));
    EXPECT_EQ(receive(*c.b, 10).text, "t");
}

TEST(Paths, ConsumeNeverGoesBeyondWhatWasThere) {
    Connection c;
    ASSERT_EQ(send(*c.a, "abc").bytes, 3U);
    const auto spans = c.b->rx.peek_spans();
    ASSERT_EQ(spans.first.size(), 3U);
    EXPECT_EQ(std::to_integer<char>(spans.first[0]), 'a');
    EXPECT_TRUE(c.b->rx.consume(1000));
    EXPECT_EQ(c.b->rx.readable(), 0U);
    ASSERT_EQ(send(*c.a, "d").bytes, 1U);
    EXPECT_EQ(receive(*c.b, 10).text, "d");
}

TEST(Ending, DataComesBeforeTheEnd) {
    for (const std::uint8_t flag : {kPeerDoneWriting, kPeerConnClosed}) {
        Connection c;
        ASSERT_EQ(send(*c.a, "last").bytes, 4U);
        c.a->tx.send_state(flag);
        EXPECT_EQ(receive(*c.b, 2).text, "la");
        EXPECT_EQ(receive(*c.b, 100).text, "st");
        EXPECT_EQ(receive(*c.b, 100).result.status, IoStatus::end_of_stream);
        EXPECT_EQ(receive(*c.b, 100).result.status, IoStatus::end_of_stream);
        EXPECT_TRUE(c.b->rx.ended());
    }
}

TEST(Ending, DoneWritingLeavesTheOtherDirectionOpen) {
    Connection c;
    c.a->tx.send_state(kPeerDoneWriting);
    EXPECT_EQ(receive(*c.b, 1).result.status, IoStatus::end_of_stream);
    EXPECT_EQ(send(*c.b, "answer").bytes, 6U);
    EXPECT_EQ(receive(*c.a, 10).text, "answer");
    c.b->tx.send_state(kPeerDoneWriting);
    EXPECT_EQ(receive(*c.a, 10).result.status, IoStatus::end_of_stream);
}

TEST(Ending, FlagsSurviveLaterCursorUpdates) {
    Connection c;
    c.a->tx.send_state(kPeerDoneWriting);
    ASSERT_EQ(send(*c.b, std::string(kRing, 'x')).bytes, kRing);
    ASSERT_EQ(receive(*c.a, kRing).result.bytes, kRing); // publishes the consumer word anew
    EXPECT_EQ(unpack(c.b->channel.own.cdc->consumer.load()).state_flags, kPeerDoneWriting);
    EXPECT_EQ(c.b->tx.space(), kRing);
}

TEST(Ending, WhatIsSentToAClosedPeerVanishesThenFails) {
    Connection c;
    c.b->tx.send_state(kPeerConnClosed);
    EXPECT_EQ(receive(*c.a, 1).result.status, IoStatus::end_of_stream);
    EXPECT_EQ(send(*c.a, "into the void").bytes, 13U);
    const IoResult after = send(*c.a, "again");
    EXPECT_EQ(after.status, IoStatus::error);
    EXPECT_EQ(after.error, EPIPE);
}

TEST(Ending, APeerThatReadsAndClosesAtOnceIsNoReset) {
    for (const std::size_t size : {std::size_t{1}, std::size_t{kRing / 8}}) {
        Connection c;
        c.b->bells.futex_in.store(1);
        c.a->device.on_wake = [&] {
            ASSERT_EQ(receive(*c.b, kRing).result.bytes, size);
            c.b->tx.send_state(kPeerConnClosed);
        };
        EXPECT_EQ(send(*c.a, std::string(size, 'x')).bytes, size);
        ASSERT_EQ(c.a->device.wakes, 1);
        EXPECT_EQ(send(*c.a, "").status, IoStatus::ok);
        EXPECT_EQ(receive(*c.a, 1).result.status, IoStatus::end_of_stream);
    }
}

TEST(Ending, APeerThatClosesBeforeItReadsIsAReset) {
    Connection c;
    c.b->bells.futex_in.store(1);
    c.a->device.on_wake = [&] { c.b->tx.send_state(kPeerConnClosed); };
    EXPECT_EQ(send(*c.a, "too late").bytes, 8U);
    ASSERT_EQ(c.a->device.wakes, 1);
    EXPECT_EQ(send(*c.a, "").error, EPIPE);
}

TEST(Ending, AFullRingNoticesThatThePeerClosed) {
    Connection c;
    ASSERT_EQ(send(*c.a, std::string(kRing, 'x')).bytes, kRing);
    c.b->tx.send_state(kPeerConnClosed);
    EXPECT_EQ(send(*c.a, "more").bytes, 4U) << "vanishes, instead of blocking for ever";
    EXPECT_EQ(send(*c.a, "more").error, EPIPE);
}

TEST(Ending, AbortResetsAfterTheDataThatIsThere) {
    Connection c;
    ASSERT_EQ(send(*c.a, "unread").bytes, 6U);
    c.a->tx.send_state(kPeerConnAbort);
    EXPECT_EQ(receive(*c.b, 100).text, "unread");
    const IoResult reset = receive(*c.b, 100).result;
    EXPECT_EQ(reset.status, IoStatus::error);
    EXPECT_EQ(reset.error, ECONNRESET);
    EXPECT_EQ(receive(*c.b, 100).result.status, IoStatus::end_of_stream) << "reported once";
    EXPECT_EQ(send(*c.b, "x").error, EPIPE);
}

TEST(Ending, AbortIsSeenBySenders) {
    Connection c;
    c.b->tx.send_state(kPeerConnAbort);
    EXPECT_EQ(c.a->rx.readable(), 0U);
    const IoResult result = send(*c.a, "x");
    EXPECT_EQ(result.status, IoStatus::error);
    EXPECT_EQ(result.error, ECONNRESET);
    EXPECT_EQ(send(*c.a, "x").error, EPIPE);
}

TEST(Ending, OwnShutdownAndTcpHangup) {
    Connection c;
    ASSERT_EQ(send(*c.a, "kept").bytes, 4U);
    c.a->block.flags.fetch_or(kFlagShutWrite);
    EXPECT_EQ(send(*c.a, "x").error, EPIPE);
    c.b->block.flags.fetch_or(kFlagTcpHangup);
    EXPECT_EQ(receive(*c.b, 10).text, "kept");
    EXPECT_EQ(receive(*c.b, 10).result.status, IoStatus::end_of_stream);
}

TEST(Ending, TheEndNeverOvertakesTheData) {
    // One thread writes and ends, the other reads: every byte must come before the end.
    Random random(test_seed());
    for (int round = 0; round < 300; ++round) {
        Connection c(4096, 4096);
        const std::size_t total = 1 + random() % 20000;
        std::thread writer([&c, total] {
            for (std::size_t sent = 0; sent < total;) {
                const std::string part(std::min<std::size_t>(total - sent, 700), 'x');
                sent += send(*c.a, part).bytes;
                std::this_thread::yield();
            }
            c.a->tx.send_state(kPeerDoneWriting);
        });
        std::size_t got = 0;
        for (;;) {
            const IoResult result = receive(*c.b, 1000).result;
            if (result.status == IoStatus::end_of_stream || result.status == IoStatus::error) {
                break;
            }
            got += result.bytes;
            std::this_thread::yield();
        }
        writer.join();
        ASSERT_EQ(got, total) << "round " << round;
    }
}

TEST(Bells, SilentWhileNobodySleeps) {
    Connection c;
    ASSERT_EQ(send(*c.a, "x").bytes, 1U);
    EXPECT_EQ(c.a->device.signals + c.a->device.wakes, 0);
    EXPECT_EQ(c.a->block.waits.wakeups_suppressed.load(), 1U);
}

TEST(Bells, EachArmedBellIsRungOnce) {
    Connection c;
    c.b->bells.doors_in.store(0x5);
    c.b->bells.futex_in.store(1);
    ASSERT_EQ(send(*c.a, "x").bytes, 1U);
    EXPECT_EQ(c.a->device.signals, 1);
    EXPECT_EQ(c.a->device.last_doors, 0x5U);
    EXPECT_EQ(c.a->device.wakes, 1);
    EXPECT_EQ(c.b->bells.doors_in.load(), 0U);
    ASSERT_EQ(send(*c.a, "x").bytes, 1U);
    EXPECT_EQ(c.a->device.signals, 1);
    EXPECT_EQ(c.a->device.wakes, 1);
}

TEST(Bells, SpaceRingsTheOtherBell) {
    Connection c;
    ASSERT_EQ(send(*c.a, std::string(kRing, 'x')).bytes, kRing);
    c.a->bells.doors_out.store(0x2);
    c.a->bells.doors_in.store(0x1);
    ASSERT_EQ(receive(*c.b, 100).result.bytes, 100U);
    EXPECT_EQ(c.b->device.signals, 0) << "not told yet, so not rung";
    ASSERT_EQ(receive(*c.b, kRing).result.bytes, kRing - 100);
    EXPECT_EQ(c.b->device.signals, 1);
    EXPECT_EQ(c.b->device.last_doors, 0x2U);
    c.b->tx.send_state(kPeerDoneWriting);
    EXPECT_EQ(c.b->device.last_doors, 0x1U) << "an end is news for readers";
}

TEST(Hostile, ProducerCursors) {
    for (const Cursor forged : {Cursor{0, kRing}, Cursor{0, 0xFFFFFFFF}, Cursor{1, kRing - 1},
                                Cursor{2, 0}, Cursor{65535, 5}, Cursor{0, 99}}) {
        Connection c;
        ASSERT_EQ(send(*c.a, std::string(100, 'x')).bytes, 100U);
        ASSERT_EQ(receive(*c.b, 50).result.bytes, 50U); // consumer 0/50, known producer 0/100
        forge_producer(*c.b, forged);
        // The bytes that were accepted stay; then the connection is reset.
        const Received rest = receive(*c.b, kRing);
        EXPECT_EQ(rest.text, std::string(50, 'x')) << forged.wrap << '/' << forged.count;
        EXPECT_EQ(receive(*c.b, 10).result.error, ECONNRESET);
        EXPECT_EQ(send(*c.b, "x").status, IoStatus::error);
        EXPECT_TRUE(c.guards_intact());
    }
}

TEST(Hostile, OneByteMoreThanFits) {
    Connection c;
    ASSERT_EQ(send(*c.a, std::string(100, 'x')).bytes, 100U);
    ASSERT_EQ(receive(*c.b, 50).result.bytes, 50U);
    forge_producer(*c.b, {1, 50}); // full: right up to our consumer
    EXPECT_EQ(c.b->rx.readable(), kRing);
    EXPECT_EQ(c.b->block.flags.load() & kFlagReset, 0U);
    forge_producer(*c.b, {1, 51});
    EXPECT_EQ(c.b->rx.readable(), kRing);
    EXPECT_NE(c.b->block.flags.load() & kFlagReset, 0U);
}

TEST(Hostile, ConsumerCursors) {
    for (const Cursor forged : {Cursor{0, 101}, Cursor{0, kRing}, Cursor{1, 0}, Cursor{65535, 0},
                                Cursor{0, 0xFFFFFFFF}}) {
        Connection c;
        ASSERT_EQ(send(*c.a, std::string(100, 'x')).bytes, 100U);
        forge_consumer(*c.a, {forged});
        EXPECT_EQ(c.a->tx.space(), 0U);
        const IoResult result = send(*c.a, "x");
        EXPECT_EQ(result.status, IoStatus::error) << forged.wrap << '/' << forged.count;
        EXPECT_EQ(result.error, ECONNRESET);
        EXPECT_TRUE(c.a->tx.reserve().first.empty());
        EXPECT_TRUE(c.guards_intact());
    }
}

TEST(Hostile, ConsumerMovingBackwards) {
    Connection c;
    ASSERT_EQ(send(*c.a, std::string(kRing, 'x')).bytes, kRing);
    ASSERT_EQ(receive(*c.b, kRing / 2).result.bytes, kRing / 2);
    ASSERT_EQ(c.a->tx.space(), kRing / 2);
    forge_consumer(*c.a, {{0, 10}});
    EXPECT_EQ(c.a->tx.space(), 0U);
    EXPECT_EQ(send(*c.a, "x").error, ECONNRESET);
}

TEST(Hostile, RandomWordsNeverLeadOutsideTheRings) {
    Random random(test_seed());
    for (int round = 0; round < 3000; ++round) {
        const auto ring = static_cast<std::uint32_t>(1 + random() % 300);
        Connection c(ring, ring);
        for (int step = 0; step < 20; ++step) {
            Cursor cursor{static_cast<std::uint16_t>(random() % 3),
                          static_cast<std::uint32_t>(random() % (ring + 2))};
            if (random() % 4 == 0) {
                c.a->channel.own.cdc->producer.store(random());
            } else {
                forge_producer(*c.a, cursor);
            }
            cursor.count = static_cast<std::uint32_t>(random() % (ring + 2));
            forge_consumer(*c.a, {cursor, 0, static_cast<std::uint8_t>(random() % 8 == 0 ? 0xE0 : 0)});
            const std::string text(random() % 400, 'x');
            EXPECT_LE(send(*c.a, text).bytes, text.size());
            EXPECT_LE(receive(*c.a, random() % 400).result.bytes, ring);
            const auto spans = c.a->rx.peek_spans();
            EXPECT_LE(spans.first.size() + spans.second.size(), ring);
            const auto room = c.a->tx.reserve();
            EXPECT_LE(room.first.size() + room.second.size(), ring);
            std::fill(room.first.begin(), room.first.end(), std::byte{1});
            std::fill(room.second.begin(), room.second.end(), std::byte{2});
        }
        ASSERT_TRUE(c.guards_intact()) << "round " << round;
    }
}

} // namespace
} // namespace smcd::test
