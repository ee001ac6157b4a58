#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include <gtest/gtest.h>

#include "smcd/base/unique_fd.hpp"
#include "smcd/tools/proc_files.hpp"

namespace smcd::tools {
namespace {

TEST(ProcFilesTest, ReadsALineOfMaps) {
    const auto entry = parse_maps_line("7f12a4000000-7f12a4010000 rw-s 00001000 00:01 1026         "
                                       "              /memfd:smcd-conn (deleted)");

    ASSERT_TRUE(entry);
    EXPECT_EQ(entry->begin, 0x7f12a4000000U);
    EXPECT_EQ(entry->end, 0x7f12a4010000U);
    EXPECT_EQ(entry->device, 1U);
    EXPECT_EQ(entry->inode, 1026U);
    EXPECT_EQ(entry->name, "/memfd:smcd-conn (deleted)");
}

TEST(ProcFilesTest, ReadsALineWithoutAName) {
    for (const char* line :
         {"1000-2000 rw-p 00000000 00:00 0 ", "1000-2000 rw-p 00000000 00:00 0"}) {
        const auto entry = parse_maps_line(line);

        ASSERT_TRUE(entry) << line;
        EXPECT_TRUE(entry->name.empty());
    }
}

TEST(ProcFilesTest, KeepsMajorAndMinorApart) {
    const auto one = parse_maps_line("1000-2000 rw-p 0 01:02 7 /a");
    const auto other = parse_maps_line("1000-2000 rw-p 0 02:01 7 /a");

    ASSERT_TRUE(one && other);
    EXPECT_NE(one->device, other->device);
}

TEST(ProcFilesTest, RefusesOtherLinesOfMaps) {
    for (const char* line : {"",
                             "-",
                             "1000",
                             "1000-",
                             "1000-2000",
                             "1000-2000 ",
                             "1000-2000 rw-p",
                             "1000-2000 rw-p ",
                             "1000-2000 rw-p 0 01:",
                             "1000-2000 rw-p 0 01:02",
                             "1000-2000 rw-p 0 01:02 x",
                             "2000-1000 rw-p 0 01:02 7 /a",
                             "x000-2000 rw-p 0 01:02 7 /a",
                             "11112222333344445-2 rw-p 0 01:02 7 /a",
                             "1000-2000 rw-pp 0 01:02 7 /a"}) {
        EXPECT_FALSE(parse_maps_line(line)) << line;
    }
}

TEST(ProcFilesTest, ReadsLinksOfOneKind) {
    EXPECT_EQ(parse_inode_link("socket:[123]", "socket"), 123U);
    EXPECT_EQ(parse_inode_link("net:[4026531833]", "net"), 4026531833U);
    for (const char* link : {"",
                             "socket",
                             "socket:",
                             "socket:[",
                             "socket:[]",
                             "socket:[1",
                             "socket:[1]x",
                             "socket:[x]",
                             "pipe:[1]",
                             "/socket:[1]",
                             "socket:[-1]"}) {
        EXPECT_FALSE(parse_inode_link(link, "socket")) << link;
    }
}

TEST(ProcFilesTest, FindsOwnSockets) {
    const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));

    const auto sockets = sockets_of(::getpid());

    EXPECT_TRUE(std::any_of(sockets.begin(), sockets.end(), [&](const OpenSocket& open) {
        return open.fd == fd.get() && open.inode != 0;
    }));
}

TEST(ProcFilesTest, KnowsItself) {
    const auto pids = list_pids();

    EXPECT_TRUE(std::find(pids.begin(), pids.end(), ::getpid()) != pids.end());
    EXPECT_TRUE(std::is_sorted(pids.begin(), pids.end()));
    EXPECT_FALSE(command_of(::getpid()).empty());
    EXPECT_NE(netns_of(::getpid()), 0U);
}

TEST(ProcFilesTest, AVanishedProcessHasNothing) {
    constexpr pid_t kNobody = 0x3fffffff; // above every pid_max

    EXPECT_FALSE(read_proc(kNobody, "maps", 100));
    EXPECT_TRUE(command_of(kNobody).empty());
    EXPECT_TRUE(sockets_of(kNobody).empty());
    EXPECT_EQ(netns_of(kNobody), 0U);
}

TEST(ProcFilesTest, ReadsNoMoreThanAsked) {
    const auto text = read_proc(::getpid(), "maps", 10);

    ASSERT_TRUE(text);
    EXPECT_EQ(text->size(), 10U);
}

} // namespace
} // namespace smcd::tools
