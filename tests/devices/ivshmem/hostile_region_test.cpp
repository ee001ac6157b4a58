// A peer that writes anything anywhere into the tables while others work: nobody crashes or leaves
// the region, and who has no part in it notices nothing. Floor 4.
//
// "Leaves the region" is what AddressSanitizer and unmapped neighbours catch; the bystanders' DMBs
// and tables are not overwritten here, since any peer of a region can do that
// (docs/shared-memory.md).
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <random>
#include <thread>

#include "devices/ivshmem/peers.hpp"
#include "tests/devices/ivshmem/fixture.hpp"

namespace smcd::dev::test {
namespace {

std::uint64_t seed() {
    const char* given = std::getenv("SMCD_SEED");
    const std::uint64_t value =
        given != nullptr ? std::strtoull(given, nullptr, 0) : std::random_device{}();
    ::testing::Test::RecordProperty("seed", std::to_string(value));
    std::printf("SMCD_SEED=%llu\n", static_cast<unsigned long long>(value));
    return value;
}

/// Values that are likely to hurt: small, large, around sizes, and plain random.
class Nasty {
public:
    explicit Nasty(std::uint64_t from) : random_(from) {}

    std::uint64_t operator()() {
        constexpr std::array<std::uint64_t, 12> kEdges{
            0, 1, 2, 3, 4, 15, 16, 1023, 1024, 4096, ~0ULL, ~0ULL << 12U};
        const std::uint64_t number = random_();
        switch (number % 4) {
        case 0:
            return kEdges[number / 4 % kEdges.size()];
        case 1:
            return random_() % (2 * kRegionBytes) / 4096 * 4096;
        case 2:
            return (random_() << 32U) | (random_() % 6);
        default:
            return random_();
        }
    }

private:
    std::mt19937_64 random_;
};

/// Overwrites `bytes` at `memory`, word by word.
void smear(Nasty& nasty, void* memory, std::size_t bytes) {
    auto* words = static_cast<std::uint64_t*>(memory);
    for (std::size_t i = 0; i < bytes / sizeof(std::uint64_t); ++i) {
        std::atomic_ref(words[i]).store(nasty(), std::memory_order_relaxed);
    }
}

class HostileRegion : public IvshmemTest {
protected:
    /// Everything that a peer does with another; errors are fine, memory must be inside.
    void work(const Party& one, const Party& other) {
        const LinkGroupId one_group = one.group();
        const LinkGroupId other_group = other.group();
        const auto door = one.doorbells->acquire();
        const auto dmb = one.register_for(other_group);
        if (dmb) {
            touch(dmb->memory, one);
            const auto remote = other.device->attach_dmb(one_group, dmb->token);
            if (remote) {
                touch(remote->memory, other);
                other.device->signal(*remote, ~0ULL);
                static_cast<void>(other.device->detach_dmb(dmb->token));
            }
            static_cast<void>(one.device->unregister_dmb(dmb->token));
        }
        static_cast<void>(other.device->attach_dmb(
            one_group, DmbToken(region.slot(0).directory[0].token.load())));
        one.device->harvest(*door, [](SbaIndex index) { EXPECT_LT(index.value(), 1024U); });
        static_cast<void>(one.device->has_link(other_group));
        static_cast<void>(one.device->find_listener({4, 80, {}}));
        one.doorbells->release(*door);
    }

    static void touch(std::span<std::byte> memory, const Party& /*party*/) {
        memory.front() = std::byte{1};
        memory.back() = std::byte{2};
        memory[memory.size() / 2] = std::byte{3};
    }

