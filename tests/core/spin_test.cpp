// SpinPolicy: who polls at all, and who does not look at the clock.
#include <sched.h>

#include <gtest/gtest.h>

#include "smcd/core/spin.hpp"

namespace smcd {
namespace {

using Outcome = SpinPolicy::Outcome;

constexpr SpinLimits kNever{0, false};
constexpr SpinLimits kShort{50'000, false};
constexpr SpinLimits kAlways{2'000'000, true};

std::uint32_t this_cpu() {
    return static_cast<std::uint32_t>(::sched_getcpu()) + 1;
}

/// Says yes at the nth look.
struct After {
    int looks;

    bool operator()() noexcept { return --looks <= 0; }
};

TEST(Spin, NeverMeansNoLook) {
    SpinPolicy spin;
    spin.set_limits(&kNever);
    int looks = 0;
    const auto look = [&]() noexcept { return ++looks > 0; };
    EXPECT_EQ(spin.spin(0, kForever, look), Outcome::skipped);
    EXPECT_EQ(looks, 0);
}

TEST(Spin, OneOfTwoOnTheSameCpuDoesNotPoll) {
    cpu_set_t old;
    ASSERT_EQ(::sched_getaffinity(0, sizeof(old), &old), 0);
    cpu_set_t here;
    CPU_ZERO(&here);
    CPU_SET(static_cast<unsigned>(::sched_getcpu()), &here);
    ASSERT_EQ(::sched_setaffinity(0, sizeof(here), &here), 0);
    for (const SpinLimits* limits : {&kShort, &kAlways}) {
        SpinPolicy spin;
        spin.set_limits(limits);
        EXPECT_EQ(spin.spin(this_cpu(), kForever, After{1}), Outcome::skipped);
        EXPECT_EQ(spin.spin(this_cpu() + 1, kForever, After{1}), Outcome::hit);
    }
    ::sched_setaffinity(0, sizeof(old), &old);
}

TEST(Spin, AdaptsUnlessItAlwaysPolls) {
    SpinPolicy adapts;
    adapts.set_limits(&kShort);
    SpinPolicy always;
    always.set_limits(&kAlways);
    const auto never = []() noexcept { return false; };
    for (int i = 0; i < 20; ++i) {
        static_cast<void>(adapts.spin(0, kForever, never));
        EXPECT_EQ(always.spin(0, kForever, never), Outcome::miss);
    }
    EXPECT_EQ(adapts.spin(0, kForever, never), Outcome::skipped);
    EXPECT_TRUE(adapts.tells_time());
    EXPECT_FALSE(always.tells_time());
}

TEST(Spin, NearMissesInARowEndIt) {
    // The other side runs as soon as we sleep: it waits for our CPU.
    SpinPolicy spin;
    spin.set_limits(&kShort);
    int misses = 0;
    for (int i = 0; i < 1000; ++i) {
        const Outcome outcome = spin.spin(0, kForever, []() noexcept { return false; });
        misses += outcome == Outcome::miss ? 1 : 0;
        spin.on_slept(20'000);
    }
    EXPECT_LT(misses, 20);
    for (int i = 0; i < 1024 && spin.spin(0, kForever, After{1}) != Outcome::hit; ++i) {
        spin.on_slept(20'000);
    }
    EXPECT_EQ(spin.spin(0, kForever, After{1}), Outcome::hit) << "a probe that hits begins anew";
}

TEST(Spin, BurstsBehindIdleTimesPoll) {
    SpinPolicy spin;
    spin.set_limits(&kShort);
    for (int i = 0; i < 20; ++i) {
        static_cast<void>(spin.spin(0, kForever, []() noexcept { return false; }));
        spin.on_slept(kNsPerMs);
    }
    EXPECT_EQ(spin.spin(0, kForever, After{1}), Outcome::skipped);
    spin.on_slept(10'000);
    EXPECT_EQ(spin.spin(0, kForever, After{1}), Outcome::hit);
}

TEST(Spin, EndsAtTheDeadline) {
    constexpr SpinLimits kLong{4'000'000'000, true};
    SpinPolicy spin;
    spin.set_limits(&kLong);
    const std::uint64_t deadline_ns = monotonic_ns() + kNsPerMs;
    EXPECT_EQ(spin.spin(0, deadline_ns, []() noexcept { return false; }), Outcome::miss);
    EXPECT_GE(monotonic_ns(), deadline_ns);
    EXPECT_EQ(spin.spin(0, deadline_ns, After{1}), Outcome::hit); // what is there is there
}

TEST(Spin, ForgetsItsOwnLimits) {
    SpinPolicy spin;
    spin.set_limits(&kNever);
    spin.reset();
    EXPECT_EQ(spin.spin(0, kForever, After{1}), Outcome::hit);
}

} // namespace
} // namespace smcd
