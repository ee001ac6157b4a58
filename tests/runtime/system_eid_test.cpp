// The system enterprise id outlives whatever exit() destroys. Floor 4.
#include <cstdio>
#include <cstdlib>
#include <string>

#include <gtest/gtest.h>

#include "smcd/runtime/system_eid.hpp"

namespace smcd::test {
namespace {

/// Registered before the id is first asked for, so that it runs behind every destructor that this registers.
void say_it_once_more() {
    const std::string once_more(system_eid());
    std::fprintf(stderr, "[%s]\n", once_more.c_str());
}

TEST(SystemEidDeathTest, IsThereWhileTheProcessEnds) {
    EXPECT_EXIT(
        {
            std::atexit(&say_it_once_more);
            const std::string id(system_eid());
            ASSERT_FALSE(id.empty());
            std::exit(0);
        },
        ::testing::ExitedWithCode(0), "^\\[SMCD-SEID-[0-9A-F]{16}\\]\n$");
}

} // namespace
} // namespace smcd::test
