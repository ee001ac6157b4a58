// Fixture of the conformance suite: every test runs once per row of worlds(). Floor 4.
#pragma once

#include <cstring>
#include <string>

#include <gtest/gtest.h>

#include "smcd/base/limits.hpp"
#include "tests/devices/conformance/world.hpp"

namespace smcd::dev::test {

inline constexpr SizeClass kSmall{0};
inline constexpr std::size_t kSmallBytes = dmb_size_bytes(kSmall);

class ConformanceTest : public ::testing::TestWithParam<WorldCase> {
protected:
    /// A DMB of A, attached by B; devices without attach are skipped.
    struct Pair {
        Dmb owner;
        RemoteDmb writer;
    };

    void SetUp() override { make({}); }

    void make(const WorldLimits& limits) { world_ = GetParam().make(limits); }

    World& world() { return *world_; }

    Device& device(World::Party party) { return world_->device(party); }

    DoorbellTable& doorbells(World::Party party) { return world_->doorbells(party); }

    /// A DMB of A for B.
    Dmb register_one(SizeClass size_class = kSmall) {
        auto dmb = world_->register_for(World::a, World::b, size_class);
        EXPECT_TRUE(dmb) << dmb.error().message();
        return dmb ? *dmb : Dmb{};
    }

    RemoteDmb attach(const Dmb& dmb) {
        auto remote = device(World::b).attach_dmb(world_->group(World::a), dmb.token);
        EXPECT_TRUE(remote) << remote.error().message();
        return remote ? *remote : RemoteDmb{};
    }

    Pair make_pair(SizeClass size_class = kSmall) {
        const Dmb dmb = register_one(size_class);
        return {dmb, attach(dmb)};
    }

    /// A doorbell of A that B can ring. `back` is a DMB of B that A has attached: the way back.
    unsigned open_door(const RemoteDmb& back) {
        const auto door = doorbells(World::a).acquire();
        EXPECT_TRUE(door);
        EXPECT_TRUE(world_->export_doorbell(World::a, back, *door));
        world_->pump();
        return *door;
    }

    /// A DMB of B, attached by A.
    RemoteDmb make_way_back() {
        auto dmb = world_->register_for(World::b, World::a, kSmall);
        EXPECT_TRUE(dmb);
        auto remote = device(World::a).attach_dmb(world_->group(World::b), dmb->token);
        EXPECT_TRUE(remote);
        return *remote;
    }

    static std::uint64_t bit(unsigned door) { return std::uint64_t{1} << door; }

    /// Indices that A's doorbell has, in order.
    std::vector<std::uint32_t> harvest(unsigned door) {
        std::vector<std::uint32_t> found;
        device(World::a).harvest(door, [&](SbaIndex index) { found.push_back(index.value()); });
        return found;
    }

private:
    std::unique_ptr<World> world_;
};

/// Skips the rest of a test on a device that copies.
#define SMCD_NEEDS_ATTACH()                                                                        \
    if (!device(World::a).supports_attach()) {                                                     \
        GTEST_SKIP() << "the device copies";                                                       \
    }

inline std::string name_of_world(const ::testing::TestParamInfo<WorldCase>& info) {
    return info.param.name;
}

} // namespace smcd::dev::test
