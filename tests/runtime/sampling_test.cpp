#include "smcd/runtime/sampling.hpp"

#include <gtest/gtest.h>

namespace smcd {
namespace {

std::uint64_t sum(Sampling& sampling, std::uint32_t events, std::uint64_t now_ns, std::uint32_t& asked) {
    std::uint64_t total = 0;
    for (std::uint32_t i = 0; i < events; ++i) {
        const std::uint32_t weight = sampling.weight(now_ns);
        total += weight;
        asked += weight != 0 ? 1 : 0;
    }
    return total;
}

TEST(SamplingTest, FewEventsCountEach) {
    Sampling sampling;
    std::uint32_t asked = 0;
    EXPECT_EQ(sum(sampling, Sampling::kAllOf, 5 * kNsPerSecond, asked), Sampling::kAllOf);
    EXPECT_EQ(asked, Sampling::kAllOf);
}

TEST(SamplingTest, ManyEventsCountInSum) {
    Sampling sampling;
    std::uint32_t asked = 0;
    constexpr std::uint32_t kEvents = Sampling::kAllOf + 100 * Sampling::kEvery;
    EXPECT_EQ(sum(sampling, kEvents, 5 * kNsPerSecond, asked), kEvents);
    EXPECT_EQ(asked, Sampling::kAllOf + 100);
}

TEST(SamplingTest, ASecondLaterAllCountAgain) {
    Sampling sampling;
    std::uint32_t asked = 0;
    sum(sampling, 1000, 5 * kNsPerSecond, asked);
    asked = 0;
    EXPECT_EQ(sum(sampling, Sampling::kAllOf, 6 * kNsPerSecond, asked), Sampling::kAllOf);
    EXPECT_EQ(asked, Sampling::kAllOf);
}

}  // namespace
}  // namespace smcd
