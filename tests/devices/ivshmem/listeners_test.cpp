// Announced listeners: found by address and network, gone with their last holder. Floor 4.
#include <thread>

#include "devices/ivshmem/peers.hpp"
#include "tests/devices/ivshmem/fixture.hpp"

namespace smcd::dev::test {
namespace {

using Found = IvshmemDevice::Found;

AnnouncedAddress address_of(unsigned last_byte, std::uint16_t port) {
    AnnouncedAddress address;
    address.family = 4;
    address.port = port;
    address.address = {
        std::byte{10}, std::byte{0}, std::byte{0}, static_cast<std::byte>(last_byte)};
    return address;
}

IvshmemOptions in_network(const char* pnetid) {
    IvshmemOptions options;
    options.pnetid = pnetid;
    return options;
}

TEST_F(IvshmemTest, AListenerIsFoundByAddressPortAndNetwork) {
    const Party server(path, in_network("BLUE"));
    const Party client(path, in_network("BLUE"));
    const Party stranger(path, in_network("GREEN"));
    const std::array addresses{address_of(1, 80), address_of(2, 80)};

    const auto lease = server.device->announce(addresses);

    ASSERT_TRUE(lease);
    EXPECT_EQ(client.device->find_listener(addresses[0]), Found::yes);
    EXPECT_EQ(client.device->find_listener(addresses[1]), Found::yes);
    EXPECT_EQ(client.device->find_listener(address_of(3, 80)), Found::no);
    EXPECT_EQ(client.device->find_listener(address_of(1, 81)), Found::no);
    EXPECT_EQ(stranger.device->find_listener(addresses[0]), Found::other_network);
}

TEST_F(IvshmemTest, AListenerIsGoneWithItsLastHolder) {
    const Party server(path);
    const Party client(path);
    const std::array addresses{address_of(1, 80)};
    auto lease = server.device->announce(addresses);
    const UniqueFd second_holder(::dup(lease->get()));

    *lease = UniqueFd();
    server.device->withdraw_unheld();
    EXPECT_EQ(client.device->find_listener(addresses[0]), Found::yes);
    ::close(const_cast<UniqueFd&>(second_holder).release());
    EXPECT_EQ(client.device->find_listener(addresses[0]), Found::no);
    server.device->withdraw_unheld();
    EXPECT_EQ(region.slot(slot_of(server.group())).listeners[0].status.load() & 1U, 0U);
}

TEST_F(IvshmemTest, AListenerOfAKilledProcessIsNotFound) {
    int fds[2];
    ASSERT_EQ(::pipe(fds), 0);
    const std::array addresses{address_of(1, 80)};
    Child child([&] {
        const Party server(path);
        const auto lease = server.device->announce(addresses);
        static_cast<void>(::write(fds[1], "x", lease ? 1 : 0));
        ::pause();
        return 0;
    });
    char ready = 0;
    ASSERT_EQ(::read(fds[0], &ready, 1), 1);
    const Party client(path);

    EXPECT_EQ(client.device->find_listener(addresses[0]), Found::yes);
    ::kill(child.pid(), SIGKILL);
    EXPECT_EQ(child.wait(), 128 + SIGKILL);
    EXPECT_EQ(client.device->find_listener(addresses[0]), Found::no);
    ::close(fds[0]);
    ::close(fds[1]);
}

TEST_F(IvshmemTest, AListenerOnAnotherMachineMustShowThatItRuns) {
    const Party server(path);
    const Party client(path);
    const std::array addresses{address_of(1, 80)};
    const auto lease = server.device->announce(addresses);
    ivshmem::PeerEntry& entry = region.slot(slot_of(server.group())).peer;
    entry.kernel.store(77); // the client sees no lock of it

    EXPECT_EQ(client.device->find_listener(addresses[0]), Found::yes);

    const Party late(path);
    entry.beat.store(0);
    EXPECT_EQ(late.device->find_listener(addresses[0]), Found::yes); // the forwarder beats
}

TEST_F(IvshmemTest, AListenerOnAMachineThatIsPausedIsNotFound) {
    const Party client(path);
    const Party server(path);
    const std::array addresses{address_of(1, 80)};
    ivshmem::SlotTables& tables = region.slot(slot_of(server.group()));
    const auto lease = server.device->announce(addresses);
    // The entries of a machine that does not run: a slot that nobody's thread looks after.
    const std::uint32_t idle = (slot_of(server.group()) + 1) % kPeers;
    ivshmem::SlotTables& still = region.slot(idle);
    for (std::size_t i = 0; i < 1; ++i) {
        still.listeners[i].family.store(4);
        still.listeners[i].port.store(81);
        still.listeners[i].address[0].store(tables.listeners[i].address[0].load());
        still.listeners[i].status.store((1ULL << 32U) | 1U);
    }
    still.peer.kernel.store(77);
    still.peer.listeners_used.store(1);
    still.peer.status.store((1ULL << 32U) | 2U);

    EXPECT_EQ(client.device->find_listener(address_of(1, 81)), Found::no);
}

TEST_F(IvshmemTest, EntriesRunOutAndComeBack) {
    const Party server(path);
    std::vector<UniqueFd> leases;
    for (std::uint16_t port = 1; port <= ivshmem::kListenersMax; ++port) {
        auto lease = server.device->announce(std::array{address_of(1, port)});
        ASSERT_TRUE(lease) << port;
        leases.push_back(*std::move(lease));
    }

    EXPECT_EQ(server.device->announce(std::array{address_of(1, 99)}).error(),
              std::errc::no_space_on_device);
    leases.pop_back();
    EXPECT_TRUE(server.device->announce(std::array{address_of(1, 99)}));
}

} // namespace
} // namespace smcd::dev::test
