// The configuration file: its lines, what counts, and changing one of them. Floor 4.
#include "smcd/tools/conf_file.hpp"

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>

#include <gtest/gtest.h>

#include "smcd/runtime/settings.hpp"

namespace smcd::tools {
namespace {

TEST(SettingsTest, TheLastLineOfANameCountsAndTheEnvironmentBeforeIt) {
    const Settings settings = Settings::parse("# comment = no\n"
                                              "  pnetid =  BLUE \r\n"
                                              "no setting\n"
                                              "smcd_test_a = first\nsmcd_test_a=\n"
                                              "test_b = x = y");
    ::unsetenv("SMCD_PNETID");
    EXPECT_STREQ(settings.value("SMCD_PNETID"), "BLUE");
    EXPECT_STREQ(settings.value("SMCD_SMCD_TEST_A"), "");
    EXPECT_STREQ(settings.value("SMCD_TEST_B"), "x = y");
    EXPECT_EQ(settings.value("SMCD_TEST_C"), nullptr);
    ::setenv("SMCD_TEST_ALIAS", "2", 1);
    EXPECT_STREQ(settings.value("SMCD_TEST_B", "SMCD_TEST_ALIAS"), "2");
    ::setenv("SMCD_TEST_B", "1", 1);
    EXPECT_STREQ(settings.value("SMCD_TEST_B", "SMCD_TEST_ALIAS"), "1");
    ::unsetenv("SMCD_TEST_B");
    ::unsetenv("SMCD_TEST_ALIAS");
}

TEST(SettingsTest, WhatIsNoFileIsEmpty) {
    for (const char* path : {"", "/nowhere/smcd.conf", "/dev/zero", "/proc"}) {
        EXPECT_EQ(Settings::read(path).value("SMCD_TEST_A"), nullptr) << path;
    }
}

TEST(ConfFileTest, OneLineChangesAndTheOthersStay) {
    const char* text = "# ids\nueid = A\n\nfabric = /x\nueid = B\n# end";
    EXPECT_EQ(with_setting(text, "ueid", "C,D"), "# ids\n\nfabric = /x\nueid = C,D\n# end\n");
    EXPECT_EQ(with_setting(text, "ueid", ""), "# ids\n\nfabric = /x\n# end\n");
    EXPECT_EQ(with_setting(text, "seid", "1"),
              "# ids\nueid = A\n\nfabric = /x\nueid = B\n# end\nseid = 1\n");
    EXPECT_EQ(with_setting("", "seid", "1"), "seid = 1\n");
    EXPECT_EQ(with_setting("", "seid", ""), "");
}

TEST(ConfFileTest, AFileIsReplacedWithItsPermissions) {
    std::string folder = (std::filesystem::temp_directory_path() / "smcd-conf-XXXXXX").string();
    ASSERT_NE(::mkdtemp(folder.data()), nullptr);
    const std::string path = folder + "/conf";
    EXPECT_EQ(*read_text(path), "");
    ASSERT_TRUE(replace_text(path, "a = 1\n"));
    EXPECT_EQ(*read_text(path), "a = 1\n");
    ASSERT_EQ(::chmod(path.c_str(), 0640), 0);
    ASSERT_TRUE(replace_text(path, "a = 2\n"));

    struct stat info {};

    ASSERT_EQ(::stat(path.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777U, 0640U);
    EXPECT_EQ(*read_text(path), "a = 2\n");
    EXPECT_FALSE(replace_text(folder + "/none/conf", "a = 1\n"));
    const auto files = std::distance(std::filesystem::directory_iterator(folder),
                                     std::filesystem::directory_iterator());
    EXPECT_EQ(files, 1);
    std::filesystem::remove_all(folder);
}

} // namespace
} // namespace smcd::tools
