// Doorbells and signal bits in the hands of a hostile peer, and the last resort. Floor 4.
#include <algorithm>
#include <atomic>
#include <limits>
#include <set>

#include "tests/devices/loopback/fixture.hpp"

namespace smcd::dev::test {
namespace {

constexpr unsigned kDoor = 7;
constexpr std::uint64_t kDoorBit = 1ULL << kDoor;

class HostileSignalTest : public LoopbackTest {
protected:
    void SetUp() override {
        LoopbackTest::SetUp();
        peer.emplace();
        peer->greet(victim->group());
        attached = victim->device->attach_dmb(peer->id, peer->announce());
        ASSERT_TRUE(*attached);
        victim->device->set_last_resort([this](const RemoteDmb& dmb) {
            EXPECT_EQ(dmb.token, (*attached)->token);
            ++last_resorts;
        });
        peer->set_epoch(kDoor, 1);
    }

    void TearDown() override {
        peer.reset();
        LoopbackTest::TearDown();
    }

    void signal() { victim->device->signal(**attached, kDoorBit); }

    /// The signal area that the victim gave us.
    Mapping victims_area() {
        auto hello = peer->expect(MessageKind::hello);
        EXPECT_TRUE(hello);
        return *Mapping::map_shared(
            hello->descriptors[0].get(), kSignalAreaBytes, PROT_READ | PROT_WRITE);
    }

