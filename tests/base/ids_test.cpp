// Tests of smcd/base/ids.hpp. Floor 4.
#include <type_traits>

#include <gtest/gtest.h>

#include "smcd/base/ids.hpp"

namespace smcd {
namespace {

static_assert(!std::is_convertible_v<std::uint64_t, DmbToken>);
static_assert(!std::is_convertible_v<DmbToken, std::uint64_t>);
static_assert(!std::is_constructible_v<DmbToken, SbaIndex>);
static_assert(sizeof(DmbToken) == 8 && sizeof(Chid) == 2 && sizeof(Gid) == 16);

TEST(IdsTest, KeepsItsValueAndIsZeroByDefault) {
    EXPECT_EQ(DmbToken().value(), 0U);
    EXPECT_EQ(DmbToken(77).value(), 77U);
}

TEST(IdsTest, OrdersByValue) {
    EXPECT_LT(SbaIndex(1), SbaIndex(2));
    EXPECT_LE(SbaIndex(2), SbaIndex(2));
    EXPECT_GT(SbaIndex(3), SbaIndex(2));
    EXPECT_NE(SbaIndex(3), SbaIndex(2));
}

TEST(IdsTest, GidsOrderByHighThenLow) {
    EXPECT_LT((Gid{1, 9}), (Gid{2, 0}));
    EXPECT_LT((Gid{1, 8}), (Gid{1, 9}));
    EXPECT_EQ((Gid{1, 8}), (Gid{1, 8}));
}

TEST(IdsTest, OnlyTheTopRangeOfChidsIsEmulated) {
    EXPECT_FALSE(is_emulated(Chid(0)));
    EXPECT_FALSE(is_emulated(Chid(0xFEFF)));
    EXPECT_TRUE(is_emulated(Chid(0xFF00)));
    EXPECT_TRUE(is_emulated(kLoopbackChid));
}

TEST(IdsTest, SizeClassDoublesFromSixteenKib) {
    EXPECT_EQ(dmb_size_bytes(SizeClass(0)), 16384U);
    EXPECT_EQ(dmb_size_bytes(SizeClass(6)), 1048576U);
    EXPECT_EQ(dmb_size_bytes(SizeClass(15)), 536870912U);
}

} // namespace
} // namespace smcd
