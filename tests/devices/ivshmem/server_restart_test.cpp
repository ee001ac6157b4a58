// A server that is started anew, and a region that goes away. Floor 4.
#include <fcntl.h>
#include <sys/stat.h>

#include <filesystem>
#include <thread>

#include "devices/ivshmem/peers.hpp"
#include "smcd/base/error.hpp"
#include "tests/devices/ivshmem/scripted_server.hpp"

namespace smcd::dev::test {
namespace {

/// Ids of later runs of a server.
constexpr std::uint32_t kRun = ivshmem::kIdsPerBlock;

TEST_F(ServerLinkTest, AdoptsTheNextServersEventfdsAndKeepsThoseOfTheLastRun) {
    UniqueFd memory;
    std::thread first([&] { greet(); });
    auto link = connect(memory);
    first.join();
    ASSERT_TRUE(link);
    const int own = link->own_eventfd();
    server_.hang_up();
    EXPECT_FALSE(link->service());
    std::thread second([&] { greet_as(kRun + 5, kRun + 2); });
    auto fresh = connect(memory);
    second.join();
    ASSERT_TRUE(fresh);

    link->adopt(*std::move(fresh));

    EXPECT_TRUE(link->connected());
    EXPECT_EQ(link->own_id(), kRun + 5);
    EXPECT_EQ(link->own_eventfd(), own);
    EXPECT_TRUE(link->knows(kRun + 2) && link->ring(kRun + 2));
    EXPECT_EQ(take_rings(eventfds_[2].get()), 1U);
    EXPECT_FALSE(link->knows(1));
    EXPECT_TRUE(link->ring(1)) << "it may not have heard of the new server yet";
    EXPECT_EQ(take_rings(eventfds_[1].get()), 1U);
    EXPECT_TRUE(link->ring(kRun + 5));
    EXPECT_EQ(take_rings(eventfds_[5].get()), 1U);
}

TEST_F(ServerLinkTest, ManyRestartsLeaveNoDescriptorBehind) {
    UniqueFd memory;
    std::thread first([&] { greet(); });
    auto link = connect(memory);
    first.join();
    ASSERT_TRUE(link);
    std::size_t settled = 0;
    for (std::uint32_t run = 1; run < ivshmem::kIdBlocks; ++run) {
        std::thread script([&] { greet_as(run * kRun + 3, run * kRun + 1); });
        auto fresh = connect(memory);
        script.join();
        ASSERT_TRUE(fresh);
        link->adopt(*std::move(fresh));
        if (run == 3) {
            settled = open_descriptors();
        }
    }
    EXPECT_EQ(open_descriptors(), settled);
}

TEST_F(ServerLinkTest, ThoseOfBeforeAndNewcomersRingEachOther) {
    std::thread first([&] { greet(); });
    const Party old(server_.path());
    first.join();
    static_cast<void>(old.group());
    server_.hang_up();
    old.device->service();
    EXPECT_EQ(old.device->poll_fd(), -1);

    std::thread second([&] { greet_as(kRun + 2, kRun + 1); });
    const Party young(server_.path());
    second.join();
    ASSERT_TRUE(old.register_for(young.group()));
    EXPECT_EQ(old.device->usage().polled, 1U) << "they know each other by two servers";

    std::thread third([&] { greet_as(kRun + 6, kRun + 2); });
    old.device->look_after();
    third.join();
    EXPECT_GE(old.device->poll_fd(), 0);
    EXPECT_EQ(old.device->usage().polled, 0U);
}

TEST_F(ServerLinkTest, AServerWithAnotherRegionIsNotOurs) {
    std::thread first([&] { greet(); });
    const Party old(server_.path());
    const Party peer(path_of(memory_.get()));
    first.join();
    const LinkGroupId group = old.group();
    const auto dmb = old.register_for(peer.group());
    ASSERT_TRUE(dmb);
    server_.hang_up();
    EXPECT_FALSE(old.device->gone());

    memory_ = *create_sealed_memfd("region", kRegionBytes);
    std::thread second([&] { greet(); });
    old.device->look_after();
    second.join();

    EXPECT_TRUE(old.device->gone());
    EXPECT_EQ(old.device->link_group_id().error(), Errc::fabric_gone);
    EXPECT_EQ(old.register_for(peer.group()).error(), Errc::fabric_gone);
    EXPECT_EQ(old.device->find_listener({}), IvshmemDevice::Found::gone);
    EXPECT_TRUE(peer.device->attach_dmb(group, dmb->token)) << "what was shared goes on";
}

TEST(RegionFileTest, AFileThatIsRemovedIsGone) {
    std::string path = (std::filesystem::temp_directory_path() / "smcd-region-XXXXXX").string();
    const UniqueFd file(::mkstemp(path.data()));
    ASSERT_EQ(::ftruncate(file.get(), static_cast<off_t>(kRegionBytes)), 0);
    const Party one(path);
    const Party other(path);
    ASSERT_TRUE(one.register_for(other.group()));

    std::filesystem::remove(path);

    EXPECT_TRUE(one.device->gone());
    EXPECT_EQ(one.register_for(LinkGroupId(1)).error(), Errc::fabric_gone);
}

} // namespace
} // namespace smcd::dev::test
