// Signal bits, indices and the places of signal areas, each by itself. Floor 4.
#include <atomic>
#include <memory>
#include <random>
#include <set>
#include <thread>

#include <gtest/gtest.h>

#include "devices/loopback/index_table.hpp"
#include "devices/loopback/signal_areas.hpp"
#include "smcd/base/memfd.hpp"
#include "tests/devices/support.hpp"

namespace smcd::dev::test {
namespace {

std::set<std::uint32_t> take(SignalArea& area, unsigned door) {
    std::set<std::uint32_t> found;
    area.harvest(door, [&](SbaIndex index) { found.insert(index.value()); });
    return found;
}

TEST(SignalAreaTest, EdgesOfWordsAndSummariesAreKept) {
    const auto area = std::make_unique<SignalArea>();
    const std::set<std::uint32_t> edges{0, 1, 63, 64, 4095, 4096, 32767, 65472, 65535};

    for (const std::uint32_t index : edges) {
        area->raise(63, SbaIndex(index));
    }

    EXPECT_TRUE(area->has_signal(63));
    EXPECT_FALSE(area->has_signal(62));
    EXPECT_EQ(take(*area, 63), edges);
    EXPECT_FALSE(area->has_signal(63));
}

TEST(SignalAreaTest, RandomIndicesMatchASet) {
    const auto area = std::make_unique<SignalArea>();
    std::mt19937 random(42); // NOLINT(cert-msc32-c,cert-msc51-cpp): a fixed sequence on purpose
    for (int round = 0; round < 200; ++round) {
        std::set<std::uint32_t> expected;
        for (int i = 0; i < 50; ++i) {
            const auto index = static_cast<std::uint32_t>(random() % kSignalIndexCount);
            area->raise(1, SbaIndex(index));
            expected.insert(index);
        }
        EXPECT_EQ(take(*area, 1), expected);
    }
}

// Several writers raise bits that share words while one harvests: each must be seen after its
// raise().
TEST(SignalAreaTest, RaisingWhileHarvestingLosesNothing) {
    constexpr std::uint32_t kWriters = 3;
    constexpr int kRounds = 30'000;
    const auto area = std::make_unique<SignalArea>();
    std::array<std::atomic<int>, kWriters> raised{};
    std::array<std::atomic<int>, kWriters> seen{};
    std::atomic<bool> failed{false};
    std::vector<std::thread> writers;
    for (std::uint32_t writer = 0; writer < kWriters; ++writer) {
        writers.emplace_back([&, writer] {
            for (int round = 1; round <= kRounds && !failed.load(); ++round) {
                raised[writer].store(round);
                area->raise(0, SbaIndex(writer));
                if (round % 64 == 0) {
                    // Now and then wait until it was seen: a lost bit would never be.
                    while (seen[writer].load() < round && !failed.load()) {
                        std::this_thread::yield();
                    }
                }
            }
        });
    }
    const std::uint64_t end = monotonic_ns() + kWatchdogMs * kNsPerMs;
    const auto all_seen = [&] {
        return std::all_of(
            seen.begin(), seen.end(), [](const auto& value) { return value.load() == kRounds; });
    };
    while (!all_seen() && monotonic_ns() < end) {
        if (area->has_signal(0)) {
            area->harvest(0, [&](SbaIndex index) {
                seen[index.value()].store(raised[index.value()].load());
            });
        }
    }
    failed.store(!all_seen());
    for (std::thread& writer : writers) {
        writer.join();
    }

    EXPECT_TRUE(all_seen());
}

TEST(IndexTableTest, TheLowestFreeIndexComesFirst) {
    const auto table = std::make_unique<IndexTable>();
    for (std::uint32_t i = 0; i < 200; ++i) {
        ASSERT_EQ(table->take(300, 7)->value(), i);
    }

    table->give_back(SbaIndex(100));
    table->give_back(SbaIndex(3));

    EXPECT_EQ(table->take(300, 8)->value(), 3U);
    EXPECT_EQ(table->take(300, 8)->value(), 100U);
    EXPECT_EQ(table->take(300, 8)->value(), 200U);
    EXPECT_TRUE(table->belongs(SbaIndex(3), 8));
    EXPECT_FALSE(table->belongs(SbaIndex(3), 7));
    EXPECT_TRUE(table->belongs(SbaIndex(4), 7));
}

TEST(IndexTableTest, TheLimitHolds) {
    const auto table = std::make_unique<IndexTable>();
    for (const std::uint32_t limit : {0U, 1U, 63U, 64U, 65U}) {
        while (table->take(limit, 0)) {
        }
        EXPECT_EQ(table->take(limit, 0).error(), std::errc::no_space_on_device);
        EXPECT_FALSE(table->belongs(SbaIndex(limit), 0));
    }
    std::uint32_t last = 65;
    for (auto index = table->take(kSignalIndexCount, 0); index;
         index = table->take(kSignalIndexCount, 0)) {
        last = index->value();
    }
    EXPECT_EQ(last, kSignalIndexCount - 1);
    EXPECT_FALSE(table->belongs(SbaIndex(kSignalIndexCount), 0));
    EXPECT_FALSE(table->belongs(SbaIndex(~0U), 0));
}

class SignalAreasTest : public ::testing::Test {
protected:
    static UniqueFd file() { return *create_sealed_memfd("test-area", kSignalAreaBytes); }

