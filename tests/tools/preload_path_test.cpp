#include <gtest/gtest.h>

#include "smcd/tools/preload_path.hpp"

namespace smcd::tools {
namespace {

constexpr const char* kOurs = "/opt/lib/libsmcd-preload.so";

TEST(PreloadPathTest, AppendsAndNeverOverwrites) {
    EXPECT_EQ(compose_preload("", kOurs), kOurs);
    EXPECT_EQ(compose_preload("liba.so", kOurs), "liba.so:/opt/lib/libsmcd-preload.so");
    EXPECT_EQ(compose_preload("liba.so libb.so", kOurs),
              "liba.so libb.so:/opt/lib/libsmcd-preload.so");
    EXPECT_EQ(compose_preload("liba.so:", kOurs), "liba.so:/opt/lib/libsmcd-preload.so");
    EXPECT_EQ(compose_preload("libsmcd-preload.so.bak", kOurs),
              "libsmcd-preload.so.bak:/opt/lib/libsmcd-preload.so");
}

TEST(PreloadPathTest, KeepsALibraryThatIsAlreadyThere) {
    for (const char* existing : {"/opt/lib/libsmcd-preload.so",
                                 "libsmcd-preload.so",
                                 "/else/libsmcd-preload.so",
                                 "a.so:/opt/lib/libsmcd-preload.so:b.so",
                                 "a.so /opt/lib/libsmcd-preload.so",
                                 "::libsmcd-preload.so::"}) {
        EXPECT_EQ(compose_preload(existing, kOurs), existing);
    }
}

TEST(PreloadPathTest, RefusesPathsThatTheLoaderWouldSplit) {
    EXPECT_TRUE(is_preload_path(kOurs));
    EXPECT_FALSE(is_preload_path("/my folder/libsmcd-preload.so"));
    EXPECT_FALSE(is_preload_path("/a:b/libsmcd-preload.so"));
}

TEST(PreloadPathTest, LooksInTheBuildTreeFirst) {
    const auto places = preload_candidates("/b/bin");

    ASSERT_EQ(places.size(), 4U);
    EXPECT_EQ(places.front(), "/b/bin/../lib/libsmcd-preload.so");
    for (const std::string& place : places) {
        EXPECT_TRUE(place.ends_with("/libsmcd-preload.so")) << place;
    }
}

TEST(PreloadPathTest, KnowsItsOwnPath) {
    const auto path = own_path();
    const auto folder = own_folder();

    ASSERT_TRUE(path);
    ASSERT_TRUE(folder);
    EXPECT_TRUE(path->starts_with(*folder + '/'));
}

} // namespace
} // namespace smcd::tools
