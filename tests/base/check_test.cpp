// Tests of smcd/base/check.hpp and clock.hpp. Floor 4.
#include <gtest/gtest.h>

#include "smcd/base/check.hpp"
#include "smcd/base/clock.hpp"

namespace smcd {
namespace {

TEST(CheckTest, ATrueConditionEvaluatesItsOperandsOnceAndGoesOn) {
    int evaluated = 0;

    SMCD_CHECK(++evaluated == 1);
    SMCD_CHECK_EQ(++evaluated, 2);

    EXPECT_EQ(evaluated, 2);
}

TEST(CheckDeathTest, AFailedCheckPrintsConditionAndValuesAndAborts) {
    const int used = 5;
    const int size = 3;

    EXPECT_EXIT(SMCD_CHECK_LE(used, size),
                ::testing::KilledBySignal(SIGABRT),
                "check failed: used <= size \\(5, 3\\)");
    EXPECT_EXIT(SMCD_CHECK_EQ(used, size), ::testing::KilledBySignal(SIGABRT), "used == size");
    EXPECT_EXIT(SMCD_CHECK_LT(used, size), ::testing::KilledBySignal(SIGABRT), "used < size");
    EXPECT_EXIT(SMCD_CHECK(used == size), ::testing::KilledBySignal(SIGABRT), "check failed");
}

TEST(ClockTest, TimeDoesNotRunBackwards) {
    std::uint64_t last = monotonic_ns();
    for (int i = 0; i < 1000; ++i) {
        const std::uint64_t now = monotonic_ns();
        ASSERT_GE(now, last);
        last = now;
    }
    EXPECT_GT(last, 0U);
}

} // namespace
} // namespace smcd
