// Tests of smcd/base/unique_fd.hpp. Floor 4.
#include <utility>

#include <gtest/gtest.h>

#include "smcd/base/unique_fd.hpp"
#include "tests/base/support.hpp"

namespace smcd {
namespace {

using test::is_open;
using test::open_null;

TEST(UniqueFdTest, IsInvalidByDefault) {
    const UniqueFd fd;

    EXPECT_FALSE(fd.valid());
    EXPECT_FALSE(static_cast<bool>(fd));
    EXPECT_EQ(fd.get(), -1);
}

TEST(UniqueFdTest, ClosesAtTheEndOfItsLife) {
    int number = -1;
    {
        const UniqueFd fd = open_null();
        number = fd.get();
        ASSERT_TRUE(is_open(number));
    }

    EXPECT_FALSE(is_open(number));
}

TEST(UniqueFdTest, MoveHandsTheDescriptorOver) {
    UniqueFd source = open_null();
    const int number = source.get();

    const UniqueFd target(std::move(source));

    EXPECT_EQ(target.get(), number);
    EXPECT_TRUE(is_open(number));
}

TEST(UniqueFdTest, MoveAssignmentClosesWhatWasThere) {
    UniqueFd source = open_null();
    UniqueFd target = open_null();
    const int kept = source.get();
    const int closed = target.get();

    target = std::move(source);

    EXPECT_EQ(target.get(), kept);
    EXPECT_TRUE(is_open(kept));
    EXPECT_FALSE(is_open(closed));
}

TEST(UniqueFdTest, ReleaseGivesUpOwnershipWithoutClosing) {
    UniqueFd fd = open_null();

    const int number = fd.release();

    EXPECT_FALSE(fd.valid());
    EXPECT_TRUE(is_open(number));
    fd.reset(number);
}

TEST(UniqueFdTest, ResetClosesAndTakesTheNewOne) {
    UniqueFd fd = open_null();
    const int first = fd.get();

    fd.reset(open_null().release());
    const int second = fd.get();
    fd.reset();

    EXPECT_NE(first, second);
    EXPECT_FALSE(is_open(first));
    EXPECT_FALSE(is_open(second));
}

} // namespace
} // namespace smcd
