// The parts of the ISM device that need no fabric. Floor 4.
#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "devices/ism/event_queue.hpp"
#include "devices/ism/move_command.hpp"
#include "devices/ism/status_area.hpp"
#include "devices/ism/vlan_table.hpp"

namespace smcd::dev::test {
namespace {

using Signals = std::vector<std::pair<std::uint32_t, std::uint16_t>>;

Signals take(StatusArea& area) {
    Signals taken;
    area.take([&](SbaIndex index, std::uint16_t mask) { taken.emplace_back(index.value(), mask); });
    return taken;
}

TEST(StatusAreaTest, SignalsMergeIntoTheMask) {
    const auto area = std::make_unique<StatusArea>();

    EXPECT_TRUE(area->raise(SbaIndex(33), 0x8000));
    EXPECT_FALSE(area->raise(SbaIndex(33), 0x0001));
    EXPECT_TRUE(area->raise(SbaIndex(1919), 0x4000));

    EXPECT_EQ(area->summary.load(), StatusArea::kSummary);
    EXPECT_EQ(area->bits[1].load(), 0x40000000U); // the second most significant
    EXPECT_EQ(take(*area),
              (Signals{
                  {33,   0x8001},
                  {1919, 0x4000}
    }));
    EXPECT_EQ(area->summary.load(), 0U);
    EXPECT_TRUE(take(*area).empty());
}

TEST(StatusAreaTest, TheEventBitIsNotASignal) {
    const auto area = std::make_unique<StatusArea>();
    area->summary.store(StatusArea::kEvent);

    EXPECT_TRUE(take(*area).empty());
    EXPECT_EQ(area->summary.load(), StatusArea::kEvent);
}

TEST(StatusAreaTest, ClearingTakesOneSignal) {
    const auto area = std::make_unique<StatusArea>();
    area->raise(SbaIndex(40), 0x8000);
    area->raise(SbaIndex(41), 0x8000);

    area->clear(SbaIndex(40));

    EXPECT_EQ(take(*area),
              (Signals{
                  {41, 0x8000}
    }));
}

TEST(EventQueueTest, KeepsFifteenAndCountsTheRest) {
    EventQueue queue;
    for (std::uint32_t i = 0; i < 17; ++i) {
        EXPECT_EQ(queue.push({FabricEventType::software, i, 0, 0, 0}), i < EventQueue::kEntries);
    }

    EXPECT_EQ(queue.overruns(), 2U);
    for (std::uint32_t i = 0; i < EventQueue::kEntries; ++i) {
        EXPECT_EQ(queue.pop()->code, i);
    }
    EXPECT_FALSE(queue.pop());
    EXPECT_TRUE(queue.push({}));
}

TEST(MoveCommandTest, TheWordHoldsAllFields) {
    const MoveCommand move{DmbToken(0x123456789000'0000ULL), 15, true, kMoveOffsetMax};

    EXPECT_EQ(pack(move), 0x123456789FFF'FFFFULL);
    EXPECT_EQ(unpack_move(pack(move)), move);
    EXPECT_EQ(pack({DmbToken(1ULL << 28U), 0, false, 4096}), 0x1000'1000ULL);
}

TEST(VlanTableTest, IdsLiveAsLongAsTheirUsers) {
    VlanTable table;
    EXPECT_TRUE(table.add(100));
    EXPECT_TRUE(table.add(100));
    EXPECT_TRUE(table.remove(100));
    EXPECT_TRUE(table.contains(100));
    EXPECT_TRUE(table.remove(100));

    EXPECT_FALSE(table.contains(100));
    EXPECT_EQ(table.remove(100).error(), std::errc::no_such_file_or_directory);
}

TEST(VlanTableTest, TakesVlansAndTheReservedId) {
    VlanTable table;

    EXPECT_TRUE(table.add(1));
    EXPECT_TRUE(table.add(4094));
    EXPECT_TRUE(table.add(kIsmReservedVlan));
    for (const int id : {0, 4095, 0x1FFE, 0x2000, 0xFFFF}) {
        EXPECT_EQ(table.add(static_cast<std::uint16_t>(id)).error(), std::errc::invalid_argument)
            << id;
    }
}

} // namespace
} // namespace smcd::dev::test
