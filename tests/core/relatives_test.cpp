// Relatives: the end of a process is noticed by all that share with it, whatever ended it. Floor 4.
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <functional>
#include <new>

#include <gtest/gtest.h>

#include "smcd/core/relatives.hpp"

namespace smcd::test {
namespace {

/// A word like ConnBlock::holders, and the process's own Relatives, as Process keeps them.
class RelativesTest : public ::testing::Test {
protected:
    RelativesTest()
        : memory_(
              ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) {
        holders = new (memory_) std::atomic<std::uint64_t>(relatives.self().bit());
        static_cast<void>(::pipe(line_.data()));
    }

    ~RelativesTest() override {
        ::close(line_[0]);
        if (line_[1] >= 0) {
            ::close(line_[1]);
        }
        ::munmap(memory_, 4096);
    }

    /// A child that shares the word, runs `life` and exits with its result.
    pid_t give_birth(const std::function<int()>& life) {
        relatives.before_fork(true);
        relatives.child().enter(*holders);
        const pid_t child = ::fork();
        if (child == 0) {
            relatives.after_fork_in_child();
            ::_exit(life());
        }
        relatives.after_fork_in_parent();
        return child;
    }

    /// For a child: until the parent lets it go or ends.
    int wait_for_parent() {
        ::close(line_[1]);
        char byte = 0;
        static_cast<void>(!::read(line_[0], &byte, 1));
        return 0;
    }

    void let_go() {
        ::close(line_[1]);
        line_[1] = -1;
    }

    static int status_of(pid_t child) {
        int status = 0;
        ::waitpid(child, &status, 0);
        return status;
    }

    /// Takes the holds of ended relatives off the word; how many there were.
    unsigned forget_ended() {
        unsigned count = 0;
        relatives.each_ended(holders->load(), [&](std::uint64_t ended) {
            count = count_holders(ended);
            holders->fetch_and(~ended);
        });
        return count;
    }

    Relatives relatives;
    std::atomic<std::uint64_t>* holders = nullptr;

private:
    void* memory_;
    std::array<int, 2> line_{-1, -1};
};

TEST_F(RelativesTest, AChildCountsUntilItEnds) {
    EXPECT_EQ(forget_ended(), 0U);
    const pid_t child = give_birth([this] { return wait_for_parent(); });
    EXPECT_EQ(count_holders(holders->load()), 2U);
    EXPECT_EQ(forget_ended(), 0U);
    let_go();
    EXPECT_EQ(status_of(child), 0);
    EXPECT_EQ(forget_ended(), 1U);
    EXPECT_EQ(holders->load(), relatives.self().bit());
}

TEST_F(RelativesTest, AKilledChildHasEndedBeforeAnybodyWaitsForIt) {
    const pid_t child = give_birth([this] { return wait_for_parent(); });
    ::kill(child, SIGKILL);
    siginfo_t info{};
    ::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT);
    EXPECT_EQ(forget_ended(), 1U);
    status_of(child);
}

TEST_F(RelativesTest, AForkThatFailsLeavesNobody) {
    relatives.before_fork(true);
    relatives.child().enter(*holders);
    relatives.after_fork_in_parent();
    EXPECT_EQ(count_holders(holders->load()), 2U);
    EXPECT_EQ(forget_ended(), 1U);
}

TEST_F(RelativesTest, AnotherProgramHoldsNothing) {
    std::array<int, 2> started{-1, -1};
    ASSERT_EQ(::pipe(started.data()), 0);
    const pid_t child = give_birth([&] {
        ::dup2(started[1], STDOUT_FILENO);
        ::execl("/bin/sh", "sh", "-c", "echo here; read line", nullptr);
        return 1;
    });
    std::array<char, 8> text{};
    EXPECT_GT(::read(started[0], text.data(), text.size()), 0);
    EXPECT_EQ(forget_ended(), 1U);
    ::kill(child, SIGKILL);
    status_of(child);
    ::close(started[0]);
    ::close(started[1]);
}

TEST_F(RelativesTest, AGrandchildSeesItsParentEndAndItsGrandparentLive) {
    std::array<int, 2> orphan{-1, -1};
    ASSERT_EQ(::pipe(orphan.data()), 0);
    const pid_t child = give_birth([&] {
        const pid_t parent = ::getpid();
        give_birth([&, parent] {
            while (::getppid() == parent) {
                ::sched_yield();
            }
            const std::uint64_t before = holders->load();
            const unsigned ended = forget_ended();
            const bool right = count_holders(before) == 3 && ended == 1;
            static_cast<void>(!::write(orphan[1], right ? "y" : "n", 1));
            return 0;
        });
        return 0;
    });
    EXPECT_EQ(status_of(child), 0);
    char answer = 0;
    EXPECT_EQ(::read(orphan[0], &answer, 1), 1);
    EXPECT_EQ(answer, 'y');
    ::close(orphan[0]);
    ::close(orphan[1]);
}

TEST_F(RelativesTest, WhoSharesNothingBeginsAFamilyOfItsOwn) {
    relatives.before_fork(false);
    const pid_t child = ::fork();
    if (child == 0) {
        relatives.after_fork_in_child();
        std::atomic<std::uint64_t> own{relatives.self().bit()};
        relatives.before_fork(true);
        relatives.child().enter(own);
        relatives.after_fork_in_parent();
        unsigned ended = 0;
        relatives.each_ended(own.load(), [&](std::uint64_t bits) { ended = count_holders(bits); });
        ::_exit(ended == 1 ? 0 : 1);
    }
    relatives.after_fork_in_parent();
    EXPECT_EQ(status_of(child), 0);
}

TEST_F(RelativesTest, SlotsAreGivenOutAgain) {
    for (unsigned i = 0; i < 3 * kHolderSlots; ++i) {
        const pid_t child = give_birth([] { return 0; });
        EXPECT_EQ(status_of(child), 0);
        EXPECT_NE(relatives.self().bit(), kHolderUnnamed);
        ASSERT_EQ(forget_ended(), 1U);
    }
}

TEST_F(RelativesTest, BeyondTheSlotsTheyAreMerelyCounted) {
    constexpr unsigned kTooMany = kHolderSlots + 4;
    std::array<pid_t, kTooMany> children{};
    for (pid_t& child : children) {
        child = give_birth([this] { return wait_for_parent(); });
    }
    EXPECT_EQ(count_holders(holders->load()), kTooMany + 1);
    EXPECT_EQ(forget_ended(), 0U);
    let_go();
    for (const pid_t child : children) {
        EXPECT_EQ(status_of(child), 0);
    }
    EXPECT_EQ(forget_ended(), kHolderSlots - 1);
    EXPECT_EQ(count_holders(holders->load()), 1 + kTooMany - (kHolderSlots - 1));
}

} // namespace
} // namespace smcd::test
