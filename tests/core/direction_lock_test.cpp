// DirectionGuard: nesting, owners that have died, and how one waits.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "smcd/core/direction_lock.hpp"

namespace smcd {
namespace {

/// The scheduler's letter for a thread of this process: S while it sleeps.
char state_of(std::uint32_t thread) {
    std::ifstream file("/proc/self/task/" + std::to_string(thread) + "/stat");
    const std::string line{std::istreambuf_iterator<char>(file), {}};
    const std::size_t name_end = line.rfind(')');
    return name_end == std::string::npos ? '?' : line.at(name_end + 2);
}

TEST(DirectionGuard, KnowsItsOwnThread) {
    DirectionLock lock;
    const DirectionGuard outer(lock);
    EXPECT_FALSE(outer.nested());
    {
        const DirectionGuard inner(lock);
        EXPECT_TRUE(inner.nested());
    }
    EXPECT_EQ(lock.owner.load(), thread_id()) << "the inner one has let go of it";
}

TEST(DirectionGuard, IsTakenOverFromTheDead) {
    DirectionLock lock;
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        ::_exit(0);
    }
    ASSERT_EQ(::waitpid(child, nullptr, 0), child);
    lock.owner.store(static_cast<std::uint32_t>(child));
    const DirectionGuard guard(lock);
    EXPECT_EQ(lock.owner.load(), thread_id());
}

// Yielding alone never lets an owner run whose priority is lower.
TEST(DirectionGuard, WhoWaitsLongSleeps) {
    DirectionLock lock;
    std::atomic<std::uint32_t> waiting{0};
    std::thread other;
    {
        const DirectionGuard guard(lock);
        other = std::thread([&] {
            waiting.store(thread_id());
            const DirectionGuard second(lock);
            waiting.store(0);
        });
        while (waiting.load() == 0) {
            std::this_thread::yield();
        }
        while (state_of(waiting.load()) != 'S') { // the watchdog ends this
        }
        EXPECT_NE(waiting.load(), 0U) << "two hold the lock";
    }
    other.join();
    EXPECT_EQ(waiting.load(), 0U);
}

}  // namespace
}  // namespace smcd
