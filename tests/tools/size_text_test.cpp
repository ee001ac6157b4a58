#include <gtest/gtest.h>

#include "smcd/tools/size_text.hpp"

namespace smcd::tools {
namespace {

TEST(SizeTextTest, TakesDigitsAndOneSuffix) {
    EXPECT_EQ(parse_size_text("65536"), 65536U);
    EXPECT_EQ(parse_size_text("64k"), 65536U);
    EXPECT_EQ(parse_size_text("64K"), 65536U);
    EXPECT_EQ(parse_size_text("1m"), 1U << 20U);
    EXPECT_EQ(parse_size_text("2M"), 2U << 20U);
    EXPECT_EQ(parse_size_text("2047M"), 2047U << 20U);
}

TEST(SizeTextTest, RefusesWhatIsNoSize) {
    for (const char* text : {"",
                             "k",
                             "0",
                             "0k",
                             "-1",
                             "+1",
                             "64kb",
                             "64 k",
                             " 64",
                             "1.5M",
                             "64g",
                             "0x10",
                             "2048M",
                             "99999999999999999999",
                             "18446744073709551615M"}) {
        EXPECT_FALSE(parse_size_text(text)) << '\'' << text << '\'';
    }
}

} // namespace
} // namespace smcd::tools