    std::optional<RawPeer> peer;
    std::optional<Result<RemoteDmb>> attached;
    std::atomic<int> last_resorts{0};
};

TEST_F(HostileSignalTest, AnUnknownDoorbellIsTheLastResortOncePerSleep) {
    signal();
    signal();
    EXPECT_EQ(last_resorts.load(), 1);

    peer->set_epoch(kDoor, 2);
    signal();
    EXPECT_EQ(last_resorts.load(), 1);

    peer->set_epoch(kDoor, 3);
    signal();
    EXPECT_EQ(last_resorts.load(), 2);
    EXPECT_EQ(victim->device->counters().unsignalled, 2U);
}

TEST_F(HostileSignalTest, ADoorbellOnItsWayIsFetchedBeforeTheLastResort) {
    const UniqueFd event_fd(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    ASSERT_TRUE(peer->send_doorbell(kDoor, event_fd.get()));

    signal();

    EXPECT_EQ(take_rings(event_fd.get()), 1U);
    EXPECT_EQ(last_resorts.load(), 0);
}

TEST_F(HostileSignalTest, ANewerDoorbellReplacesTheOld) {
    const UniqueFd first(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    const UniqueFd second(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    ASSERT_TRUE(peer->send_doorbell(kDoor, first.get()));
    victim->device->service();
    const std::size_t before = open_descriptors();
    ASSERT_TRUE(peer->send_doorbell(kDoor, second.get()));
    victim->device->service();

    signal();

    EXPECT_EQ(open_descriptors(), before);
    EXPECT_EQ(take_rings(first.get()), 0U);
    EXPECT_EQ(take_rings(second.get()), 1U);
}

// A child of the peer has taken over the index: the eventfd that we hold wakes nobody.
TEST_F(HostileSignalTest, TheDoorbellOfAnEarlierOwnerIsNotRung) {
    const UniqueFd earlier(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    const UniqueFd present(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    ASSERT_TRUE(peer->send_doorbell(kDoor, earlier.get(), 1));
    victim->device->service();
    peer->set_generation(kDoor, 2);

    signal();
    EXPECT_EQ(last_resorts.load(), 1);

    peer->set_epoch(kDoor, 3);
    ASSERT_TRUE(peer->send_doorbell(kDoor, present.get(), 2)); // on its way
    signal();
    EXPECT_EQ(take_rings(present.get()), 1U);
    EXPECT_EQ(take_rings(earlier.get()), 0U);
    EXPECT_EQ(last_resorts.load(), 1);
}

TEST_F(HostileSignalTest, NothingButANonBlockingEventfdIsADoorbell) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK), 0);
    const UniqueFd pipe_out(ends[0]);
    const UniqueFd pipe_in(ends[1]);
    const UniqueFd file(::open("/tmp", O_TMPFILE | O_RDWR | O_NONBLOCK | O_CLOEXEC, 0600));
    const UniqueFd blocking(::eventfd(0, EFD_CLOEXEC));
    const UniqueFd memory(*create_sealed_memfd("test", 4096));
    std::uint32_t epoch = 1;

    for (const int fd :
         {pipe_in.get(), file.get(), blocking.get(), memory.get(), peer->socket.get()}) {
        if (fd < 0) {
            continue;
        }
        const std::size_t before = open_descriptors();
        ASSERT_TRUE(peer->send_doorbell(kDoor, fd));
        peer->set_epoch(kDoor, epoch += 2);
        const int resorts = last_resorts.load();
        signal();
        EXPECT_EQ(last_resorts.load(), resorts + 1) << fd;
        EXPECT_EQ(open_descriptors(), before);
    }

    char byte = 0;
    EXPECT_LT(::read(pipe_out.get(), &byte, 1), 0);
    EXPECT_LT(receive_message(peer->socket.get()) ? 0 : -1, 1);
    std::uint64_t count = 0;
    EXPECT_EQ(::fcntl(blocking.get(), F_SETFL, O_NONBLOCK), 0);
    EXPECT_LT(::read(blocking.get(), &count, sizeof(count)), 0);
}

// The descriptor's flags are shared: a peer may make it blocking later, with a full counter, to
// stop whoever writes it.
TEST_F(HostileSignalTest, ADoorbellThatBecameBlockingStopsNobody) {
    const UniqueFd event_fd(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    ASSERT_TRUE(peer->send_doorbell(kDoor, event_fd.get()));
    victim->device->service();
    const std::uint64_t full = std::numeric_limits<std::uint64_t>::max() - 1;
    ASSERT_EQ(::write(event_fd.get(), &full, sizeof(full)), static_cast<ssize_t>(sizeof(full)));
    signal(); // full, but not blocking: its owner is awake
    EXPECT_EQ(last_resorts.load(), 0);
    ASSERT_EQ(::fcntl(event_fd.get(), F_SETFL, 0), 0);
    peer->set_epoch(kDoor, 3);

    signal();

    EXPECT_EQ(last_resorts.load(), 1);
}

TEST_F(HostileSignalTest, OverTheBudgetDoorbellsAreLeftToTheLastResort) {
    LoopbackOptions options;
    options.max_doorbell_fds = 2;
    Party party(options);
    RawPeer other;
    other.greet(party.group());
    const UniqueFd event_fd(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    party.device->service();
    const std::size_t before = open_descriptors();
    for (unsigned door = 0; door < kDoorbellCount; ++door) {
        ASSERT_TRUE(other.send_doorbell(door, event_fd.get()));
    }

    party.device->service();

    EXPECT_EQ(open_descriptors(), before + 2);
}

TEST_F(HostileSignalTest, RaisingEveryBitReachesTheOwnDmbsOnly) {
    auto own = victim->register_for(peer->id);
    ASSERT_TRUE(own);
    const Mapping mapping = victims_area();
    auto& area = *reinterpret_cast<SignalArea*>(mapping.data());
    const auto raise_all = [&] {
        for (auto& word : area.bits[kDoor]) {
            word.store(~0ULL);
        }
        for (auto& word : area.summary[kDoor]) {
            word.store(~0ULL);
        }
        area.any[kDoor].word.store(~0ULL);
    };

    for (int i = 0; i < 3; ++i) {
        raise_all();
        std::set<SbaIndex> found;
        const std::size_t count =
            victim->device->harvest(kDoor, [&](SbaIndex index) { found.insert(index); });

        EXPECT_EQ(count, 1U);
        EXPECT_EQ(found, std::set{own->index}); // not the bystander's
    }
    EXPECT_TRUE(victim->device->unregister_dmb(own->token));
    raise_all();
    EXPECT_EQ(victim->device->harvest(kDoor, [](SbaIndex) {}), 0U);
}

TEST_F(HostileSignalTest, EpochsThatRunWildCostOneRingPerSignal) {
    const UniqueFd event_fd(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    ASSERT_TRUE(peer->send_doorbell(kDoor, event_fd.get()));
    for (std::uint32_t i = 0; i < 1000; ++i) {
        peer->set_epoch(kDoor, random_u32() | 1U);
        signal();
    }

    EXPECT_LE(take_rings(event_fd.get()), 1000U);
    EXPECT_LE(victim->device->counters().rung, 1000U);
    EXPECT_EQ(last_resorts.load(), 0);
}

TEST_F(HostileSignalTest, EveryDoorAtOnceIsBounded) {
    for (unsigned door = 0; door < kDoorbellCount; ++door) {
        peer->set_epoch(door, 1);
    }

    victim->device->signal(**attached, ~0ULL);

    EXPECT_EQ(last_resorts.load(), static_cast<int>(kDoorbellCount));
}

TEST_F(HostileSignalTest, ErrnoIsLeftAlone) {
    errno = 12345;

    signal();
    (*attached)->bells->futex_in.store(1);
    victim->device->wake(**attached, (*attached)->bells->futex_in);

    EXPECT_EQ(errno, 12345);
    errno = 0;
}

} // namespace
} // namespace smcd::dev::test
