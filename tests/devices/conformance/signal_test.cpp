// Conformance of signals, doorbells and wake-ups. Floor 4.
#include <algorithm>
#include <atomic>
#include <thread>

#include "smcd/base/raw_syscall.hpp"
#include "tests/devices/conformance/fixture.hpp"
#include "tests/devices/support.hpp"

namespace smcd::dev::test {
namespace {

class SignalConformance : public ConformanceTest {
protected:
    void SetUp() override {
        ConformanceTest::SetUp();
        SMCD_NEEDS_ATTACH();
        pair_ = make_pair();
        door_ = open_door(make_way_back());
    }

    void signal_from_b() { device(World::b).signal(pair_.writer, bit(door_)); }

    /// Doorbell rings since the last call.
    std::uint64_t rings() {
        world().settle(World::a);
        return take_rings(doorbells(World::a).event_fd(door_));
    }

    Pair pair_;
    unsigned door_ = 0;
};

TEST_P(SignalConformance, ASignalIsHarvestedOnce) {
    EXPECT_FALSE(device(World::a).has_signal(door_));

    signal_from_b();

    EXPECT_TRUE(device(World::a).has_signal(door_));
    EXPECT_EQ(harvest(door_), std::vector{pair_.owner.index.value()});
    EXPECT_FALSE(device(World::a).has_signal(door_));
    EXPECT_TRUE(harvest(door_).empty());
}

TEST_P(SignalConformance, SignalsOfOneDmbMerge) {
    for (int i = 0; i < 1000; ++i) {
        signal_from_b();
    }

    EXPECT_EQ(harvest(door_), std::vector{pair_.owner.index.value()});
}

TEST_P(SignalConformance, DoorbellsAreSeparate) {
    const Pair other = make_pair();
    device(World::b).signal(pair_.writer, bit(3) | bit(63));
    device(World::b).signal(other.writer, bit(63));

    EXPECT_FALSE(device(World::a).has_signal(4));
    EXPECT_EQ(harvest(3), std::vector{pair_.owner.index.value()});
    EXPECT_EQ(harvest(63).size(), 2U);
    EXPECT_TRUE(harvest(0).empty());
}

TEST_P(SignalConformance, ManyDmbsAreHarvestedTogether) {
    std::vector<std::uint32_t> expected;
    for (int i = 0; i < 200; ++i) {
        const Pair pair = make_pair();
        expected.push_back(pair.owner.index.value());
        device(World::b).signal(pair.writer, bit(door_));
    }

    std::vector<std::uint32_t> found = harvest(door_);

    std::sort(expected.begin(), expected.end());
    std::sort(found.begin(), found.end());
    EXPECT_EQ(found, expected);
}

TEST_P(SignalConformance, SignalsForAnUnregisteredDmbAreDropped) {
    ASSERT_TRUE(device(World::a).unregister_dmb(pair_.owner.token));

    signal_from_b();

    EXPECT_TRUE(harvest(door_).empty());
}

TEST_P(SignalConformance, NoDoorIsNoSignal) {
    device(World::b).signal(pair_.writer, 0);

    for (unsigned door = 0; door < kDoorbellCount; ++door) {
        EXPECT_FALSE(device(World::a).has_signal(door));
    }
    EXPECT_FALSE(device(World::a).has_signal(kDoorbellCount));
    EXPECT_TRUE(harvest(kDoorbellCount).empty());
}

TEST_P(SignalConformance, MoveDataSignalsTheArmedDoorsAfterTheData) {
    const std::array<std::byte, 3> data{std::byte{1}, std::byte{2}, std::byte{3}};
    pair_.owner.bells->doors_in.store(bit(door_));

    ASSERT_TRUE(device(World::b).move_data(pair_.owner.token, true, 64, data));

    EXPECT_EQ(harvest(door_), std::vector{pair_.owner.index.value()});
    EXPECT_EQ(pair_.owner.memory[66], std::byte{3});
    EXPECT_EQ(pair_.owner.bells->doors_in.load(), 0U);
}

TEST_P(SignalConformance, AnAwakeOwnerIsNotRung) {
    signal_from_b();
    EXPECT_EQ(rings(), 0U);

    doorbells(World::a).begin_sleep(door_);
    doorbells(World::a).end_sleep(door_);
    signal_from_b();

    EXPECT_EQ(rings(), 0U);
}

TEST_P(SignalConformance, ASleepingOwnerIsRungOncePerSleep) {
    for (int sleep = 0; sleep < 5; ++sleep) {
        doorbells(World::a).begin_sleep(door_);
        for (int i = 0; i < 10; ++i) {
            signal_from_b();
        }
        EXPECT_EQ(rings(), 1U);
        doorbells(World::a).end_sleep(door_);
        EXPECT_EQ(harvest(door_).size(), 1U);
    }
}

TEST_P(SignalConformance, SleepingAgainWithoutWakingIsANewSleep) {
    doorbells(World::a).begin_sleep(door_);
    signal_from_b();
    world().settle(World::a);
    doorbells(World::a).begin_sleep(door_);
    signal_from_b();

    EXPECT_EQ(rings(), 2U);
}

TEST_P(SignalConformance, OfSeveralThreadsOneRings) {
    constexpr int kThreads = 4;
    for (int round = 0; round < 50; ++round) {
        doorbells(World::a).begin_sleep(door_);
        std::vector<std::thread> threads;
        for (int i = 0; i < kThreads; ++i) {
            threads.emplace_back([&] { signal_from_b(); });
        }
        for (std::thread& thread : threads) {
            thread.join();
        }
        EXPECT_EQ(rings(), 1U);
        doorbells(World::a).end_sleep(door_);
    }
}

// Two writers count up in their DMBs and signal; the owner looks at a DMB only when its index was
// harvested. The last value is seen exactly if no signal was lost.
TEST_P(SignalConformance, NoSignalIsLostBetweenThreads) {
    constexpr std::uint64_t kSignals = 100'000;
    const std::array<Pair, 2> pairs{pair_, make_pair()};
    const auto counter = [](std::span<std::byte> memory) {
        return std::atomic_ref<std::uint64_t>(*reinterpret_cast<std::uint64_t*>(memory.data()));
    };
    std::array<std::uint64_t, 2> seen{};
    std::atomic<int> running{2};
    const auto look = [&] {
        for (const std::uint32_t index : harvest(door_)) {
            const std::size_t which = index == pairs[0].owner.index.value() ? 0 : 1;
            seen[which] = counter(pairs[which].owner.memory).load(std::memory_order_relaxed);
        }
    };

    std::vector<std::thread> writers;
    for (const Pair& pair : pairs) {
        writers.emplace_back([&, pair] {
            for (std::uint64_t i = 1; i <= kSignals; ++i) {
                counter(pair.writer.memory).store(i, std::memory_order_relaxed);
                device(World::b).signal(pair.writer, bit(door_));
            }
            running.fetch_sub(1);
        });
    }
    while (running.load() > 0) {
        look();
    }
    for (std::thread& writer : writers) {
        writer.join();
    }
    look();

    EXPECT_EQ(seen[0], kSignals);
    EXPECT_EQ(seen[1], kSignals);
}

// The owner sleeps whenever it finds nothing; the writer sends the next signal when the last was
// seen. A lost ring is a hang.
TEST_P(SignalConformance, NoRingIsLostBetweenSleepAndSignal) {
    constexpr int kRounds = 5'000;
    std::atomic<int> seen{0};
    std::atomic<bool> failed{false};
    std::thread writer([&] {
        for (int round = 1; round <= kRounds && !failed.load(); ++round) {
            signal_from_b();
            while (seen.load() < round && !failed.load()) {
                std::this_thread::yield();
            }
        }
    });

    DoorbellTable& table = doorbells(World::a);
    while (seen.load() < kRounds && !failed.load()) {
        table.begin_sleep(door_);
        if (!device(World::a).has_signal(door_) && !readable(table.event_fd(door_))) {
            failed.store(true);
        }
        static_cast<void>(rings());
        table.end_sleep(door_);
        seen.fetch_add(static_cast<int>(harvest(door_).size()));
    }
    writer.join();

    EXPECT_FALSE(failed.load());
    EXPECT_EQ(seen.load(), kRounds);
}

TEST_P(SignalConformance, WakeEndsTheSleepOfEveryThreadOnTheWord) {
    std::atomic<std::uint32_t>& word = pair_.owner.bells->futex_in;
    std::atomic<int> woken{0};
    word.store(1);
    std::array<std::atomic<pid_t>, 3> tids{};
    std::vector<std::thread> sleepers;
    for (std::atomic<pid_t>& tid : tids) {
        sleepers.emplace_back([&] {
            tid.store(raw::gettid());
            const timespec limit{kWatchdogMs / 1000, 0};
            woken.fetch_add(raw::futex_wait(word, 1, &limit) == 0 ? 1 : 0);
        });
    }
    for (const std::atomic<pid_t>& tid : tids) {
        while (tid.load() == 0) {
            std::this_thread::yield();
        }
        ASSERT_TRUE(falls_asleep(tid.load()));
    }

    device(World::b).wake(pair_.writer, pair_.writer.bells->futex_in);
    for (std::thread& sleeper : sleepers) {
        sleeper.join();
    }

    EXPECT_EQ(woken.load(), 3);
}

TEST_P(SignalConformance, WakeLeavesADisarmedWordAlone) {
    std::atomic<std::uint32_t>& word = pair_.owner.bells->futex_out;

    device(World::b).wake(pair_.writer, pair_.writer.bells->futex_out);

    EXPECT_EQ(word.load(), 0U);
}

INSTANTIATE_TEST_SUITE_P(Devices, SignalConformance, ::testing::ValuesIn(worlds()), name_of_world);

} // namespace
} // namespace smcd::dev::test
