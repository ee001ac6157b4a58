// Cursor arithmetic and the CDC words: worked examples, wrap-around, hostile cursors, golden bytes.
#include <bit>
#include <cstring>
#include <random>

#include <gtest/gtest.h>

#include "smcd/core/cdc.hpp"
#include "smcd/core/dmb_layout.hpp"
#include "tests/core/support.hpp"

namespace smcd::test {
namespace {

constexpr std::uint32_t kRing = 65504; // class 2

TEST(Cursor, WorkedExamples) {
    EXPECT_EQ(distance({0, 65000}, {1, 300}, kRing), 804U);
    EXPECT_EQ(distance({0, 300}, {1, 300}, kRing), kRing) << "full";
    EXPECT_EQ(distance({0, 0}, {0, 0}, kRing), 0U) << "empty";
    EXPECT_EQ(checked_distance({0, 65000}, {1, 300}, kRing, kRing), 804U);
    EXPECT_EQ(checked_distance({0, 300}, {1, 300}, kRing, kRing), kRing);
    EXPECT_EQ(checked_distance({0, 0}, {0, 0}, kRing, kRing), 0U);
    // 40000 bytes behind the last confirmed position, of which 7000 were read since.
    EXPECT_EQ(kRing - distance({0, 0}, {0, 40000}, kRing), 25504U);
    EXPECT_EQ(kRing - distance({0, 0}, {0, 20000}, kRing), 45504U);
}

TEST(Cursor, AdvanceWrapsCountAndWrap) {
    EXPECT_EQ(advance({0, 0}, 0, kRing), (Cursor{0, 0}));
    EXPECT_EQ(advance({0, 0}, kRing - 1, kRing), (Cursor{0, kRing - 1}));
    EXPECT_EQ(advance({0, kRing - 1}, 1, kRing), (Cursor{1, 0}));
    EXPECT_EQ(advance({0, 5}, kRing, kRing), (Cursor{1, 5}));
    EXPECT_EQ(advance({65535, kRing - 1}, 2, kRing), (Cursor{0, 1}));
    EXPECT_EQ(distance({65535, kRing - 4}, {0, 6}, kRing), 10U);
    EXPECT_EQ(checked_distance({65535, kRing - 4}, {0, 6}, kRing, kRing), 10U);
}

TEST(Cursor, RingsBeyondTwoGigabytes) {
    constexpr std::uint32_t kHuge = 0xFFFFFFE0;
    EXPECT_EQ(advance({0, kHuge - 1}, kHuge, kHuge), (Cursor{1, kHuge - 1}));
    EXPECT_EQ(distance({0, kHuge - 1}, {1, kHuge - 1}, kHuge), kHuge);
    EXPECT_EQ(checked_distance({0, kHuge - 1}, {1, kHuge - 1}, kHuge, kHuge), kHuge);
    EXPECT_FALSE(checked_distance({0, 0}, {1, kHuge - 1}, kHuge, kHuge));
}

TEST(Cursor, HostileOnesAreRejected) {
    const Cursor known{7, 1000};
    for (const Cursor claimed : {Cursor{7, 999}, Cursor{7, 0}, Cursor{6, 1000}, Cursor{6, 65503},
                                 Cursor{9, 0}, Cursor{9, 1000}, Cursor{0, 1000},
                                 Cursor{65535, 1000}, Cursor{7, kRing}, Cursor{8, kRing},
                                 Cursor{7, 0xFFFFFFFF}, Cursor{8, 0xFFFFFFFF}, Cursor{8, 1001}}) {
        EXPECT_FALSE(checked_distance(known, claimed, kRing, kRing))
            << claimed.wrap << '/' << claimed.count;
    }
    EXPECT_EQ(checked_distance(known, {7, 1100}, kRing, 100), 100U);
    EXPECT_FALSE(checked_distance(known, {7, 1101}, kRing, 100)) << "further than the limit";
    EXPECT_FALSE(checked_distance(known, {8, 0}, kRing, kRing - 1001));
    EXPECT_EQ(checked_distance(known, known, kRing, 0), 0U);
}

TEST(Cursor, AgreesWithPlainCounting) {
    std::mt19937_64 random(test_seed());
    for (int round = 0; round < 200; ++round) {
        const auto ring = static_cast<std::uint32_t>(1 + random() % 5000);
        Cursor cursor{static_cast<std::uint16_t>(65530 + random() % 6), 0};
        const Cursor start = cursor;
        std::uint64_t total = 0;
        for (int step = 0; step < 200; ++step) {
            const auto n = static_cast<std::uint32_t>(random() % (ring + 1));
            const Cursor next = advance(cursor, n, ring);
            EXPECT_EQ(distance(cursor, next, ring), n);
            EXPECT_EQ(checked_distance(cursor, next, ring, n), n);
            if (n > 0) {
                EXPECT_FALSE(checked_distance(cursor, next, ring, n - 1));
            }
            total += n;
            EXPECT_EQ(next.count, total % ring);
            EXPECT_EQ(next.wrap, static_cast<std::uint16_t>(start.wrap + total / ring));
            cursor = next;
        }
    }
}

std::array<std::uint8_t, 8> bytes_of(std::uint64_t word) {
    return std::bit_cast<std::array<std::uint8_t, 8>>(word);
}

TEST(Cdc, GoldenWordsOfALittleEndianHost) {
    if constexpr (std::endian::native != std::endian::little) {
        GTEST_SKIP() << "the golden words are those of a little-endian host";
    }
    using Word = std::array<std::uint8_t, 8>;
    EXPECT_EQ(bytes_of(pack(Cursor{0, 5000})), (Word{0, 0, 0x88, 0x13, 0, 0, 0, 0}));
    EXPECT_EQ(bytes_of(pack(Cursor{1, 300})), (Word{1, 0, 0x2c, 1, 0, 0, 0, 0}));
    EXPECT_EQ(bytes_of(pack(CdcWord{{0, 65000}, kWriteBlocked, 0})),
              (Word{0, 0, 0xe8, 0xfd, 0, 0, 0x80, 0}));
    EXPECT_EQ(bytes_of(pack(CdcWord{{0, 65000}, 0, kPeerConnClosed})),
              (Word{0, 0, 0xe8, 0xfd, 0, 0, 0, 0x40}));
}

TEST(Cdc, PackAndUnpackAreInverse) {
    std::mt19937_64 random(test_seed());
    for (int round = 0; round < 10000; ++round) {
        const std::uint64_t raw = random();
        EXPECT_EQ(pack(unpack(raw)), raw);
    }
    const CdcWord word{{65535, 0xFFFFFFFF}, 0xF8, 0xE0};
    EXPECT_EQ(unpack(pack(word)), word);
}

TEST(Cdc, AreaWithTheGoldenBytes) {
    if constexpr (std::endian::native != std::endian::little) {
        GTEST_SKIP() << "the golden area is that of a little-endian host";
    }
    // Producer 0/5000, consumer 0/0: what a peer's first 5000 bytes leave in our DMB.
    Connection c;
    EXPECT_EQ(send(*c.a, std::string(5000, 'x')).bytes, 5000U);
    std::array<std::uint8_t, 32> area{};
    std::memcpy(area.data(), static_cast<void*>(c.b->channel.own.cdc), area.size());
    std::array<std::uint8_t, 32> expected{0xfe};
    expected[10] = 0x88;
    expected[11] = 0x13;
    EXPECT_EQ(area, expected);
}

TEST(Layout, RingFollowsTheArea) {
    alignas(64) static std::array<std::byte, 16384> memory{};
    const DmbView view = view_dmb(memory);
    EXPECT_EQ(static_cast<void*>(view.cdc), static_cast<void*>(memory.data()));
    EXPECT_EQ(view.ring, memory.data() + 32);
    EXPECT_EQ(view.ring_bytes, 16352U);
}

} // namespace
} // namespace smcd::test
