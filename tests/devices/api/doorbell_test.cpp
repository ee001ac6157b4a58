// Doorbells: acquiring, epochs, relatives, and what peers can do to the page. Floor 4.
#include <sys/resource.h>

#include <atomic>
#include <csignal>
#include <set>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "devices/api/doorbell.hpp"
#include "tests/devices/processes.hpp"
#include "tests/devices/support.hpp"

namespace smcd::dev::test {
namespace {

class DoorbellTest : public ::testing::Test {
protected:
    /// The line as a peer sees it.
    [[nodiscard]] std::uint32_t epoch(unsigned door) {
        if (!page_) {
            page_ = *Mapping::map_shared(table->page_fd(), kDoorbellPageBytes, PROT_READ);
        }
        return reinterpret_cast<const DoorbellLine*>(page_.data())[door].epoch.load();
    }

    std::unique_ptr<DoorbellTable> table = *DoorbellTable::create();

private:
    Mapping page_;
};

TEST_F(DoorbellTest, SixtyFourDoorbellsAreDistinctThenNoneIsLeft) {
    std::set<unsigned> doors;
    std::set<int> event_fds;
    for (unsigned i = 0; i < kDoorbellCount; ++i) {
        const auto door = table->acquire();
        ASSERT_TRUE(door);
        doors.insert(*door);
        event_fds.insert(table->event_fd(*door));
    }

    EXPECT_EQ(doors.size(), kDoorbellCount);
    EXPECT_EQ(event_fds.size(), kDoorbellCount);
    EXPECT_EQ(table->mine(), ~0ULL);
    EXPECT_EQ(table->acquire().error(), std::errc::resource_unavailable_try_again);
    table->release(17);
    EXPECT_EQ(table->mine(), ~(1ULL << 17U));
    EXPECT_EQ(*table->acquire(), 17U);
}

TEST_F(DoorbellTest, EpochsAreOddWhileAsleep) {
    const unsigned door = *table->acquire();
    EXPECT_EQ(epoch(door) % 2, 0U);

    table->begin_sleep(door);
    const std::uint32_t first = epoch(door);
    EXPECT_EQ(first % 2, 1U);
    table->begin_sleep(door);
    EXPECT_EQ(epoch(door) % 2, 1U);
    EXPECT_NE(epoch(door), first);
    table->end_sleep(door);
    const std::uint32_t awake = epoch(door);
    EXPECT_EQ(awake % 2, 0U);
    table->end_sleep(door);
    EXPECT_EQ(epoch(door), awake);
}

TEST_F(DoorbellTest, ReleasingEndsTheSleep) {
    const unsigned door = *table->acquire();
    table->begin_sleep(door);

    table->release(door);

    EXPECT_EQ(epoch(door) % 2, 0U);
}

TEST_F(DoorbellTest, ARingFromInsideWakes) {
    const unsigned door = *table->acquire();
    errno = 4711;

    table->ring_local(door);

    EXPECT_EQ(errno, 4711);
    EXPECT_EQ(take_rings(table->event_fd(door)), 1U);
    EXPECT_EQ(take_rings(table->event_fd(door)), 0U);
}

TEST_F(DoorbellTest, AReacquiredDoorbellKeepsItsEventfdAndForgetsOldRings) {
    const unsigned door = *table->acquire();
    const int event_fd = table->event_fd(door);
    const std::uint32_t generation = table->generation(door);
    table->ring_local(door);
    table->release(door);

    ASSERT_EQ(*table->acquire(), door);

    EXPECT_EQ(table->event_fd(door), event_fd);
    EXPECT_EQ(table->generation(door), generation);
    EXPECT_EQ(take_rings(event_fd), 0U);
}

TEST_F(DoorbellTest, ReleasingWhatIsNotOursDoesNothing) {
    const unsigned door = *table->acquire();

    table->release(door + 1);
    table->release(kDoorbellCount);
    table->release(~0U);

    EXPECT_EQ(table->mine(), 1ULL << door);
}

TEST_F(DoorbellTest, RelativesDrawFromOnePool) {
    const unsigned parents = *table->acquire();
    Line line;
    Child child([&] {
        line.be_child();
        table->after_fork_in_child();
        SMCD_CHILD_REQUIRE(table->mine() == 0);
        const auto door = table->acquire();
        SMCD_CHILD_REQUIRE(door && *door != parents);
        table->release(parents); // not the child's to release
        line.tell(*door);
        SMCD_CHILD_REQUIRE(line.hear<int>() == 1);
        return 0;
    });
    line.be_parent();
    const auto childs = line.hear<unsigned>();

    std::set<unsigned> rest;
    for (auto door = table->acquire(); door; door = table->acquire()) {
        rest.insert(*door);
    }

    EXPECT_EQ(rest.size(), kDoorbellCount - 2);
    EXPECT_FALSE(rest.contains(childs));
    EXPECT_FALSE(rest.contains(parents));
    line.tell(1);
    EXPECT_EQ(child.wait(), 0);
}

TEST_F(DoorbellTest, TheDoorbellsOfADeadRelativeAreReclaimed) {
    Line line;
    Child child([&] {
        line.be_child();
        table->after_fork_in_child();
        for (auto door = table->acquire(); door; door = table->acquire()) {
            table->begin_sleep(*door);
        }
        line.tell(1);
        static_cast<void>(line.hear<int>());
        return 0;
    });
    line.be_parent();
    ASSERT_EQ(line.hear<int>(), 1);
    EXPECT_FALSE(table->acquire());
    ::kill(child.pid(), SIGKILL);
    EXPECT_EQ(child.wait(), 128 + SIGKILL);

    const auto door = table->acquire();

    ASSERT_TRUE(door);
    const std::uint32_t stale = epoch(*door);
    table->begin_sleep(*door);
    EXPECT_EQ(epoch(*door) % 2, 1U);
    EXPECT_NE(epoch(*door), stale); // peers ring again
}

TEST_F(DoorbellTest, AnIndexThatChangedHandsGetsANewGeneration) {
    const unsigned door = *table->acquire();
    const std::uint32_t before = table->generation(door);
    table->release(door);
    Child child([&] {
        table->after_fork_in_child();
        SMCD_CHILD_REQUIRE(*table->acquire() == door);
        SMCD_CHILD_REQUIRE(table->generation(door) != before);
        table->release(door);
        return 0;
    });
    EXPECT_EQ(child.wait(), 0);
    const std::uint32_t childs = table->generation(door);

    ASSERT_EQ(*table->acquire(), door);

    EXPECT_NE(table->generation(door), before);
    EXPECT_NE(table->generation(door), childs);
}

TEST_F(DoorbellTest, ThreadsNeverShareADoorbell) {
    std::array<std::atomic<int>, kDoorbellCount> holders{};
    std::atomic<bool> shared{false};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&] {
            for (int round = 0; round < 2000; ++round) {
                const auto door = table->acquire();
                if (!door || holders[*door].fetch_add(1) != 0) {
                    shared.store(true);
                    return;
                }
                table->begin_sleep(*door);
                table->ring_local(*door);
                table->end_sleep(*door);
                holders[*door].fetch_sub(1);
                table->release(*door);
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }

    EXPECT_FALSE(shared.load());
}

TEST_F(DoorbellTest, NothingStaysOpen) {
    const std::size_t before = open_descriptors();
    {
        const auto other = *DoorbellTable::create();
        for (int i = 0; i < 10; ++i) {
            ASSERT_TRUE(other->acquire());
        }
        other->release(3);
    }
    EXPECT_EQ(open_descriptors(), before);
}

TEST_F(DoorbellTest, WithoutADescriptorTheIndexStaysFree) {
    Child child([&] {
        rlimit none{3, 20000};
        SMCD_CHILD_REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
        SMCD_CHILD_REQUIRE(table->acquire().error() == std::errc::too_many_files_open);
        SMCD_CHILD_REQUIRE(table->mine() == 0);
        none.rlim_cur = 1000;
        SMCD_CHILD_REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
        SMCD_CHILD_REQUIRE(*table->acquire() == 0);
        return 0;
    });
    EXPECT_EQ(child.wait(), 0);
}

} // namespace
} // namespace smcd::dev::test