    std::uint32_t count() {
        std::uint32_t number = 0;
        areas->for_each([&](std::uint32_t, SignalArea&) {
            ++number;
            return true;
        });
        return number;
    }

    std::unique_ptr<SignalAreas> areas = std::make_unique<SignalAreas>();
};

TEST_F(SignalAreasTest, PlacesAreReusedLowestFirst) {
    for (std::uint32_t i = 0; i < 130; ++i) {
        ASSERT_EQ(*areas->add(file().get()), i);
    }
    areas->remove(5);
    areas->remove(128);
    areas->remove(129);

    EXPECT_EQ(count(), 128U);
    EXPECT_EQ(*areas->add(file().get()), 5U);
    EXPECT_EQ(*areas->add(file().get()), 128U);
}

TEST_F(SignalAreasTest, ARemovedAreaReadsEmptyAndHoldsNoMemory) {
    const UniqueFd memory = file();
    const std::uint32_t place = *areas->add(memory.get());
    SignalArea* seen = nullptr;
    areas->for_each([&](std::uint32_t, SignalArea& area) {
        seen = &area;
        return true;
    });
    seen->raise(0, SbaIndex(9));
    EXPECT_EQ(mappings_of("/memfd:test-area"), 1U);

    areas->remove(place);

    EXPECT_FALSE(seen->has_signal(0)); // a late reader
    EXPECT_EQ(mappings_of("/memfd:test-area"), 0U);
    seen->raise(0, SbaIndex(1)); // a late writer
    ASSERT_EQ(*areas->add(file().get()), place);
    EXPECT_FALSE(seen->has_signal(0));
}

TEST_F(SignalAreasTest, ScanningWhileAreasComeAndGoIsSafe) {
    std::atomic<bool> stop{false};
    std::thread scanner([&] {
        while (!stop.load()) {
            areas->for_each([](std::uint32_t, SignalArea& area) {
                area.raise(3, SbaIndex(1));
                take(area, 3);
                return true;
            });
        }
    });
    for (int i = 0; i < 2000; ++i) {
        const auto one = areas->add(file().get());
        const auto two = areas->add(file().get());
        areas->remove(*one);
        areas->remove(*two);
    }
    stop.store(true);
    scanner.join();

    EXPECT_EQ(count(), 0U);
}

TEST_F(SignalAreasTest, CapacityIsAnError) {
    const UniqueFd memory = file();
    for (std::uint32_t i = 0; i < SignalAreas::kCapacity; ++i) {
        ASSERT_TRUE(areas->add(memory.get()));
    }
    EXPECT_EQ(areas->add(memory.get()).error(), std::errc::no_space_on_device);
    EXPECT_EQ(count(), SignalAreas::kCapacity);
}

} // namespace
} // namespace smcd::dev::test
