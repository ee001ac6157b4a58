// What tells a waiting set which of its entries to look at: local signals and the owners of DMBs.
// Floor 4.
#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <set>
#include <thread>

#include <gtest/gtest.h>

#include "devices/api/doorbell.hpp"
#include "devices/loopback/loopback.hpp"
#include "smcd/runtime/dmb_owners.hpp"
#include "smcd/runtime/local_signals.hpp"
#include "smcd/runtime/socket.hpp"

namespace smcd::test {
namespace {

constexpr unsigned kDoor = 7;

std::set<std::uint32_t> take(LocalSignals& signals, unsigned door) {
    std::set<std::uint32_t> found;
    signals.harvest(door, [&](std::uint32_t number) { found.insert(number); });
    return found;
}

TEST(LocalSignalsTest, EdgesOfWordsAndSummariesAreKept) {
    LocalSignals signals;
    ASSERT_TRUE(signals.open(kDoor));
    const std::set<std::uint32_t> edges{0, 1, 63, 64, 4095, 4096, LocalSignals::kCapacity - 1};

    for (const std::uint32_t number : edges) {
        signals.raise(kDoor, number);
    }

    EXPECT_TRUE(signals.has_signal(kDoor));
    EXPECT_EQ(take(signals, kDoor), edges);
    EXPECT_FALSE(signals.has_signal(kDoor));
    EXPECT_TRUE(take(signals, kDoor).empty());
}

TEST(LocalSignalsTest, NobodyWaitsAtADoorThatWasNotOpened) {
    LocalSignals signals;

    signals.raise(kDoor, 1);

    EXPECT_FALSE(signals.has_signal(kDoor));
    EXPECT_TRUE(take(signals, kDoor).empty());
}

TEST(LocalSignalsTest, NumbersBeyondTheTableAreIgnored) {
    LocalSignals signals;
    ASSERT_TRUE(signals.open(kDoor));

    signals.raise(kDoor, LocalSignals::kCapacity);
    signals.raise(kDoor, ~0U);

    EXPECT_TRUE(take(signals, kDoor).empty());
}

// The protocol of a cold entry (preload/epoll_hot.cpp): the owner arms a word, fences, looks at the
// state and puts the entry aside; others change the state, and raise a signal if the word was
// armed. Whatever was changed must be seen by a look, or signalled.
TEST(LocalSignalsTest, NoChangeOfAColdEntryIsLost) {
    constexpr std::uint32_t kEntries = 3;
    constexpr int kChanges = 5'000;
    LocalSignals signals;
    ASSERT_TRUE(signals.open(kDoor));

    struct Entry {
        std::atomic<int> state{0};
        std::atomic<std::uint32_t> armed{0};
        std::atomic<int> seen{0};
    };

    std::array<Entry, kEntries> entries;
    std::array<std::thread, kEntries> movers;
    for (std::uint32_t i = 0; i < kEntries; ++i) {
        movers[i] = std::thread([&signals, &entry = entries[i], i] {
            for (int change = 1; change <= kChanges; ++change) {
                entry.state.store(change, std::memory_order_release);
                std::atomic_thread_fence(std::memory_order_seq_cst);
                if (entry.armed.load(std::memory_order_relaxed) != 0 &&
                    entry.armed.exchange(0, std::memory_order_acq_rel) != 0) {
                    signals.raise(kDoor, i);
                }
                while (change % 8 == 0 && entry.seen.load(std::memory_order_acquire) < change) {
                    std::this_thread::yield(); // for ever, if the change was lost
                }
            }
        });
    }

    std::array<bool, kEntries> hot{true, true, true};
    const auto done = [&] {
        return std::all_of(entries.begin(), entries.end(), [](const Entry& entry) {
            return entry.seen.load(std::memory_order_relaxed) == kChanges;
        });
    };
    while (!done()) {
        signals.harvest(kDoor, [&](std::uint32_t number) { hot.at(number) = true; });
        for (std::uint32_t i = 0; i < kEntries; ++i) {
            Entry& entry = entries[i];
            if (!hot[i]) {
                continue;
            }
            entry.seen.store(entry.state.load(std::memory_order_acquire),
                             std::memory_order_release);
            if (entry.armed.load(std::memory_order_relaxed) == 0) {
                entry.armed.fetch_or(1, std::memory_order_relaxed);
            }
            std::atomic_thread_fence(std::memory_order_seq_cst);
            hot[i] = entry.state.load(std::memory_order_acquire) !=
                     entry.seen.load(std::memory_order_relaxed);
        }
    }

    for (std::thread& mover : movers) {
        mover.join();
    }
}

TEST(DmbOwnersTest, FindsByDeviceAndIndex) {
    const auto doorbells = *dev::DoorbellTable::create();
    const dev::LoopbackDevice one(*doorbells, {});
    const dev::LoopbackDevice two(*doorbells, {});
    const auto sockets = std::make_unique<std::array<Socket, 2>>();
    DmbOwners owners;

    EXPECT_TRUE(owners.put(one, SbaIndex(0), sockets->data()));
    EXPECT_TRUE(owners.put(two, SbaIndex(65535), &(*sockets)[1]));

    EXPECT_EQ(owners.find(one, SbaIndex(0)), sockets->data());
    EXPECT_EQ(owners.find(two, SbaIndex(65535)), &(*sockets)[1]);
    EXPECT_EQ(owners.find(two, SbaIndex(0)), nullptr);
    EXPECT_EQ(owners.find(one, SbaIndex(65536)), nullptr);
    EXPECT_FALSE(owners.put(one, SbaIndex(65536), sockets->data()));
    owners.clear(one, SbaIndex(0));
    EXPECT_EQ(owners.find(one, SbaIndex(0)), nullptr);
}

} // namespace
} // namespace smcd::test
