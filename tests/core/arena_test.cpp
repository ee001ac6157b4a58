// ConnArena: blocks are given out once. Floor 4.
#include <memory>
#include <set>

#include <gtest/gtest.h>

#include "smcd/core/conn_arena.hpp"

namespace smcd::test {
namespace {

/// More than there are in a chunk, so that the search comes around.
constexpr int kMany = 3 * static_cast<int>(kBlocksPerChunk);

TEST(ConnArenaTest, ABlockIsNobodyElsesUntilItIsFreed) {
    const auto arena = std::make_unique<ConnArena>();
    ConnBlock* const first = *arena->allocate();

    ASSERT_TRUE(arena->release(*first));
    std::set<ConnBlock*> others;
    for (int i = 0; i < kMany; ++i) {
        others.insert(*arena->allocate());
    }

    EXPECT_EQ(others.size(), static_cast<std::size_t>(kMany));
    EXPECT_FALSE(others.contains(first));
    ConnArena::free(*first);
    bool found = false;
    for (int i = 0; i < kMany && !found; ++i) {
        found = *arena->allocate() == first;
    }
    EXPECT_TRUE(found);
}

TEST(ConnArenaTest, OnlyTheLastHolderEndsABlock) {
    const auto arena = std::make_unique<ConnArena>();
    ConnBlock& block = **arena->allocate();
    const std::uint64_t self = arena->relatives().self().bit();
    const std::uint64_t relative = self << 5U;
    block.holders.fetch_or(relative);

    EXPECT_FALSE(arena->release(block));
    EXPECT_EQ(block.holders.load(), relative);
    block.holders.store(self);
    EXPECT_TRUE(arena->release(block));
    EXPECT_NE(block.holders.load(), 0U);
    ConnArena::free(block);
    EXPECT_EQ(block.holders.load(), 0U);
}

} // namespace
} // namespace smcd::test