    /// Tables of a slot but for the identity of its owner, which would end the work at once.
    void smear_tables(Nasty& nasty, std::uint32_t slot) {
        ivshmem::SlotTables& tables = region.slot(slot);
        smear(nasty, tables.listeners.data(), sizeof(tables.listeners));
        smear(nasty, &tables.signals, 4096);
        smear(nasty, tables.directory.data(), 64 * sizeof(ivshmem::DirEntry));
        tables.peer.directory_used.store(static_cast<std::uint32_t>(nasty()));
        tables.peer.listeners_used.store(static_cast<std::uint32_t>(nasty()));
        tables.peer.listen.store(static_cast<std::uint32_t>(nasty()));
        tables.peer.doorbell_id.store(static_cast<std::uint32_t>(nasty()));
    }
};

TEST_F(HostileRegion, EveryFieldOfTheTablesMayBeNonsense) {
    constexpr int kRounds = 3000;
    Nasty nasty(seed());
    const Party one(path);
    const Party other(path);
    const std::uint32_t one_slot = slot_of(one.group());
    const std::uint32_t other_slot = slot_of(other.group());

    for (int round = 0; round < kRounds; ++round) {
        smear_tables(nasty, one_slot);
        smear_tables(nasty, other_slot);
        work(one, other);
        work(other, one);
    }
}

TEST_F(HostileRegion, PeerEntriesAndHeaderMayBeNonsense) {
    constexpr int kRounds = 2000;
    Nasty nasty(seed());
    const Party one(path);
    const Party other(path);
    static_cast<void>(one.group());
    static_cast<void>(other.group());

    for (int round = 0; round < kRounds; ++round) {
        for (std::uint32_t slot = 0; slot < region.peers(); ++slot) {
            ivshmem::PeerEntry& entry = region.slot(slot).peer;
            smear(nasty, &entry, sizeof(entry));
            entry.kernel.store(ivshmem::own_kernel());
        }
        smear(nasty, &region.header(), sizeof(ivshmem::RegionHeader));
        work(one, other);
    }
}

// Two peers exchange data and signals all the time; a third's slot and a fourth's are smeared.
TEST_F(HostileRegion, BystandersNoticeNothing) {
    Nasty nasty(seed());
    const Party reader(path);
    const Party writer(path);
    const Party victim(path);
    const std::uint32_t reader_slot = slot_of(reader.group());
    const std::uint32_t writer_slot = slot_of(writer.group());
    const LinkGroupId victim_group = victim.group();
    const auto dmb = reader.register_for(writer.group());
    const auto remote = writer.device->attach_dmb(reader.group(), dmb->token);
    const unsigned door = *reader.doorbells->acquire();
    ASSERT_TRUE(remote && reader.device->export_doorbell(*remote, door));

    std::atomic<bool> done{false};
    std::thread meddler([&] {
        while (!done.load()) {
            for (std::uint32_t slot = 0; slot < region.peers(); ++slot) {
                if (slot != reader_slot && slot != writer_slot) {
                    smear_tables(nasty, slot);
                }
            }
            // The victim may fail in any way that is a Result.
            static_cast<void>(reader.device->attach_dmb(victim_group, DmbToken(7)));
            const auto lost = victim.register_for(reader.group());
            if (lost) {
                static_cast<void>(victim.device->unregister_dmb(lost->token));
            }
        }
    });
    constexpr std::uint32_t kMessages = 20'000;
    auto word = [](std::span<std::byte> memory) {
        return std::atomic_ref(*reinterpret_cast<std::uint32_t*>(memory.data()));
    };
    for (std::uint32_t i = 1; i <= kMessages; ++i) {
        reader.doorbells->begin_sleep(door);
        word(remote->memory).store(i);
        writer.device->signal(*remote, 1ULL << door);
        ASSERT_TRUE(reader.device->has_signal(door));
        if (i % 50 == 0) {
            ASSERT_TRUE(readable(reader.doorbells->event_fd(door))) << i;
        }
        static_cast<void>(take_rings(reader.doorbells->event_fd(door)));
        reader.doorbells->end_sleep(door);
        std::size_t found = 0;
        reader.device->harvest(door, [&](SbaIndex index) { found += index == dmb->index ? 1 : 0; });
        ASSERT_EQ(found, 1U);
        ASSERT_EQ(word(dmb->memory).load(), i);
    }
    done.store(true);
    meddler.join();
}

} // namespace
} // namespace smcd::dev::test
