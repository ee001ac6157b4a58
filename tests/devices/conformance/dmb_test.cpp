// Conformance of DMBs: identity, registering, attaching, moving data, lifetime. Floor 4.
#include <algorithm>
#include <set>

#include "tests/devices/conformance/fixture.hpp"

namespace smcd::dev::test {
namespace {

constexpr DmbToken kUnknown{0x1234567890abcdef};

bool all_zero(std::span<const std::byte> memory) {
    return std::all_of(
        memory.begin(), memory.end(), [](std::byte byte) { return byte == std::byte{0}; });
}

class DmbConformance : public ConformanceTest {};

TEST_P(DmbConformance, IdentityIsConstantAndShared) {
    Device& a = device(World::a);
    Device& b = device(World::b);

    EXPECT_NE(a.gid(), Gid{});
    EXPECT_EQ(a.gid(), a.gid());
    EXPECT_EQ(a.fabric_id(), b.fabric_id());
    EXPECT_GT(a.max_dmbs(), 0U);
}

TEST_P(DmbConformance, ReachesPeersAndNobodyElse) {
    Device& a = device(World::a);
    Gid nobody = device(World::b).gid();
    nobody.low ^= 1;

    EXPECT_TRUE(a.query_remote_gid(device(World::b).gid()));
    EXPECT_EQ(a.query_remote_gid(nobody).error(), std::errc::network_unreachable);
    EXPECT_EQ(a.register_dmb({nobody, world().group(World::b), kSmall}).error(),
              std::errc::network_unreachable);
}

TEST_P(DmbConformance, RegistersZeroedMemoryOfEveryClass) {
    for (std::uint8_t value = 0; value <= kSizeClassKernelMax; ++value) {
        const Dmb dmb = register_one(SizeClass(value));

        ASSERT_EQ(dmb.memory.size(), dmb_size_bytes(SizeClass(value)));
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(dmb.memory.data()) % kCacheLineBytes, 0U);
        EXPECT_TRUE(all_zero(dmb.memory));
        std::memset(dmb.memory.data(), 0xa5, dmb.memory.size());
        EXPECT_TRUE(device(World::a).unregister_dmb(dmb.token));
    }
}

TEST_P(DmbConformance, ControlAreaAndBellsAreZeroAgainInALaterDmb) {
    constexpr std::size_t kControlBytes = 32;
    std::set<DmbToken> tokens;
    for (int i = 0; i < 3; ++i) {
        const Dmb dmb = register_one();
        EXPECT_TRUE(all_zero(dmb.memory.first(kControlBytes)));
        EXPECT_TRUE(tokens.insert(dmb.token).second);
        if (device(World::a).supports_attach()) {
            const RemoteDmb remote = attach(dmb);
            EXPECT_EQ(dmb.bells->doors_in.load() | dmb.bells->doors_out.load(), 0U);
            EXPECT_EQ(dmb.bells->futex_in.load() | dmb.bells->futex_out.load(), 0U);
            EXPECT_EQ(dmb.bells->cpu.load(), 0U);
            EXPECT_EQ(dmb.bells->consumed.load(), 0U);
            std::memset(static_cast<void*>(dmb.bells), 0xa5, sizeof(Bells));
            std::memset(remote.memory.data(), 0xa5, remote.memory.size());
            ASSERT_TRUE(device(World::b).detach_dmb(dmb.token));
        }
        ASSERT_TRUE(device(World::a).unregister_dmb(dmb.token));
    }
}

TEST_P(DmbConformance, ATokenCannotBeAttachedAfterItsDmbIsGone) {
    SMCD_NEEDS_ATTACH();
    const Pair pair = make_pair();
    ASSERT_TRUE(device(World::b).detach_dmb(pair.owner.token));
    ASSERT_TRUE(device(World::a).unregister_dmb(pair.owner.token));
    const Dmb next = register_one();

    EXPECT_FALSE(device(World::b).attach_dmb(world().group(World::a), pair.owner.token));
    EXPECT_TRUE(device(World::b).attach_dmb(world().group(World::a), next.token));
}

TEST_P(DmbConformance, MemoryOfOnePeerNeverGoesToAnother) {
    SMCD_NEEDS_ATTACH();
    const Pair pair = make_pair();
    std::memset(pair.writer.memory.data(), 0xa5, pair.writer.memory.size());
    ASSERT_TRUE(device(World::b).detach_dmb(pair.owner.token));
    ASSERT_TRUE(device(World::a).unregister_dmb(pair.owner.token));

    const auto other = world().register_for(World::a, World::stranger, kSmall);

    ASSERT_TRUE(other);
    EXPECT_TRUE(all_zero(other->memory));
}

TEST_P(DmbConformance, TokensAndIndicesAreDistinct) {
    std::set<DmbToken> tokens;
    std::set<SbaIndex> indices;

    for (int i = 0; i < 100; ++i) {
        const Dmb dmb = register_one();
        EXPECT_NE(dmb.token.value(), 0U);
        EXPECT_LT(dmb.index.value(), device(World::a).max_dmbs());
        tokens.insert(dmb.token);
        indices.insert(dmb.index);
    }

    EXPECT_EQ(tokens.size(), 100U);
    EXPECT_EQ(indices.size(), 100U);
}

TEST_P(DmbConformance, RefusesSizeClassesBeyondTheWire) {
    EXPECT_EQ(world().register_for(World::a, World::b, SizeClass(16)).error(),
              std::errc::invalid_argument);
    EXPECT_EQ(world().register_for(World::a, World::b, SizeClass(255)).error(),
              std::errc::invalid_argument);
}

TEST_P(DmbConformance, NoIndexLeftIsAnErrorUntilOneIsFreed) {
    make({.max_dmbs = 8});
    std::vector<Dmb> dmbs;
    // Devices may keep some indices for themselves.
    for (auto dmb = world().register_for(World::a, World::b, kSmall); dmb;
         dmb = world().register_for(World::a, World::b, kSmall)) {
        dmbs.push_back(*dmb);
    }
    ASSERT_GE(dmbs.size(), 8U);
    ASSERT_LE(dmbs.size(), device(World::a).max_dmbs());

    EXPECT_EQ(world().register_for(World::a, World::b, kSmall).error(),
              std::errc::no_space_on_device);
    ASSERT_TRUE(device(World::a).unregister_dmb(dmbs[3].token));
    EXPECT_TRUE(world().register_for(World::a, World::b, kSmall));
    EXPECT_EQ(world().register_for(World::a, World::b, kSmall).error(),
              std::errc::no_space_on_device);
}

TEST_P(DmbConformance, NoBytesLeftIsAnErrorUntilSomeAreFreed) {
    make({.max_bytes = 3 * kSmallBytes});
    const Dmb first = register_one(SizeClass(1));

    EXPECT_EQ(world().register_for(World::a, World::b, SizeClass(1)).error(),
              std::errc::not_enough_memory);
    EXPECT_TRUE(world().register_for(World::a, World::b, kSmall));
    ASSERT_TRUE(device(World::a).unregister_dmb(first.token));
    EXPECT_TRUE(world().register_for(World::a, World::b, SizeClass(1)));
}

TEST_P(DmbConformance, UnregisteringTakesOurOwnTokensOnce) {
    const Dmb dmb = register_one();

    EXPECT_EQ(device(World::a).unregister_dmb(kUnknown).error(), std::errc::invalid_argument);
    EXPECT_EQ(device(World::b).unregister_dmb(dmb.token).error(), std::errc::invalid_argument);
    EXPECT_TRUE(device(World::a).unregister_dmb(dmb.token));
    EXPECT_EQ(device(World::a).unregister_dmb(dmb.token).error(), std::errc::invalid_argument);
}

TEST_P(DmbConformance, AttachedMemoryIsTheOwnersMemory) {
    SMCD_NEEDS_ATTACH();
    const Pair pair = make_pair(SizeClass(2));

    EXPECT_EQ(pair.writer.token, pair.owner.token);
    EXPECT_EQ(pair.writer.index, pair.owner.index);
    EXPECT_EQ(pair.writer.size_class, pair.owner.size_class);
    ASSERT_EQ(pair.writer.memory.size(), pair.owner.memory.size());
    pair.writer.memory.front() = std::byte{1};
    pair.writer.memory.back() = std::byte{2};
    EXPECT_EQ(pair.owner.memory.front(), std::byte{1});
    EXPECT_EQ(pair.owner.memory.back(), std::byte{2});
}

TEST_P(DmbConformance, BellsOfTheOwnerAreSeenAndClearedByTheWriter) {
    SMCD_NEEDS_ATTACH();
    const Pair pair = make_pair();
    ASSERT_NE(pair.owner.bells, nullptr);
    ASSERT_NE(pair.writer.bells, nullptr);
    EXPECT_EQ(pair.owner.bells->doors_in.load(), 0U);

    pair.owner.bells->doors_in.store(5);
    pair.owner.bells->consumed.store(77);

    EXPECT_EQ(pair.writer.bells->doors_in.exchange(0), 5U);
    EXPECT_EQ(pair.writer.bells->consumed.load(), 77U);
    EXPECT_EQ(pair.owner.bells->doors_in.load(), 0U);
}

TEST_P(DmbConformance, UnknownTokensCannotBeAttached) {
    SMCD_NEEDS_ATTACH();
    const Dmb dmb = register_one();
    const LinkGroupId a = world().group(World::a);
    const LinkGroupId wrong = world().group(World::stranger);

    EXPECT_EQ(device(World::b).attach_dmb(a, kUnknown).error(), std::errc::invalid_argument);
    EXPECT_EQ(device(World::b).attach_dmb(a, DmbToken(0)).error(), std::errc::invalid_argument);
    EXPECT_EQ(device(World::b).attach_dmb(wrong, dmb.token).error(), std::errc::invalid_argument);
    EXPECT_EQ(device(World::b).detach_dmb(dmb.token).error(), std::errc::invalid_argument);
    EXPECT_TRUE(device(World::b).attach_dmb(a, dmb.token));
}

TEST_P(DmbConformance, AttachingTwiceNeedsTwoDetaches) {
    SMCD_NEEDS_ATTACH();
    const Pair pair = make_pair();

    const RemoteDmb again = attach(pair.owner);

    EXPECT_EQ(again.memory.data(), pair.writer.memory.data());
    EXPECT_TRUE(device(World::b).detach_dmb(pair.owner.token));
    again.memory[40] = std::byte{9};
    EXPECT_EQ(pair.owner.memory[40], std::byte{9});
    EXPECT_TRUE(device(World::b).detach_dmb(pair.owner.token));
    EXPECT_EQ(device(World::b).detach_dmb(pair.owner.token).error(), std::errc::invalid_argument);
}

TEST_P(DmbConformance, MemoryLivesUntilTheWriterDetaches) {
    SMCD_NEEDS_ATTACH();
    const Pair pair = make_pair();
    pair.writer.memory[100] = std::byte{42};

    ASSERT_TRUE(device(World::a).unregister_dmb(pair.owner.token));
    const Dmb other = register_one();
    std::memset(other.memory.data(), 0x11, other.memory.size());

    EXPECT_EQ(pair.writer.memory[100], std::byte{42});
    pair.writer.memory[101] = std::byte{43};
    EXPECT_EQ(other.memory[101], std::byte{0x11});
    device(World::b).signal(pair.writer, bit(0));
    EXPECT_TRUE(device(World::b).detach_dmb(pair.owner.token));
}

TEST_P(DmbConformance, OnlyTheAuthorisedPeerCanAttachOrWrite) {
    const Dmb dmb = register_one();
    const LinkGroupId a = world().group(World::a);
    const std::array<std::byte, 4> data{std::byte{1}};

    world().pump();

    EXPECT_FALSE(device(World::stranger).attach_dmb(a, dmb.token));
    EXPECT_FALSE(device(World::stranger).move_data(dmb.token, false, 0, data));
    EXPECT_TRUE(all_zero(dmb.memory));
}

TEST_P(DmbConformance, ManyDmbsStayApart) {
    SMCD_NEEDS_ATTACH();
    std::vector<Pair> pairs;
    for (int i = 0; i < 64; ++i) {
        pairs.push_back(make_pair());
        std::memset(pairs.back().writer.memory.data(), i, pairs.back().writer.memory.size());
    }

    for (std::size_t i = 0; i < pairs.size(); ++i) {
        EXPECT_EQ(pairs[i].owner.memory[i * 97], static_cast<std::byte>(i));
    }
}

struct Move {
    const char* what;
    std::uint32_t offset;
    std::size_t bytes;
    bool allowed;
};

TEST_P(DmbConformance, MovesStayInsideTheDmb) {
    const Dmb dmb = register_one();
    attach(dmb);
    const std::vector<std::byte> data(2 * kSmallBytes, std::byte{0x5a});
    constexpr auto kEnd = static_cast<std::uint32_t>(kSmallBytes);
    constexpr std::array<Move, 11> kMoves{
        {
         {"whole", 0, kEnd, true},
         {"exact end", kEnd - 8, 8, true},
         {"last byte", kEnd - 1, 1, true},
         {"nothing", 0, 0, true},
         {"nothing at the end", kEnd, 0, true},
         {"nothing past the end", kEnd + 1, 0, false},
         {"one byte too many", 0, kEnd + 1, false},
         {"across the end", kEnd - 1, 2, false},
         {"at the end", kEnd, 1, false},
         {"offset overflow", 0xffffffff, 2, false},
         {"offset overflow to 0", 0xffffffff, 1, false},
         }
    };

    for (const Move& move : kMoves) {
        std::memset(dmb.memory.data(), 0, dmb.memory.size());
        const auto result = device(World::b).move_data(
            dmb.token, false, move.offset, std::span(data).first(move.bytes));

        EXPECT_EQ(result.has_value(), move.allowed) << move.what;
        if (!move.allowed) {
            EXPECT_EQ(result.error(), std::errc::bad_address) << move.what;
        }
        const std::size_t written = static_cast<std::size_t>(
            std::count(dmb.memory.begin(), dmb.memory.end(), std::byte{0x5a}));
        EXPECT_EQ(written, move.allowed ? move.bytes : 0U) << move.what;
        if (written > 0) {
            EXPECT_EQ(dmb.memory[move.offset], std::byte{0x5a}) << move.what;
        }
    }
}

TEST_P(DmbConformance, MovesNeedAKnownToken) {
    const std::array<std::byte, 1> data{};

    EXPECT_EQ(device(World::b).move_data(kUnknown, false, 0, data).error(),
              std::errc::invalid_argument);
}

TEST_P(DmbConformance, ACopyingDeviceShowsNoMemory) {
    const Dmb dmb = register_one();
    const RemoteDmb remote = attach(dmb);

    EXPECT_EQ(remote.token, dmb.token);
    EXPECT_EQ(remote.size_class, dmb.size_class);
    EXPECT_EQ(remote.memory.empty(), !device(World::a).supports_attach());
    EXPECT_EQ(remote.bells == nullptr, !device(World::a).supports_attach());
}

INSTANTIATE_TEST_SUITE_P(Devices, DmbConformance, ::testing::ValuesIn(worlds()), name_of_world);

} // namespace
} // namespace smcd::dev::test
