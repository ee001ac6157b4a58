// The ISM device: addressing, signals, events, error states. Floor 4. What all devices have in
// common is in the conformance suite.
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "devices/ism/ism.hpp"
#include "tests/devices/support.hpp"

namespace smcd::dev::test {
namespace {

struct Party {
    explicit Party(Chid chid = kIsmChid, std::string folder = {})
        : doorbells(*DoorbellTable::create()),
          device(*IsmDevice::create(*doorbells,
                                    IsmOptions{.chid = chid, .folder = std::move(folder)})) {}

    std::unique_ptr<DoorbellTable> doorbells;
    std::unique_ptr<IsmDevice> device;
};

std::vector<FabricEvent> events_of(IsmDevice& device) {
    device.service();
    std::vector<FabricEvent> events;
    while (const auto event = device.next_event()) {
        events.push_back(*event);
    }
    return events;
}

class IsmTest : public ::testing::Test {
protected:
    void SetUp() override {
        owner_ = register_one(SizeClass(0));
        ASSERT_TRUE(writer().attach_dmb(*owner().link_group_id(), owner_.token));
    }

    IsmDevice& owner() { return *a_.device; }

    IsmDevice& writer() { return *b_.device; }

    Result<Dmb> try_register(SizeClass size_class) {
        writer().service(); // keeps its end of the link from filling up
        return owner().register_dmb({writer().gid(), *writer().link_group_id(), size_class});
    }

    Dmb register_one(SizeClass size_class) { return *try_register(size_class); }

    Result<void> move(std::uint32_t offset, std::size_t bytes, bool signal = true) {
        return writer().move_data(owner_.token, signal, offset, {data_.data(), bytes});
    }

    std::vector<std::pair<std::uint32_t, std::uint16_t>> signals() {
        std::vector<std::pair<std::uint32_t, std::uint16_t>> taken;
        owner().take_signals(
            [&](SbaIndex index, std::uint16_t mask) { taken.emplace_back(index.value(), mask); });
        return taken;
    }

