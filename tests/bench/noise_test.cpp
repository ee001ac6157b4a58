// The sampler of `smcu jitter` over made-up times, and what is said of counters.
#include <gtest/gtest.h>

#include "bench/jitter/counters.hpp"
#include "bench/jitter/report.hpp"

namespace smcd::jitter {
namespace {

constexpr double kPerNs = 2; // ticks

TEST(NoiseSampler, CountsGapsAboveEachThreshold) {
    NoiseSampler sampler(kPerNs);
    std::uint64_t now = 1'000'000;
    sampler.begin(now);
    const auto after_ns = [&](std::uint64_t ns) { return sampler.look(now += ns * 2); };
    EXPECT_FALSE(after_ns(50));
    EXPECT_FALSE(after_ns(1'000));
    EXPECT_TRUE(after_ns(1'001));
    EXPECT_TRUE(after_ns(6'000));
    EXPECT_TRUE(after_ns(150'000));
    sampler.skip_to(now += 2'000'000);
    EXPECT_FALSE(after_ns(40));

    const Noise noise = sampler.result();
    EXPECT_EQ(noise.looks, 6U);
    EXPECT_EQ(noise.over, (std::array<std::uint64_t, 4>{3, 2, 1, 1}));
    EXPECT_DOUBLE_EQ(noise.longest_ns, 150'000);
    EXPECT_DOUBLE_EQ(noise.shortest_ns, 40);
    EXPECT_DOUBLE_EQ(noise.noise_ns, 157'001);
    EXPECT_DOUBLE_EQ(noise.duration_ns, 1'158'091);
}

TEST(NoiseSampler, TellsTicksFromTheClock) {
    EXPECT_GT(ticks_per_ns(), 0.1);
    EXPECT_LT(ticks_per_ns(), 20);
}

CpuReport quiet() {
    CpuReport report;
    report.noise.duration_ns = 1e9;
    return report;
}

TEST(Verdict, NamesWhatWasSeen) {
    EXPECT_EQ(verdict_of(quiet()), "ok");
    CpuReport report = quiet();
    report.counters.interrupts = {
        {"LOC", 9}
    };
    EXPECT_EQ(verdict_of(report), "ok");
    report.counters.interrupts = {
        {"LOC", 250},
        {"RES", 1  }
    };
    report.noise.over[0] = 251;
    EXPECT_EQ(verdict_of(report), "tick, interrupts");
    report.noise.over[0] = 252;
    EXPECT_EQ(verdict_of(report), "tick, interrupts, unexplained");
    report = quiet();
    report.thread.involuntary_switches = 1;
    report.counters.steal_ticks = 1;
    report.counters.frequency_khz = 1;
    EXPECT_EQ(verdict_of(report), "preempted, steal, frequency");
}

TEST(Counters, OnlyWhatChanged) {
    CpuCounters before;
    before.interrupts = {
        {"LOC", 10},
        {"24",  5 }
    };
    before.frequency_khz = 2'000;
    CpuCounters after;
    after.interrupts = {
        {"LOC", 12},
        {"24",  5 },
        {"NMI", 1 }
    };
    after.frequency_khz = 1'900;
    after.steal_ticks = 3;
    const CpuCounters change = since(before, after);
    EXPECT_EQ(change.interrupts,
              (std::map<std::string, std::uint64_t>{
                  {"LOC", 2},
                  {"NMI", 1}
    }));
    EXPECT_EQ(change.steal_ticks, 3U);
    EXPECT_EQ(change.frequency_khz, 100U);
}

TEST(Counters, AThreadCountsItsOwnFaults) {
    const ThreadWatch watch;
    std::vector<char> memory(64U << 20U);
    for (std::size_t i = 0; i < memory.size(); i += 4096) {
        memory[i] = 1;
    }
    EXPECT_GT(watch.read().minor_faults, 0U);
}

TEST(Isolation, TakesTwo) {
    Results results;
    results.transport.accelerated = true;
    EXPECT_EQ(isolation_of(results), "none");
    results.transport.sides[0].locked_kib = 1;
    EXPECT_EQ(isolation_of(results), "one side");
    results.transport.sides[1].locked_kib = 1;
    EXPECT_EQ(isolation_of(results), "both");
    results.plan.profile = "balanced";
    EXPECT_EQ(isolation_of(results), "none");
}

} // namespace
} // namespace smcd::jitter
