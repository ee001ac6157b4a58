// Joining, leaving, dying, forking; what becomes of slots and of memory. Floor 4.
#include <cstring>

#include "devices/ivshmem/peers.hpp"
#include "tests/devices/ivshmem/fixture.hpp"

namespace smcd::dev::test {
namespace {

TEST_F(IvshmemTest, AFullRegionIsAnErrorUntilSomebodyLeaves) {
    std::vector<std::unique_ptr<Party>> parties;
    for (std::uint32_t i = 0; i < kPeers; ++i) {
        parties.push_back(std::make_unique<Party>(path));
        EXPECT_NE(parties.back()->group(), LinkGroupId());
    }
    const Party late(path);

    EXPECT_EQ(late.device->link_group_id().error(), std::errc::no_space_on_device);
    parties.pop_back();
    EXPECT_TRUE(late.device->link_group_id());
}

TEST_F(IvshmemTest, TheSlotOfAKilledProcessIsTaken) {
    for (std::uint32_t i = 0; i < 3 * kPeers; ++i) {
        Child child([&] {
            const Party party(path);
            static_cast<void>(party.group());
            ::raise(SIGKILL);
            return 0;
        });
        EXPECT_EQ(child.wait(), 128 + SIGKILL);
    }
    const Party survivor(path);

    EXPECT_TRUE(survivor.device->link_group_id());
}

TEST_F(IvshmemTest, ADeadPeerIsRefusedAndAStoppedOneIsNot) {
    int pipe_fds[2];
    ASSERT_EQ(::pipe(pipe_fds), 0);
    Child child([&] {
        const Party party(path);
        const std::uint32_t group = party.group().value();
        static_cast<void>(::write(pipe_fds[1], &group, sizeof(group)));
        ::raise(SIGSTOP);
        return 0;
    });
    std::uint32_t group = 0;
    ASSERT_EQ(::read(pipe_fds[0], &group, sizeof(group)), ssize_t{sizeof(group)});
    int status = 0;
    ASSERT_EQ(::waitpid(child.pid(), &status, WUNTRACED), child.pid());
    const Party party(path);

    EXPECT_TRUE(party.register_for(LinkGroupId(group)));
    ::kill(child.pid(), SIGKILL);
    EXPECT_EQ(child.wait(), 128 + SIGKILL);
    EXPECT_EQ(party.register_for(LinkGroupId(group)).error(), std::errc::connection_refused);
    ::close(pipe_fds[0]);
    ::close(pipe_fds[1]);
}

TEST_F(IvshmemTest, APeerUnderAnotherKernelIsNeverTakenForDead) {
    const Party party(path);
    {
        const Party other(path);
        const LinkGroupId group = other.group();
        region.slot(slot_of(group)).peer.kernel.store(77);
        EXPECT_TRUE(party.register_for(group));
    }
}

TEST_F(IvshmemTest, MemoryOfADeadWriterComesBack) {
    const Party owner(path);
    const std::uint64_t free_before =
        (static_cast<void>(owner.group()), owner.device->usage().free_bytes);
    const LinkGroupId owner_group = owner.group();
    int to_child[2];
    int to_parent[2];
    ASSERT_TRUE(::pipe(to_child) == 0 && ::pipe(to_parent) == 0);
    Child writer([&] {
        const Party party(path);
        const std::uint32_t group = party.group().value();
        static_cast<void>(::write(to_parent[1], &group, sizeof(group)));
        std::uint64_t token = 0;
        static_cast<void>(::read(to_child[0], &token, sizeof(token)));
        const bool attached = party.device->attach_dmb(owner_group, DmbToken(token)).has_value();
        ::raise(attached ? SIGKILL : SIGTERM);
        return 0;
    });
    std::uint32_t group = 0;
    ASSERT_EQ(::read(to_parent[0], &group, sizeof(group)), ssize_t{sizeof(group)});
    const auto dmb = owner.register_for(LinkGroupId(group), SizeClass(6));
    ASSERT_TRUE(dmb);
    ASSERT_EQ(::write(to_child[1], &dmb->token, sizeof(dmb->token)), ssize_t{8});
    EXPECT_EQ(writer.wait(), 128 + SIGKILL);
    ASSERT_TRUE(owner.device->unregister_dmb(dmb->token));
    EXPECT_EQ(owner.device->usage().retired, 1U);

    // All of the slice is to be had: the dead one's DMB is found when memory runs short.
    const Party living(path);
    const LinkGroupId living_group = living.group();
    std::uint64_t registered = 0;
    while (owner.register_for(living_group)) {
        registered += 4096 + dmb_size_bytes(kSmall);
    }

    EXPECT_GE(registered + 4096 + dmb_size_bytes(kSmall), free_before);
    for (const int fd : {to_child[0], to_child[1], to_parent[0], to_parent[1]}) {
        ::close(fd);
    }
}

TEST_F(IvshmemTest, WhatAPeerWroteBeforeItLeftCanStillBeAttached) {
    const Party reader(path);
    auto writer = std::make_unique<Party>(path);
    const LinkGroupId group = writer->group();
    const auto dmb = writer->register_for(reader.group());
    ASSERT_TRUE(dmb);
    std::memset(dmb->memory.data(), 0x5a, 100);
    ASSERT_TRUE(writer->device->unregister_dmb(dmb->token));
    writer.reset();

    const auto late = reader.device->attach_dmb(group, dmb->token);

    ASSERT_TRUE(late);
    EXPECT_EQ(late->memory[99], std::byte{0x5a});
}

TEST_F(IvshmemTest, MemoryThatAPeerHasAttachedSurvivesTheNextOwnerOfTheSlot) {
    const Party reader(path);
    auto first = std::make_unique<Party>(path);
    const LinkGroupId group = first->group();
    const std::uint32_t slot = slot_of(group);
    const auto dmb = first->register_for(reader.group());
    const auto attached = reader.device->attach_dmb(group, dmb->token);
    ASSERT_TRUE(attached);
    std::memset(attached->memory.data(), 0x77, attached->memory.size());
    first.reset();

    std::vector<std::unique_ptr<Party>> others;
    while (slot_of(group) == slot) {
        others.push_back(std::make_unique<Party>(path));
        ASSERT_TRUE(others.back()->device->link_group_id());
    }
    const LinkGroupId reader_group = reader.group();
    while (const auto more = others.back()->register_for(reader_group)) {
        std::memset(more->memory.data(), 0x11, more->memory.size());
    }

    EXPECT_EQ(attached->memory[100], std::byte{0x77});
    EXPECT_TRUE(reader.device->detach_dmb(dmb->token));
}

TEST_F(IvshmemTest, AChildGoesOnWithWhatItInherited) {
    const Party owner(path);
    const Party writer(path);
    const auto dmb = owner.register_for(writer.group());
    const auto remote = writer.device->attach_dmb(owner.group(), dmb->token);
    ASSERT_TRUE(remote);

    owner.device->before_fork();
    Child child([&] {
        owner.device->after_fork_in_child();
        owner.doorbells->after_fork_in_child();
        const auto door = owner.doorbells->acquire();
        if (!door || !owner.device->export_doorbell(*remote, *door)) {
            return 1;
        }
        const LinkGroupId own = *owner.device->link_group_id();
        owner.doorbells->begin_sleep(*door);
        dmb->bells->doors_in.store(1ULL << *door);
        // The sleeper is rung although the parent is whom the peer knows.
        if (!readable(owner.doorbells->event_fd(*door))) {
            return 2;
        }
        std::size_t found = 0;
        owner.device->harvest(*door, [&](SbaIndex index) { found += index == dmb->index ? 1 : 0; });
        return found == 1 && dmb->memory[0] == std::byte{9} && own != LinkGroupId() ? 0 : 3;
    });
    owner.device->after_fork_in_parent();
    ASSERT_TRUE(owner.device->unregister_dmb(dmb->token)); // the parent's copy alone
    while (remote->bells->doors_in.load() == 0) {
        ::sched_yield();
    }
    remote->memory[0] = std::byte{9};
    writer.device->signal(*remote, remote->bells->doors_in.exchange(0));

    EXPECT_EQ(child.wait(), 0);
}

TEST_F(IvshmemTest, ADmbThatAChildHoldsIsNotGivenToTheNext) {
    const Party owner(path);
    const Party writer(path);
    const LinkGroupId writer_group = writer.group();
    const auto dmb = owner.register_for(writer_group);
    const auto remote = writer.device->attach_dmb(owner.group(), dmb->token);
    ASSERT_TRUE(remote);
    owner.device->before_fork(); // as if there were a child now
    owner.device->after_fork_in_parent();
    std::memset(dmb->memory.data(), 0x44, dmb->memory.size());
    ASSERT_TRUE(owner.device->unregister_dmb(dmb->token));
    ASSERT_TRUE(writer.device->detach_dmb(dmb->token));

    while (const auto other = owner.register_for(writer_group)) {
        std::memset(other->memory.data(), 0x11, other->memory.size());
    }

    EXPECT_EQ(dmb->memory[7], std::byte{0x44});
}

} // namespace
} // namespace smcd::dev::test