    Party a_;
    Party b_;
    Dmb owner_;
    std::vector<std::byte> data_ = std::vector<std::byte>(16384, std::byte{0x5A});
};

TEST_F(IsmTest, MovesAreSplitAtFourKilobytesAndSignalOnce) {
    ASSERT_TRUE(move(4000, 5000));

    const auto counters = writer().counters();
    EXPECT_EQ(counters.moves, 3U); // 96, 4096, 808
    EXPECT_EQ(counters.bytes, 5000U);
    EXPECT_EQ(counters.signals, 1U);
    EXPECT_EQ(owner_.memory[3999], std::byte{0});
    EXPECT_EQ(owner_.memory[4000], std::byte{0x5A});
    EXPECT_EQ(owner_.memory[8999], std::byte{0x5A});
    EXPECT_EQ(owner_.memory[9000], std::byte{0});
}

TEST_F(IsmTest, OneInstructionEndsAtTheBoundary) {
    const std::span<const std::byte> two(data_.data(), 2);

    EXPECT_TRUE(writer().move({owner_.token, 0, false, 4094}, two));
    EXPECT_EQ(writer().move({owner_.token, 0, false, 4095}, two).error(), std::errc::bad_address);
    EXPECT_EQ(writer().move({owner_.token, 0, false, 16383}, two).error(), std::errc::bad_address);
    EXPECT_EQ(writer().counters().refused, 2U);
}

TEST_F(IsmTest, SignalsMergeByElement) {
    EXPECT_EQ(owner().status().summary.load(), 0U);
    ASSERT_TRUE(writer().move({owner_.token, 0, true, 0}, {}));
    ASSERT_TRUE(writer().move({owner_.token, 15, true, 0}, {}));
    ASSERT_TRUE(writer().move({owner_.token, 3, false, 0}, {}));

    EXPECT_EQ(owner().status().summary.load(), StatusArea::kSummary);
    EXPECT_EQ(writer().counters().merged, 1U);
    const decltype(signals()) expected{
        {owner_.index.value(), 0x8001}
    };
    EXPECT_EQ(signals(), expected);
    EXPECT_TRUE(signals().empty());
}

TEST_F(IsmTest, SignalsOfWhatIsNoDmbAreDropped) {
    owner().status().raise(SbaIndex(1000), 0x8000);

    EXPECT_TRUE(signals().empty());
}

TEST_F(IsmTest, ASignalRingsEveryArmedBell) {
    const auto back =
        writer().register_dmb({owner().gid(), *owner().link_group_id(), SizeClass(0)});
    const auto way_back = owner().attach_dmb(*writer().link_group_id(), back->token);
    const unsigned door = *a_.doorbells->acquire();
    ASSERT_TRUE(owner().export_doorbell(*way_back, door));
    writer().service();
    for (auto* word : {&owner_.bells->doors_in, &owner_.bells->doors_out}) {
        a_.doorbells->begin_sleep(door);
        word->store(1ULL << door);
        owner_.bells->futex_out.store(1);

        ASSERT_TRUE(move(0, 8));

        EXPECT_EQ(take_rings(a_.doorbells->event_fd(door)), 1U);
        EXPECT_EQ(word->load(), 0U);
        EXPECT_EQ(owner_.bells->futex_out.load(), 0U);
        a_.doorbells->end_sleep(door);
    }
}

TEST_F(IsmTest, TheFirstIndicesAreReserved) {
    std::uint32_t count = 1;
    EXPECT_GE(owner_.index.value(), kIsmReservedDmbs);
    for (auto dmb = try_register(SizeClass(0)); dmb; dmb = try_register(SizeClass(0))) {
        EXPECT_GE(dmb->index.value(), kIsmReservedDmbs);
        EXPECT_LT(dmb->index.value(), kIsmDmbCount);
        ++count;
    }

    EXPECT_EQ(count, 1888U);
    EXPECT_EQ(owner().max_dmbs(), 1920U);
    EXPECT_EQ(try_register(SizeClass(0)).error(), std::errc::no_space_on_device);
}

TEST_F(IsmTest, TokensLeaveRoomForTheCommand) {
    EXPECT_EQ(owner_.token.value() & ~kIsmTokenMask, 0U);
    EXPECT_EQ(try_register(SizeClass(7)).error(), std::errc::invalid_argument);
}

TEST_F(IsmTest, AnUnregisteredDmbTakesNoMovesAndTellsItsWriter) {
    ASSERT_TRUE(owner().unregister_dmb(owner_.token));

    EXPECT_EQ(move(0, 8).error(), std::errc::invalid_argument);
    const auto events = events_of(writer());
    ASSERT_EQ(events.size(), 1U);
    EXPECT_EQ(events[0].type, FabricEventType::buffer);
    EXPECT_EQ(events[0].code, kFabricBufferUnregistered);
    EXPECT_EQ(events[0].token, owner_.token.value());
}

TEST_F(IsmTest, ADetachedDmbIsNobodysBusiness) {
    ASSERT_TRUE(writer().detach_dmb(owner_.token));

    EXPECT_EQ(move(0, 8).error(), std::errc::invalid_argument);
    ASSERT_TRUE(owner().unregister_dmb(owner_.token));
    EXPECT_TRUE(events_of(writer()).empty());
}

TEST_F(IsmTest, ADisabledDeviceFailsOnBothSides) {
    ASSERT_TRUE(owner().disable());

    EXPECT_EQ(move(0, 8).error(), std::errc::no_such_device);
    EXPECT_EQ(try_register(SizeClass(0)).error(), std::errc::no_such_device);
    EXPECT_FALSE(owner().link_group_id());
    const auto events = events_of(writer());
    ASSERT_EQ(events.size(), 1U);
    EXPECT_EQ(events[0].type, FabricEventType::device);
    EXPECT_EQ(events[0].code, kFabricDeviceDisabled);
}

TEST_F(IsmTest, SoftwareEventsCarryTheSendersGid) {
    ASSERT_TRUE(writer().signal_event(owner().gid(), 0x83, 77));

    const auto events = events_of(owner());
    ASSERT_EQ(events.size(), 1U);
    EXPECT_EQ(events[0].type, FabricEventType::software);
    EXPECT_EQ(events[0].code, 0x83U);
    EXPECT_EQ(events[0].token, writer().gid().high);
    EXPECT_EQ(events[0].info, 77U);
    EXPECT_NE(owner().status().summary.load() & StatusArea::kEvent, 0U);
    Gid nobody = owner().gid();
    nobody.high ^= 1;
    EXPECT_EQ(writer().signal_event(nobody, 1, 0).error(), std::errc::network_unreachable);
}

TEST_F(IsmTest, TheEventQueueOverruns) {
    for (int i = 0; i < 20; ++i) {
        ASSERT_TRUE(writer().signal_event(owner().gid(), 1, 0));
    }

    EXPECT_EQ(events_of(owner()).size(), EventQueue::kEntries);
    EXPECT_EQ(owner().event_overruns(), 5U);
}

TEST(IsmFabricTest, FabricsDoNotReachOneAnother) {
    const Party a(Chid(0x0101));
    const Party b(Chid(0x0102));
    const Party c(Chid(0xFF10));

    EXPECT_EQ(a.device->query_remote_gid(b.device->gid()).error(), std::errc::network_unreachable);
    EXPECT_EQ(a.device->gid().low, 0U);
    EXPECT_NE(c.device->gid().low, 0U); // emulated: 128 bits
    EXPECT_NE(a.device->gid().high >> 32U, b.device->gid().high >> 32U);
}

TEST(IsmFabricTest, ChidsOfOthersAreRefused) {
    const auto doorbells = *DoorbellTable::create();

    for (const Chid chid : {Chid(0), kLoopbackChid}) {
        EXPECT_EQ(IsmDevice::create(*doorbells, IsmOptions{.chid = chid}).error(),
                  std::errc::invalid_argument);
    }
}

TEST(IsmFabricTest, AFolderIsAFabricOfItsOwn) {
    namespace fs = std::filesystem;
    std::string folder = (fs::temp_directory_path() / "smcd-ism-XXXXXX").string();
    ASSERT_NE(::mkdtemp(folder.data()), nullptr);
    const auto files = [&] {
        return std::distance(fs::directory_iterator(folder), fs::directory_iterator());
    };
    {
        const Party a(kIsmChid, folder);
        const Party b(kIsmChid, folder);
        const Party elsewhere;
        const auto dmb =
            a.device->register_dmb({b.device->gid(), *b.device->link_group_id(), SizeClass(0)});
        ASSERT_TRUE(dmb);
        EXPECT_TRUE(b.device->attach_dmb(*a.device->link_group_id(), dmb->token));
        EXPECT_EQ(files(), 2);
        EXPECT_EQ(a.device->query_remote_gid(elsewhere.device->gid()).error(),
                  std::errc::network_unreachable);
    }
    EXPECT_EQ(files(), 0) << "whoever ends in order leaves nothing";
    const auto doorbells = *DoorbellTable::create();
    EXPECT_EQ(IsmDevice::create(*doorbells, IsmOptions{.folder = folder + "/none"}).error(),
              std::errc::not_a_directory);
    fs::remove_all(folder);
}

TEST(IsmFabricTest, NewcomersRemoveWhatTheDeadLeft) {
    namespace fs = std::filesystem;
    std::string folder = (fs::temp_directory_path() / "smcd-ism-XXXXXX").string();
    ASSERT_NE(::mkdtemp(folder.data()), nullptr);
    const Party living(kIsmChid, folder);
    ASSERT_NE(living.device->gid(), Gid{});
    for (int i = 0; i < 40; ++i) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        const std::string path = folder + "/0100-dead" + std::to_string(i);
        std::memcpy(address.sun_path, path.c_str(), path.size());
        const UniqueFd dead(::socket(AF_UNIX, SOCK_SEQPACKET, 0));
        ASSERT_EQ(::bind(dead.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    }
    const Party newcomer(kIsmChid, folder);

    EXPECT_NE(newcomer.device->gid(), Gid{});
    EXPECT_TRUE(newcomer.device->query_remote_gid(living.device->gid()));
    EXPECT_EQ(std::distance(fs::directory_iterator(folder), fs::directory_iterator()), 2);
    fs::remove_all(folder);
}

TEST(IsmFabricTest, APreferredGroupNamesTheGid) {
    const Party a;
    a.device->prefer_group(LinkGroupId(0x12345678));

    EXPECT_EQ(*a.device->link_group_id(), LinkGroupId(0x12345678));
    EXPECT_EQ(a.device->gid().high & 0xFFFFFFFFU, 0x12345678U);
}

} // namespace
} // namespace smcd::dev::test
