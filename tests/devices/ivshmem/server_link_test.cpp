// What an ivshmem server may send: the order, pieces, surplus, nonsense, and its end. Floor 4.
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include <thread>

#include "devices/ivshmem/peers.hpp"
#include "smcd/base/error.hpp"
#include "tests/devices/ivshmem/scripted_server.hpp"

namespace smcd::dev::test {
namespace {

TEST_F(ServerLinkTest, TakesTheGreetingAndRingsPeers) {
    std::thread script([&] { greet(); });
    UniqueFd memory;
    auto link = connect(memory);
    script.join();

    ASSERT_TRUE(link) << link.error().message();
    EXPECT_TRUE(memory.valid());
    EXPECT_EQ(link->own_id(), 3U);
    EXPECT_TRUE(link->ring(1));
    EXPECT_EQ(take_rings(eventfds_[1].get()), 1U);
    EXPECT_TRUE(link->ring(3));
    EXPECT_EQ(take_rings(link->own_eventfd()), 1U);
    EXPECT_FALSE(link->ring(2));
    EXPECT_FALSE(link->ring(65535));
    EXPECT_FALSE(link->ring(~0U));
}

TEST_F(ServerLinkTest, NumbersMayComeInPieces) {
    for (const std::size_t bytes : {1U, 3U, 5U}) {
        std::thread script([&] { greet(bytes); });
        UniqueFd memory;
        auto link = connect(memory);
        script.join();

        ASSERT_TRUE(link) << bytes << ": " << link.error().message();
        EXPECT_TRUE(link->ring(1));
        EXPECT_EQ(take_rings(eventfds_[1].get()), 1U);
    }
}

TEST_F(ServerLinkTest, PeersComeAndGo) {
    std::thread script([&] { greet(); });
    UniqueFd memory;
    auto link = connect(memory);
    script.join();
    ASSERT_TRUE(link);
    const std::size_t before = open_descriptors();

    server_.send(2, eventfds_[2].get());
    server_.send(2, eventfds_[4].get()); // a second vector: closed
    EXPECT_TRUE(link->service());
    EXPECT_EQ(open_descriptors(), before + 1);
    EXPECT_TRUE(link->knows(2) && link->ring(2));
    EXPECT_EQ(take_rings(eventfds_[2].get()), 1U);
    EXPECT_EQ(take_rings(eventfds_[4].get()), 0U);

    server_.send(2);
    EXPECT_TRUE(link->service());
    EXPECT_FALSE(link->knows(2));
    server_.send(2, eventfds_[5].get()); // the next one with that id
    EXPECT_TRUE(link->service());
    EXPECT_TRUE(link->knows(2) && link->ring(2));
    EXPECT_EQ(take_rings(eventfds_[5].get()), 1U);
    EXPECT_EQ(open_descriptors(), before + 1);
}

TEST_F(ServerLinkTest, ManySurplusVectorsLeaveNoDescriptorBehind) {
    std::thread script([&] { greet(); });
    UniqueFd memory;
    auto link = connect(memory);
    script.join();
    ASSERT_TRUE(link);
    const std::size_t before = open_descriptors();

    for (int i = 0; i < 500; ++i) {
        server_.send(i % 2 == 0 ? 3 : 1, eventfds_[4].get());
        EXPECT_TRUE(link->service());
    }

    EXPECT_EQ(open_descriptors(), before);
}

TEST_F(ServerLinkTest, TheServersEndIsNoticedAndWhatItGaveStays) {
    std::thread script([&] { greet(); });
    UniqueFd memory;
    auto link = connect(memory);
    script.join();
    ASSERT_TRUE(link);

    server_.hang_up();

    EXPECT_FALSE(link->service());
    EXPECT_FALSE(link->connected());
    EXPECT_TRUE(link->ring(1));
    EXPECT_EQ(take_rings(eventfds_[1].get()), 1U);
}

TEST_F(ServerLinkTest, NonsenseIsRefused) {
    struct Script {
        const char* what;
        std::vector<std::pair<std::int64_t, bool>>
            messages; ///< number, with the memory's descriptor
    };

    const std::array<Script, 6> scripts{
        {
         {"another version", {{1, false}, {3, false}, {-1, true}}},
         {"a negative id", {{0, false}, {-3, false}, {-1, true}}},
         {"too large an id", {{0, false}, {65536, false}, {-1, true}}},
         {"no memory", {{0, false}, {3, false}, {-1, false}}},
         {"memory first", {{-1, true}, {0, false}, {3, false}}},
         {"an id that cannot be", {{0, false}, {3, false}, {-1, true}, {-9, false}}},
         }
    };
    for (const Script& one : scripts) {
        std::thread script([&] {
            server_.accept();
            for (const auto& [number, with_memory] : one.messages) {
                server_.send(number, with_memory ? memory_.get() : -1);
            }
        });
        UniqueFd memory;
        auto link = connect(memory);
        script.join();
        EXPECT_FALSE(link) << one.what;
    }
}

TEST_F(ServerLinkTest, AServerThatStopsOrHangsUpInTheMiddleIsAnError) {
    server_.talk_to_the_impatient();
    for (int messages = 0; messages < 4; ++messages) {
        for (const bool hangs_up : {true, false}) {
            std::thread script([&] {
                server_.accept();
                const std::array<std::int64_t, 4> numbers{0, 3, -1, 1};
                for (int i = 0; i < messages; ++i) {
                    server_.send(numbers[static_cast<std::size_t>(i)], i >= 2 ? memory_.get() : -1);
                }
                if (hangs_up) {
                    server_.hang_up();
                }
            });
            UniqueFd memory;
            auto link = connect(memory, hangs_up ? kTimeoutNs : 50 * kNsPerMs);
            script.join();
            EXPECT_FALSE(link) << messages << hangs_up;
            server_.hang_up();
        }
    }
}

TEST_F(ServerLinkTest, ADeviceTakesItsRegionFromTheServerUnlessItCanShrink) {
    const auto doorbells = *DoorbellTable::create();
    IvshmemOptions options;
    options.path = server_.path();
    {
        std::thread script([&] { greet(); });
        const auto device = IvshmemDevice::open(*doorbells, options);
        script.join();
        ASSERT_TRUE(device) << device.error().message();
        EXPECT_GE((*device)->poll_fd(), 0);
        EXPECT_TRUE((*device)->link_group_id());
        (*device)->service();
        EXPECT_GE((*device)->poll_fd(), 0);
        server_.hang_up();
        (*device)->service();
        EXPECT_EQ((*device)->poll_fd(), -1);
    }
    memory_ = *create_memfd("region", kRegionBytes);
    std::thread script([&] { greet(); });
    EXPECT_EQ(IvshmemDevice::open(*doorbells, options).error(), Errc::unsafe_memory);
    script.join();
}

TEST_F(ServerLinkTest, AFileOfOursWillDoUnlessOthersMayWriteIt) {
    const auto doorbells = *DoorbellTable::create();
    IvshmemOptions options;
    options.path = server_.path();
    const std::string path = server_.path() + ".region";
    for (const mode_t mode : {0600U, 0644U, 0620U, 0602U}) {
        memory_ = UniqueFd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
        ASSERT_EQ(::ftruncate(memory_.get(), static_cast<off_t>(kRegionBytes)), 0);
        ASSERT_EQ(::fchmod(memory_.get(), mode), 0);
        std::thread script([&] { greet(); });
        const auto device = IvshmemDevice::open(*doorbells, options);
        script.join();

        const bool safe = (mode & 0022U) == 0;
        EXPECT_EQ(static_cast<bool>(device), safe) << std::oct << mode;
        if (!safe) {
            EXPECT_EQ(device.error(), Errc::unsafe_memory);
        }
    }
}

TEST_F(ServerLinkTest, APeerOfWhomTheServerHasJustToldIsRung) {
    // The owner hears by an eventfd of which the writer has not read yet; then by one that never
    // comes.
    std::thread script([&] { greet(); });
    const Party writer(server_.path());
    script.join();
    const Party owner(path_of(memory_.get()));
    const auto dmb = owner.register_for(writer.group());
    ASSERT_TRUE(dmb);
    const auto remote = writer.device->attach_dmb(owner.group(), dmb->token);
    ASSERT_TRUE(remote);
    auto region = ivshmem::Region::open(UniqueFd(::dup(memory_.get())), kRegionBytes, 0);
    ivshmem::SlotTables& tables =
        region->slot(ivshmem::find_peer(*region, owner.group(), false)->slot);
    tables.peer.listen.store(static_cast<std::uint32_t>(ivshmem::Listen::eventfd));
    std::size_t last_resorts = 0;
    writer.device->set_last_resort([&](const RemoteDmb& peer) {
        EXPECT_EQ(peer.token, remote->token);
        ++last_resorts;
    });

    server_.send(2, eventfds_[2].get());
    tables.peer.doorbell_id.store(2);
    tables.doors[5].epoch.store(1);
    writer.device->signal(*remote, 1ULL << 5U);
    EXPECT_EQ(take_rings(eventfds_[2].get()), 1U);
    EXPECT_EQ(last_resorts, 0U);

    tables.peer.doorbell_id.store(4);
    tables.doors[5].epoch.store(3);
    writer.device->signal(*remote, 1ULL << 5U);
    EXPECT_EQ(last_resorts, 1U);
}

} // namespace
} // namespace smcd::dev::test
