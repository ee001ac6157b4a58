#include <gtest/gtest.h>

#include "smcd/tools/text.hpp"

namespace smcd::tools {
namespace {

TEST(TextTest, WritesHexadecimal) {
    EXPECT_EQ(hex(0x03010000), "0x03010000");
    EXPECT_EQ(hex(0), "0x00000000");
    EXPECT_EQ(hex(0xff, 2), "0xff");
    EXPECT_EQ(hex(~0ULL, 16), "0xffffffffffffffff");
}

TEST(TextTest, MakesForeignNamesHarmless) {
    EXPECT_EQ(printable("redis-server"), "redis-server");
    EXPECT_EQ(printable("\x1b[2Jevil\n"), "?[2Jevil?");
    EXPECT_EQ(printable("\xff\x7f"), "??");
}

TEST(TextTest, AlignsColumns) {
    Table table({"A", "Bytes", "C"});
    table.align_right(1);
    table.add({"long", "1", "x"});
    table.add({"s", "12345678", ""});

    EXPECT_EQ(table.render(),
              "A        Bytes  C\n"
              "long         1  x\n"
              "s     12345678\n");
}

TEST(TextTest, GivesEachLineOnce) {
    std::string seen;
    const auto collect = [&](std::string_view line) { seen.append(line).append("|"); };

    for_each_line("a\n\nb", collect);
    for_each_line("", collect);
    for_each_line("c\n", collect);

    EXPECT_EQ(seen, "a||b|c|");
}

} // namespace
} // namespace smcd::tools
