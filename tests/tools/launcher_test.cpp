#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include <gtest/gtest.h>

#include "smcd/tools/launcher.hpp"

namespace smcd::tools {
namespace {

/// A child of ours that writes `text` to a pipe and ends.
Child writer_of(const std::string& text) {
    int ends[2] = {-1, -1};
    EXPECT_EQ(::pipe(ends), 0);
    const pid_t pid = ::fork();
    if (pid == 0) {
        ::close(ends[0]);
        const bool done =
            ::write(ends[1], text.data(), text.size()) == static_cast<ssize_t>(text.size());
        ::_exit(done ? 0 : 1);
    }
    ::close(ends[1]);
    return {pid, ends[0]};
}

TEST(LauncherTest, ReadsLinesAndSeesTheEnd) {
    const Child child = writer_of("one\n\nthree");

    const auto first = read_line(child, 10000);
    const auto second = read_line(child, 10000);
    const auto third = read_line(child, 10000);

    ASSERT_TRUE(first && second);
    EXPECT_EQ(*first, "one");
    EXPECT_EQ(*second, "");
    EXPECT_EQ(third.error(), std::errc::no_message_available);
    stop(child);
}

TEST(LauncherTest, GivesUpOnASilentChild) {
    int ends[2] = {-1, -1};
    ASSERT_EQ(::pipe(ends), 0);

    const auto line = read_line({-1, ends[0]}, 1);

    EXPECT_EQ(line.error(), std::errc::timed_out);
    ::close(ends[0]);
    ::close(ends[1]);
}

TEST(LauncherTest, StopsAChildThatIgnoresTheSignal) {
    int ready[2] = {-1, -1};
    ASSERT_EQ(::pipe(ready), 0);
    const pid_t pid = ::fork();
    if (pid == 0) {
        ::signal(SIGTERM, SIG_IGN);
        const bool told = ::write(ready[1], "x", 1) == 1;
        while (told) {
            ::pause();
        }
        ::_exit(1);
    }
    char go = 0;
    ASSERT_EQ(::read(ready[0], &go, 1), 1);
    ::close(ready[1]);

    const int status = stop({pid, ready[0]});

    EXPECT_TRUE(WIFSIGNALED(status));
    EXPECT_EQ(WTERMSIG(status), SIGKILL);
}

TEST(LauncherTest, SetsTheEnvironment) {
    apply({
        {"SMCU_LAUNCHER_TEST", "one"},
        {"SMCU_LAUNCHER_TEST", "two"}
    });

    EXPECT_STREQ(std::getenv("SMCU_LAUNCHER_TEST"), "two");
    ::unsetenv("SMCU_LAUNCHER_TEST");
}

TEST(LauncherTest, ErrorsHaveWords) {
    const auto absent =
        describe_preload_error(std::make_error_code(std::errc::no_such_file_or_directory));
    const auto bad_path = describe_preload_error(std::make_error_code(std::errc::invalid_argument));

    EXPECT_NE(absent.find("/lib/libsmcd-preload.so"), std::string::npos);
    EXPECT_NE(bad_path.find("LD_PRELOAD"), std::string::npos);
}

} // namespace
} // namespace smcd::tools
