// Tests of smcd/base/error.hpp. Floor 4.
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "smcd/base/error.hpp"

namespace smcd {
namespace {

TEST(ErrorTest, EngineErrorsAreTheirOwnCategory) {
    const std::error_code code = engine_error(Errc::peer_gone).code();

    EXPECT_EQ(code, Errc::peer_gone);
    EXPECT_NE(code, Errc::over_budget);
    EXPECT_STREQ(code.category().name(), "smcd");
    EXPECT_NE(code, std::error_code(code.value(), std::generic_category()));
}

TEST(ErrorTest, EachErrorHasWordsOfItsOwn) {
    std::set<std::string> words;
    for (const Errc code : {Errc::unsafe_memory,
                            Errc::peer_violation,
                            Errc::peer_gone,
                            Errc::over_budget,
                            Errc::switched_off,
                            Errc::slow_memory}) {
        words.insert(make_error_code(code).message());
    }

    EXPECT_EQ(words.size(), 6U);
    EXPECT_FALSE(words.contains(engine_category().message(999)));
}

} // namespace
} // namespace smcd
