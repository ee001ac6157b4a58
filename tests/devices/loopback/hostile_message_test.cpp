// Messages that a hostile peer may send, and peers that vanish between any two of them. Floor 4.
#include <cstring>

#include "tests/devices/loopback/fixture.hpp"

namespace smcd::dev::test {
namespace {

using Bytes = std::vector<std::byte>;

Bytes bytes_of(const LinkMessage& message) {
    Bytes bytes(sizeof(message));
    std::memcpy(bytes.data(), &message, sizeof(message));
    return bytes;
}

class HostileMessageTest : public LoopbackTest {
protected:
    /// Sends `bytes` instead of a hello.
    void send_as_hello(RawPeer& peer, const Bytes& bytes) {
        peer.connect(victim->group());
        ASSERT_TRUE(send_raw(peer.socket.get(), bytes, {peer.area.get(), peer.page.get()}));
        victim->device->service();
    }

    std::uint64_t violations() { return victim->device->counters().violations; }
};

TEST_F(HostileMessageTest, GarbageInsteadOfAHelloEndsTheLink) {
    std::vector<Bytes> garbage{Bytes(1),
                               Bytes(sizeof(LinkMessage) - 1),
                               Bytes(sizeof(LinkMessage) + 1),
                               Bytes(4096),
                               Bytes(sizeof(LinkMessage), std::byte{0xff})};
    LinkMessage hello = hello_message(LinkGroupId(1));
    hello.version = kLinkVersion + 1;
    garbage.push_back(bytes_of(hello));
    hello = hello_message(LinkGroupId(1));
    hello.second = 4096;
    garbage.push_back(bytes_of(hello));
    garbage.push_back(bytes_of(hello_message(LinkGroupId(0))));
    garbage.push_back(bytes_of(retire_message(DmbToken(1))));
    garbage.push_back(bytes_of(dmb_message(DmbToken(1), SbaIndex(0), kSmall)));
    garbage.push_back(bytes_of(doorbell_message(0, 1)));

    for (const Bytes& bytes : garbage) {
        RawPeer peer;
        const std::uint64_t before = violations();

        send_as_hello(peer, bytes);

        EXPECT_EQ(violations(), before + 1) << bytes.size();
        EXPECT_FALSE(victim->device->has_link(peer.id));
    }
    EXPECT_EQ(victim->device->usage().links, 1U);
}

TEST_F(HostileMessageTest, RandomBytesNeverMakeALink) {
    for (int i = 0; i < 2000; ++i) {
        RawPeer peer;
        Bytes bytes(random_u32() % 64 + 1);
        for (std::byte& byte : bytes) {
            byte = static_cast<std::byte>(random_u32());
        }
        send_as_hello(peer, bytes);
    }
    EXPECT_EQ(victim->device->usage().links, 1U);
}

// The victim connects to us; we answer with another name than we have.
TEST_F(HostileMessageTest, AnsweringWithAnotherNameEndsTheLink) {
    RawPeer peer;
    auto dmb = victim->register_for(peer.id);
    ASSERT_TRUE(dmb);
    ASSERT_TRUE(peer.accept());
    const std::array<int, 2> fds{peer.area.get(), peer.page.get()};

    ASSERT_TRUE(send_message(peer.socket.get(), hello_message(LinkGroupId(7)), fds));
    victim->device->service();

    EXPECT_FALSE(victim->device->has_link(peer.id));
    EXPECT_TRUE(victim->device->unregister_dmb(dmb->token));
    EXPECT_EQ(victim->device->usage().links, 1U);
}

TEST_F(HostileMessageTest, ASecondHelloEndsTheLink) {
    RawPeer peer;
    peer.greet(victim->group());
    victim->device->service();
    ASSERT_TRUE(victim->device->has_link(peer.id));

    ASSERT_TRUE(peer.say_hello());
    victim->device->service();

    EXPECT_FALSE(victim->device->has_link(peer.id));
}

TEST_F(HostileMessageTest, ATokenAnnouncedTwiceEndsTheLink) {
    RawPeer peer;
    peer.greet(victim->group());
    const auto memory = create_sealed_memfd("test-dmb", kSmallFile);
    ASSERT_TRUE(peer.send_dmb(DmbToken(5), {memory->get()}));
    ASSERT_TRUE(peer.send_dmb(DmbToken(5), {memory->get()}));

    victim->device->service();

    EXPECT_FALSE(victim->device->has_link(peer.id));
}

TEST_F(HostileMessageTest, RetiringWhatNobodyKnowsIsHarmless) {
    RawPeer peer;
    peer.greet(victim->group());
    ASSERT_TRUE(send_message(peer.socket.get(), retire_message(DmbToken(99)), {}));
    const DmbToken token = peer.announce();
    ASSERT_TRUE(send_message(peer.socket.get(), retire_message(token), {}));
    ASSERT_TRUE(send_message(peer.socket.get(), retire_message(token), {}));

    EXPECT_TRUE(
        victim->device->attach_dmb(peer.id, token)); // not forgotten at once: see kRetiredMax
    EXPECT_TRUE(victim->device->detach_dmb(token));
    EXPECT_TRUE(victim->device->has_link(peer.id));
}

TEST_F(HostileMessageTest, RetiredMemoryIsForgottenOldestFirst) {
    RawPeer peer;
    peer.greet(victim->group());
    std::vector<DmbToken> tokens;
    for (int i = 0; i < 100; ++i) {
        tokens.push_back(peer.announce());
        ASSERT_TRUE(send_message(peer.socket.get(), retire_message(tokens.back()), {}));
        victim->device->service();
    }

    EXPECT_EQ(mappings_of("/memfd:test-dmb"), 64U);
    EXPECT_FALSE(victim->device->attach_dmb(peer.id, tokens.front()));
    EXPECT_TRUE(victim->device->attach_dmb(peer.id, tokens.back()));
}

TEST_F(HostileMessageTest, AFloodOfDmbsIsBounded) {
    RawPeer peer;
    peer.greet(victim->group());
    victim->device->service();
    const auto memory = create_sealed_memfd("test-dmb", kSmallFile);
    const std::size_t before = open_descriptors();
    std::uint64_t token = 1;

    while (token < 40'000 && peer.send_dmb(DmbToken(token), {memory->get()})) {
        ++token;
        if (token % 64 == 0) {
            victim->device->service();
            EXPECT_LE(open_descriptors(), before);
        }
    }

    EXPECT_LE(token, 16384U + 64 + 1);
    EXPECT_FALSE(victim->device->has_link(peer.id));
    EXPECT_EQ(mappings_of("/memfd:test-dmb"), 0U);
}

TEST_F(HostileMessageTest, SilentConnectionsAreBounded) {
    std::vector<RawPeer> peers(100);
    for (RawPeer& peer : peers) {
        peer.connect(victim->group());
        victim->device->service();
    }

    EXPECT_LE(victim->device->usage().links, 1U + 64);
    EXPECT_FALSE(peers.front().say_hello()); // dropped, as the oldest
    EXPECT_TRUE(peers.back().say_hello());
    victim->device->service();
    EXPECT_TRUE(victim->device->has_link(peers.back().id));
}

TEST_F(HostileMessageTest, APeerThatNeverReadsGetsAnErrorNotAWait) {
    RawPeer peer;
    std::vector<DmbToken> tokens;
    std::error_code error;

    while (!error && tokens.size() < 10'000) {
        auto dmb = victim->register_for(peer.id);
        error = dmb.error();
        if (dmb) {
            tokens.push_back(dmb->token);
        }
    }

    EXPECT_TRUE(error == std::errc::resource_unavailable_try_again || error.value() == ETOOMANYREFS)
        << error.message();
    EXPECT_EQ(victim->device->usage().dmbs, tokens.size() + 1);
    for (const DmbToken token : tokens) {
        EXPECT_TRUE(victim->device->unregister_dmb(token));
    }
}

/// How far a peer gets before it is gone.
enum class Last { nothing, connection, half_hello, hello, dmb, doorbell, retire };

class VanishingPeerTest : public LoopbackTest, public ::testing::WithParamInterface<Last> {};

TEST_P(VanishingPeerTest, LeavesNothingBehind) {
    const UniqueFd event_fd(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    const std::size_t before = open_descriptors();
    LinkGroupId id;
    DmbToken token;
    {
        RawPeer peer;
        id = peer.id;
        if (GetParam() > Last::nothing) {
            peer.connect(victim->group());
        }
        if (GetParam() == Last::half_hello) {
            const Bytes half(12);
            ASSERT_TRUE(send_raw(peer.socket.get(), half, {}));
        }
        if (GetParam() >= Last::hello) {
            ASSERT_TRUE(peer.say_hello());
        }
        if (GetParam() >= Last::dmb) {
            token = peer.announce();
        }
        if (GetParam() >= Last::doorbell) {
            ASSERT_TRUE(peer.send_doorbell(0, event_fd.get()));
        }
        if (GetParam() >= Last::retire) {
            ASSERT_TRUE(send_message(peer.socket.get(), retire_message(token), {}));
        }
    }

    if (GetParam() >= Last::dmb) {
        // What the peer said before it went still counts: it may have written and left.
        auto attached = victim->device->attach_dmb(id, token);
        ASSERT_TRUE(attached);
        attached->memory[0] = std::byte{1};
        victim->device->signal(*attached, 1);
        EXPECT_TRUE(victim->device->detach_dmb(token));
    } else {
        EXPECT_FALSE(victim->device->attach_dmb(id, DmbToken(1)));
    }
    victim->device->service();

    EXPECT_EQ(victim->device->usage().links, 1U);
    EXPECT_EQ(open_descriptors(), before);
    EXPECT_EQ(victim->register_for(id).error(), std::errc::connection_refused);
}

INSTANTIATE_TEST_SUITE_P(AfterEachMessage,
                         VanishingPeerTest,
                         ::testing::Values(Last::nothing,
                                           Last::connection,
                                           Last::half_hello,
                                           Last::hello,
                                           Last::dmb,
                                           Last::doorbell,
                                           Last::retire));

// The peer goes while we have a DMB for it: the memory stays ours until we give it up, then the
// link goes.
TEST_F(HostileMessageTest, ALinkWithALocalDmbOutlivesItsPeer) {
    std::optional<RawPeer> peer(std::in_place);
    const auto dmb = victim->register_for(peer->id);
    ASSERT_TRUE(dmb);
    ASSERT_TRUE(peer->accept());
    peer.reset();

    victim->device->service();

    dmb->memory[dmb->memory.size() - 1] = std::byte{1};
    EXPECT_EQ(victim->device->usage().links, 2U);
    EXPECT_TRUE(victim->device->unregister_dmb(dmb->token));
    EXPECT_EQ(victim->device->usage().links, 1U);
}

// A broken link does not keep a living peer out.
TEST_F(HostileMessageTest, ABrokenLinkIsReplaced) {
    RawPeer peer;
    peer.greet(victim->group());
    victim->device->service();
    ASSERT_TRUE(victim->device->has_link(peer.id));
    peer.socket.reset();

    const auto dmb = victim->register_for(peer.id);

    ASSERT_TRUE(dmb);
    EXPECT_TRUE(peer.accept());
    EXPECT_TRUE(peer.expect(MessageKind::dmb));
    EXPECT_TRUE(victim->device->unregister_dmb(dmb->token));
}

} // namespace
} // namespace smcd::dev::test
