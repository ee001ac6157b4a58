// Tests of smcd/base/result.hpp. Floor 4.
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "smcd/base/result.hpp"

namespace smcd {
namespace {

Result<int> half(int value) {
    if (value % 2 != 0) {
        return Error(std::errc::invalid_argument);
    }
    return value / 2;
}

Result<int> quarter(int value) {
    SMCD_TRY(const int first, half(value));
    SMCD_TRY(const int second, half(first));
    return second;
}

Result<void> check_even(int value) {
    SMCD_TRY_VOID(half(value));
    return {};
}

TEST(ResultTest, HoldsTheValue) {
    const Result<int> result = half(8);

    ASSERT_TRUE(result.has_value());
    EXPECT_EQ(*result, 4);
    EXPECT_FALSE(result.error());
}

TEST(ResultTest, HoldsTheError) {
    const Result<int> result = half(3);

    ASSERT_FALSE(result);
    EXPECT_EQ(result.error(), std::errc::invalid_argument);
    EXPECT_EQ(result.value_or(-1), -1);
}

TEST(ResultTest, TryPassesEachErrorOnAndElseTheValue) {
    EXPECT_EQ(quarter(12).value_or(-1), 3);
    EXPECT_EQ(quarter(6).error(), std::errc::invalid_argument);
    EXPECT_EQ(quarter(3).error(), std::errc::invalid_argument);
}

TEST(ResultTest, VoidResultIsGoodByDefaultAndCarriesAnError) {
    EXPECT_TRUE(Result<void>().has_value());
    EXPECT_TRUE(check_even(2).has_value());
    EXPECT_EQ(check_even(1).error(), std::errc::invalid_argument);
}

TEST(ResultTest, MoveOnlyValuesMoveOut) {
    Result<std::unique_ptr<std::string>> result = std::make_unique<std::string>("abc");

    const std::unique_ptr<std::string> owned = *std::move(result);

    ASSERT_NE(owned, nullptr);
    EXPECT_EQ(*owned, "abc");
}

TEST(ResultTest, ErrnoErrorTakesTheCurrentErrnoOrTheGivenOne) {
    errno = EPIPE;
    EXPECT_EQ(errno_error().code(), std::errc::broken_pipe);
    EXPECT_EQ(errno_error(EAGAIN).code(), std::errc::resource_unavailable_try_again);
}

} // namespace
} // namespace smcd
