// Regions: geometry, formatting, refusing what is none; the allocator of a slice. Floor 4.
#include <array>
#include <set>
#include <vector>

#include "devices/ivshmem/slice.hpp"
#include "smcd/base/error.hpp"
#include "tests/devices/ivshmem/fixture.hpp"

namespace smcd::dev::test {
namespace {

using ivshmem::Geometry;
using ivshmem::Region;
using ivshmem::SliceAllocator;

Result<Region> open_region(int fd, std::uint64_t bytes, std::uint32_t peers = 0) {
    return Region::open(UniqueFd(::dup(fd)), bytes, peers);
}

TEST(Geometry, SlotsAndSlicesStayInsideTheRegion) {
    for (const std::uint64_t bytes : {std::uint64_t{1} << 20U,
                                      std::uint64_t{16} << 20U,
                                      (std::uint64_t{16} << 20U) + 12345,
                                      std::uint64_t{1} << 40U}) {
        for (const std::uint32_t peers : {2U, 3U, 8U, 1024U}) {
            const auto geometry = Geometry::of(bytes, peers);
            if (!geometry) {
                continue;
            }
            EXPECT_LE(ivshmem::kHeaderBytes + geometry->stride * peers, bytes);
            EXPECT_EQ(geometry->stride % 4096, 0U);
            EXPECT_EQ(geometry->slice_bytes + ivshmem::kSlotTablesBytes, geometry->stride);
        }
    }
}

TEST(Geometry, RefusesWhatHasNoRoom) {
    EXPECT_FALSE(Geometry::of(0, 2));
    EXPECT_FALSE(Geometry::of(4096, 2));
    EXPECT_FALSE(Geometry::of(16 << 20U, 1));
    EXPECT_FALSE(Geometry::of(16 << 20U, 1025));
    EXPECT_FALSE(Geometry::of(16 << 20U, 1024));
    EXPECT_TRUE(Geometry::of(16 << 20U, Geometry::default_peers(16 << 20U)));
}

TEST_F(IvshmemTest, FormattingHappensOnce) {
    const auto again = open_region(file.get(), kRegionBytes, 8);

    ASSERT_TRUE(again);
    EXPECT_EQ(again->uuid(), region.uuid());
    EXPECT_EQ(again->peers(), kPeers);
}

TEST_F(IvshmemTest, ALargerMappingOfTheSameRegionIsTheSameRegion) {
    ASSERT_EQ(::ftruncate(file.get(), 2 * kRegionBytes), 0);

    const auto again = open_region(file.get(), 2 * kRegionBytes);

    ASSERT_TRUE(again);
    EXPECT_EQ(again->geometry().stride, region.geometry().stride);
}

TEST_F(IvshmemTest, ADamagedHeaderIsRefused) {
    ivshmem::RegionHeader& header = region.header();
    const auto refused = [&](auto& field, auto value) {
        const auto before = field.exchange(value);
        const auto opened = open_region(file.get(), kRegionBytes);
        field.store(before);
        return !opened;
    };

    EXPECT_TRUE(refused(header.magic, 1ULL));
    EXPECT_TRUE(refused(header.version, 2U));
    EXPECT_TRUE(refused(header.bytes, kRegionBytes + 1));
    EXPECT_TRUE(refused(header.bytes, ~0ULL));
    EXPECT_TRUE(refused(header.bytes, 0ULL));
    EXPECT_TRUE(refused(header.peers, 0U));
    EXPECT_TRUE(refused(header.peers, ~0U));
    EXPECT_TRUE(refused(header.state, 77U));
    EXPECT_TRUE(refused(header.state, 1U));
    EXPECT_TRUE(open_region(file.get(), kRegionBytes));
}

TEST_F(IvshmemTest, ASlowMappingIsRefusedWithAReason) {
    const auto doorbells = *DoorbellTable::create();
    IvshmemOptions options;
    options.path = path;
    options.measure = [](std::span<std::byte>) { return std::uint64_t{5'000'000}; };

    EXPECT_EQ(IvshmemDevice::open(*doorbells, options).error(), Errc::slow_memory);
    options.measure = [](std::span<std::byte>) { return std::uint64_t{5'000'000'000}; };
    EXPECT_TRUE(IvshmemDevice::open(*doorbells, options));
}

TEST_F(IvshmemTest, WhatIsNoMemoryIsRefused) {
    const auto doorbells = *DoorbellTable::create();
    IvshmemOptions options;
    for (const char* wrong : {"/dev/null", "/proc", "/nowhere", "/proc/self/maps", "pci"}) {
        options.path = wrong;
        EXPECT_FALSE(IvshmemDevice::open(*doorbells, options)) << wrong;
    }
}

TEST(Slice, GivesEveryByteOnceAndTakesItBack) {
    SliceAllocator slice(1000);
    std::vector<std::uint64_t> offsets;
    while (const auto offset = slice.take(100)) {
        offsets.push_back(*offset);
    }
    EXPECT_EQ(std::set<std::uint64_t>(offsets.begin(), offsets.end()).size(), 10U);
    EXPECT_EQ(slice.free_bytes(), 0U);
    for (const std::size_t i : {3U, 1U, 2U, 0U, 9U, 4U, 8U, 5U, 7U, 6U}) {
        slice.give_back(offsets[i], 100);
    }

    EXPECT_EQ(slice.take(1000), std::uint64_t{0});
}

TEST(Slice, TakesExactRanges) {
    SliceAllocator slice(1000);

    EXPECT_TRUE(slice.take_at(100, 200));
    EXPECT_FALSE(slice.take_at(250, 100));
    EXPECT_FALSE(slice.take_at(0, 101));
    EXPECT_FALSE(slice.take_at(900, 101));
    EXPECT_FALSE(slice.take_at(~0ULL - 5, 100));
    EXPECT_TRUE(slice.take_at(0, 100));
    EXPECT_EQ(slice.take(700), std::uint64_t{300});
}

} // namespace
} // namespace smcd::dev::test
