// wait_for_data() and wait_for_space(): calls whose number is taken away.
#include <gtest/gtest.h>

#include "smcd/base/clock.hpp"
#include "smcd/core/waiting.hpp"
#include "tests/core/support.hpp"

namespace smcd {
namespace {

constexpr SpinLimits kNever{0, false};

WaitStatus wait_with(std::atomic<NumberGone>* gone) {
    test::Connection connection;
    SpinPolicy spin;
    spin.set_limits(&kNever);
    const std::uint64_t deadline = monotonic_ns() + 10 * kNsPerMs;
    return wait_for_data(connection.a->channel, spin, 1, deadline, gone);
}

TEST(Waiting, GoesOnWhenItsNumberWasClosedBefore) {
    EXPECT_EQ(wait_with(nullptr), WaitStatus::timed_out);
    std::atomic<NumberGone> gone{NumberGone::no};
    EXPECT_EQ(wait_with(&gone), WaitStatus::timed_out);
    gone = NumberGone::closed;
    EXPECT_EQ(wait_with(&gone), WaitStatus::timed_out);
}

// The one signal of who has replaced it may have come between a sleep in the handshake and this one.
TEST(Waiting, IsInterruptedWhenItsNumberWasReplacedBefore) {
    std::atomic<NumberGone> gone{NumberGone::replaced};
    EXPECT_EQ(wait_with(&gone), WaitStatus::interrupted);
}

}  // namespace
}  // namespace smcd
