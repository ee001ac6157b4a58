// Tests of smcd/base/high_fd.hpp. Floor 4.
#include <sys/resource.h>

#include <array>
#include <cerrno>
#include <utility>

#include <gtest/gtest.h>

#include "smcd/base/high_fd.hpp"
#include "smcd/base/limits.hpp"
#include "tests/base/support.hpp"

namespace smcd {
namespace {

using test::has_cloexec;
using test::is_open;
using test::open_null;
using test::SoftFdLimit;

struct BaseRow {
    std::uint64_t soft_limit;
    int base;
};

constexpr std::array kBaseRows{
    BaseRow{0,             0   },
    BaseRow{128,           0   },
    BaseRow{129,           1   },
    BaseRow{256,           128 },
    BaseRow{1024,          896 },
    BaseRow{1025,          769 },
    BaseRow{4096,          3840},
    BaseRow{8447,          8191},
    BaseRow{8448,          8192},
    BaseRow{1U << 30U,     8192},
    BaseRow{RLIM_INFINITY, 8192},
};

TEST(HighFdTest, BaseFollowsTheSoftLimit) {
    for (const BaseRow& row : kBaseRows) {
        EXPECT_EQ(high_fd_base(row.soft_limit), row.base) << "limit " << row.soft_limit;
    }
}

TEST(HighFdTest, BaseLeavesRoomBelowTheLimit) {
    for (std::uint64_t limit = 1; limit < 20000; ++limit) {
        ASSERT_LT(static_cast<std::uint64_t>(high_fd_base(limit)), limit);
    }
}

TEST(HighFdTest, LiftMovesAboveTheBaseAndClosesTheLowNumber) {
    const SoftFdLimit limit(1024);
    ASSERT_TRUE(limit.applied());
    UniqueFd low = open_null();
    const int number = low.get();

    const Result<UniqueFd> lifted = lift_fd(std::move(low));

    ASSERT_TRUE(lifted) << lifted.error().message();
    EXPECT_GE(lifted->get(), 896);
    EXPECT_TRUE(has_cloexec(lifted->get()));
    EXPECT_FALSE(is_open(number));
}

TEST(HighFdTest, ADescriptorThatIsHighAlreadyKeepsItsNumber) {
    const SoftFdLimit limit(1024);
    ASSERT_TRUE(limit.applied());
    UniqueFd high(::fcntl(open_null().get(), F_DUPFD, 900));
    const int number = high.get();
    ASSERT_GE(number, 900);

    const Result<UniqueFd> lifted = lift_fd(std::move(high));

    ASSERT_TRUE(lifted);
    EXPECT_EQ(lifted->get(), number);
    EXPECT_TRUE(has_cloexec(number));
}

TEST(HighFdTest, ATinyTableKeepsTheNumberAndSetsCloexec) {
    const SoftFdLimit limit(64);
    ASSERT_TRUE(limit.applied());
    UniqueFd low = open_null();
    const int number = low.get();

    const Result<UniqueFd> lifted = lift_fd(std::move(low));

    ASSERT_TRUE(lifted);
    EXPECT_EQ(lifted->get(), number);
    EXPECT_TRUE(has_cloexec(number));
}

TEST(HighFdTest, AFullTableKeepsTheNumberAndSetsCloexec) {
    const SoftFdLimit limit(256);
    ASSERT_TRUE(limit.applied());
    UniqueFd low = open_null();
    const int number = low.get();
    std::array<UniqueFd, 256> fillers;
    for (UniqueFd& filler : fillers) {
        filler = open_null();
        if (!filler) {
            break;
        }
    }
    ASSERT_EQ(::fcntl(number, F_DUPFD, 0), -1);
    ASSERT_EQ(errno, EMFILE);

    const Result<UniqueFd> lifted = lift_fd(std::move(low));

    ASSERT_TRUE(lifted);
    EXPECT_EQ(lifted->get(), number);
    EXPECT_TRUE(has_cloexec(number));
}

TEST(HighFdTest, AClosedDescriptorIsAnError) {
    EXPECT_EQ(lift_fd(UniqueFd()).error(), std::errc::bad_file_descriptor);
}

} // namespace
} // namespace smcd
