// Tests of smcd/base/random.hpp. Floor 4.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <set>

#include <gtest/gtest.h>

#include "smcd/base/random.hpp"

namespace smcd {
namespace {

constexpr int kDraws = 10000;

TEST(RandomTest, NumbersAreNeverZeroAndDoNotRepeat) {
    std::set<std::uint64_t> seen;
    for (int i = 0; i < kDraws; ++i) {
        const std::uint64_t value = random_u64();
        ASSERT_NE(value, 0U);
        ASSERT_TRUE(seen.insert(value).second);
    }
    for (int i = 0; i < kDraws; ++i) {
        ASSERT_NE(random_u32(), 0U);
    }
}

TEST(RandomTest, WeakNumbersDoNotRepeatEither) {
    std::set<std::uint64_t> seen;
    for (int i = 0; i < kDraws; ++i) {
        ASSERT_TRUE(seen.insert(weak_random_u64()).second);
    }
}

// Makes getrandom() fail with EPERM from here on, as a container's filter may.
bool forbid_getrandom() {
    std::array program{
        sock_filter(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr))),
        sock_filter(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getrandom, 0, 1)),
        sock_filter(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)),
        sock_filter(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)),
    };
    const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
    return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

constexpr int kGoodExit = 0;
constexpr int kNoFilter = 77;

int draw_without_getrandom() {
    if (!forbid_getrandom()) {
        return kNoFilter;
    }
    unsigned char byte = 0;
    if (::syscall(SYS_getrandom, &byte, sizeof(byte), 0U) != -1 || errno != EPERM) {
        return 2;
    }
    const std::uint64_t first = random_u64();
    const std::uint64_t second = random_u64();
    return first != 0 && second != 0 && first != second && random_u32() != 0 ? kGoodExit : 3;
}

TEST(RandomTest, WithoutGetrandomTheFallbackAnswers) {
    const pid_t child = ::fork();
    if (child == 0) {
        ::_exit(draw_without_getrandom());
    }
    ASSERT_GT(child, 0);
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status));
    if (WEXITSTATUS(status) == kNoFilter) {
        GTEST_SKIP() << "seccomp filters are not available here";
    }

    EXPECT_EQ(WEXITSTATUS(status), kGoodExit);
}

} // namespace
} // namespace smcd
