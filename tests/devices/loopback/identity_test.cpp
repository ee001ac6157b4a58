// Who may share memory: uids, names, tokens. Floor 4.
#include <grp.h>

#include "tests/devices/loopback/fixture.hpp"
#include "tests/devices/processes.hpp"

namespace smcd::dev::test {
namespace {

constexpr uid_t kNobody = 65534;

/// Gives up every right of root; false when there was none to give up.
bool become_nobody() {
    return ::setgroups(0, nullptr) == 0 && ::setresgid(kNobody, kNobody, kNobody) == 0 &&
           ::setresuid(kNobody, kNobody, kNobody) == 0;
}

#define SMCD_NEEDS_ROOT()                                                                          \
    if (::geteuid() != 0) {                                                                        \
        GTEST_SKIP() << "changing the uid needs root";                                             \
    }

TEST(LoopbackIdentityTest, TheGidIsAUuidAndTheSameInTheWholeNamespace) {
    const Party one;
    const Party two;
    const Gid gid = one.device->gid();

    EXPECT_EQ(gid, two.device->gid());
    EXPECT_EQ((gid.high >> 12U) & 0xFU, 4U);
    EXPECT_EQ(gid.low >> 62U, 2U);
    Child child([&] { return Party().device->gid() == gid ? 0 : 1; });
    EXPECT_EQ(child.wait(), 0);
}

TEST(LoopbackIdentityTest, AnotherNetworkNamespaceIsAnotherGid) {
    SMCD_NEEDS_ROOT();
    const Gid gid = Party().device->gid();
    Child child([&] {
        if (::unshare(CLONE_NEWNET) != 0) {
            return 2;
        }
        const Party party;
        SMCD_CHILD_REQUIRE(party.device->gid() != gid);
        SMCD_CHILD_REQUIRE(!party.device->query_remote_gid(gid));
        return 0;
    });
    const int status = child.wait();
    if (status == 2) {
        GTEST_SKIP() << "namespaces are not allowed here";
    }
    EXPECT_EQ(status, 0);
}

TEST(LoopbackIdentityTest, AnotherUidIsRefusedWhoeverConnects) {
    SMCD_NEEDS_ROOT();
    Line line;
    Child child([&] {
        line.be_child();
        SMCD_CHILD_REQUIRE(become_nobody());
        Party party;
        const auto other = line.hear<LinkGroupId>();
        // Our connection to root's rendezvous: refused by ourselves already.
        SMCD_CHILD_REQUIRE(party.register_for(other).error() == std::errc::permission_denied);
        // By hand: the connection is made, and ends without a word from the other side.
        RawPeer peer;
        peer.connect(other);
        line.tell(peer.id);
        SMCD_CHILD_REQUIRE(line.hear<int>() == 1);
        SMCD_CHILD_REQUIRE(!peer.expect(MessageKind::hello));
        SMCD_CHILD_REQUIRE(!peer.say_hello());
        line.tell(party.group());
        SMCD_CHILD_REQUIRE(line.hear<int>() == 2);
        party.device->service();
        SMCD_CHILD_REQUIRE(party.device->usage().links == 0);
        return 0;
    });
    line.be_parent();
    Party root;
    line.tell(root.group());
    const auto raw_id = line.hear<LinkGroupId>();
    root.device->service();
    EXPECT_FALSE(root.device->has_link(raw_id));
    EXPECT_EQ(root.register_for(raw_id).error(), std::errc::permission_denied);
    line.tell(1);
    EXPECT_EQ(root.register_for(line.hear<LinkGroupId>()).error(), std::errc::permission_denied);
    line.tell(2);

    EXPECT_EQ(child.wait(), 0);
    EXPECT_GE(root.device->counters().refused, 3U);
    EXPECT_EQ(root.device->usage().links, 0U);
}

TEST(LoopbackIdentityTest, AnAllowedUidIsAccepted) {
    SMCD_NEEDS_ROOT();
    Line line;
    Child child([&] {
        line.be_child();
        SMCD_CHILD_REQUIRE(become_nobody());
        Party party(LoopbackOptions{.allowed_uids = {0}});
        const auto other = line.hear<LinkGroupId>();
        const auto dmb = party.register_for(other);
        SMCD_CHILD_REQUIRE(dmb);
        line.tell(party.group());
        line.tell(dmb->token);
        SMCD_CHILD_REQUIRE(line.hear<int>() == 1);
        SMCD_CHILD_REQUIRE(dmb->memory[3] == std::byte{3});
        return 0;
    });
    line.be_parent();
    Party root(LoopbackOptions{.allowed_uids = {kNobody}});
    line.tell(root.group());
    const auto id = line.hear<LinkGroupId>();
    auto remote = root.device->attach_dmb(id, line.hear<DmbToken>());
    ASSERT_TRUE(remote) << remote.error().message();
    remote->memory[3] = std::byte{3};
    line.tell(1);

    EXPECT_EQ(child.wait(), 0);
}

TEST(LoopbackIdentityTest, AChangedUidGetsANewRendezvousAndLosesOldPeers) {
    SMCD_NEEDS_ROOT();
    Line line;
    Child child([&] {
        line.be_child();
        Party party;
        const LinkGroupId before = party.group();
        const auto peer = line.hear<LinkGroupId>();
        const auto dmb = party.register_for(peer);
        SMCD_CHILD_REQUIRE(dmb);
        SMCD_CHILD_REQUIRE(become_nobody());
        const LinkGroupId after = party.group();
        SMCD_CHILD_REQUIRE(after != before);
        SMCD_CHILD_REQUIRE(party.group() == after);
        // What was shared stays; nothing new goes to a process of the uid that we were.
        SMCD_CHILD_REQUIRE(party.register_for(peer).error() == std::errc::permission_denied);
        SMCD_CHILD_REQUIRE(party.device->unregister_dmb(dmb->token));
        return 0;
    });
    line.be_parent();
    Party root;
    line.tell(root.group());

    EXPECT_EQ(child.wait(), 0);
}

TEST(LoopbackIdentityTest, ASquatterOfAnotherUidGetsNothing) {
    SMCD_NEEDS_ROOT();
    Line line;
    Child squatter([&] {
        line.be_child();
        SMCD_CHILD_REQUIRE(become_nobody());
        RawPeer peer; // holds a rendezvous name, as if it had been faster than its rightful owner
        line.tell(peer.id);
        SMCD_CHILD_REQUIRE(line.hear<int>() == 1);
        SMCD_CHILD_REQUIRE(!peer.accept() || !peer.expect(MessageKind::hello));
        return 0;
    });
    line.be_parent();
    Party root;

    EXPECT_EQ(root.register_for(line.hear<LinkGroupId>()).error(), std::errc::permission_denied);
    line.tell(1);

    EXPECT_EQ(squatter.wait(), 0);
}

TEST(LoopbackIdentityTest, ATakenNameIsLeftToItsHolder) {
    const UniqueFd holder = *listen_at(LinkGroupId(0x12345678));

    EXPECT_EQ(listen_at(LinkGroupId(0x12345678)).error(), std::errc::address_in_use);
}

// Same uid, another process: it says that it is the bystander.
TEST_F(LoopbackTest, AnImpostorIsNotTakenForTheHolderOfTheName) {
    Line line;
    const LinkGroupId claimed = bystander->group();
    const LinkGroupId target = victim->group();
    Child impostor([&] {
        line.be_child();
        RawPeer peer;
        peer.id = claimed;
        peer.connect(target);
        SMCD_CHILD_REQUIRE(peer.say_hello());
        line.tell(1);
        SMCD_CHILD_REQUIRE(line.hear<int>() == 2);
        SMCD_CHILD_REQUIRE(!peer.expect(MessageKind::dmb));
        return 0;
    });
    line.be_parent();
    ASSERT_EQ(line.hear<int>(), 1);

    victim->device->service();

    EXPECT_EQ(victim->device->counters().violations, 1U);
    EXPECT_EQ(victim->device->usage().links, 1U);
    expect_bystander_unharmed();
    line.tell(2);
    EXPECT_EQ(impostor.wait(), 0);
}

TEST_F(LoopbackTest, GuessedTokensAreNeverAccepted) {
    RawPeer peer;
    peer.greet(victim->group());
    const DmbToken real = peer.announce();
    const std::uint64_t near = real.value();

    for (std::uint64_t i = 1; i <= 1000; ++i) {
        EXPECT_FALSE(victim->device->attach_dmb(peer.id, DmbToken(near + i)));
        EXPECT_FALSE(victim->device->attach_dmb(peer.id, DmbToken(near - i)));
    }
    for (int i = 0; i < 20'000; ++i) {
        ASSERT_FALSE(victim->device->attach_dmb(peer.id, DmbToken(random_u64())));
    }
    EXPECT_TRUE(victim->device->attach_dmb(peer.id, real));
}

TEST_F(LoopbackTest, TokensOfOthersAreRefused) {
    RawPeer one;
    RawPeer two;
    one.greet(victim->group());
    two.greet(victim->group());
    const DmbToken of_one = one.announce();
    victim->device->service();

    EXPECT_FALSE(victim->device->attach_dmb(two.id, of_one));
    EXPECT_FALSE(victim->device->attach_dmb(bystander->group(), of_one));
    EXPECT_FALSE(victim->device->attach_dmb(two.id, (*kept)->token));

    // And a peer that announces another's token does not displace it.
    ASSERT_TRUE(victim->device->attach_dmb(one.id, of_one));
    const auto memory = create_sealed_memfd("test-dmb", kSmallFile);
    ASSERT_TRUE(two.send_dmb(of_one, {memory->get()}));
    EXPECT_FALSE(victim->device->attach_dmb(two.id, of_one));
    EXPECT_TRUE(victim->device->detach_dmb(of_one));
}

TEST_F(LoopbackTest, ATokenIsWorthNothingAfterDetach) {
    RawPeer peer;
    peer.greet(victim->group());
    const DmbToken token = peer.announce();
    ASSERT_TRUE(victim->device->attach_dmb(peer.id, token));
    ASSERT_TRUE(victim->device->detach_dmb(token));

    EXPECT_FALSE(victim->device->attach_dmb(peer.id, token));
    EXPECT_FALSE(victim->device->move_data(token, false, 0, {}));
}

} // namespace
} // namespace smcd::dev::test
