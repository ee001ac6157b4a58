// Running out of descriptors, links and memory: every failure is an error, and nothing is lost with
// it. Floor 4.
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/devices/loopback/fixture.hpp"
#include "tests/devices/processes.hpp"

namespace smcd::dev::test {
namespace {

bool limit_descriptors(rlim_t soft) {
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = soft;
    return ::setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

/// UndefinedBehaviorSanitizer looks at objects through a pipe of its own, and takes a pipe that
/// cannot be made for a broken object.
#ifdef __SANITIZE_ADDRESS__
constexpr bool kNeedsDescriptorsItself = true;
#else
constexpr bool kNeedsDescriptorsItself = false;
#endif
#define SMCD_NEEDS_NO_DESCRIPTOR()                                                                 \
    if (kNeedsDescriptorsItself) {                                                                 \
        GTEST_SKIP() << "the sanitizer needs descriptors";                                         \
    }

/// Descriptor numbers in use are 0 .. count - 1 when nothing was opened out of order.
rlim_t lowest_free() {
    const UniqueFd probe(::dup(0));
    return static_cast<rlim_t>(probe.get());
}

/// A whole connection in one process; how far it came.
struct Attempt {
    bool complete = false;
    std::string failed_at;
};

Attempt connect_both_ways() {
    const auto doorbells_a = DoorbellTable::create();
    const auto doorbells_b = DoorbellTable::create();
    if (!doorbells_a || !doorbells_b) {
        return {false, "doorbells"};
    }
    LoopbackDevice a(**doorbells_a, {});
    LoopbackDevice b(**doorbells_b, {});
    const auto id_a = a.link_group_id();
    const auto id_b = b.link_group_id();
    if (!id_a || !id_b) {
        return {false, "rendezvous"};
    }
    const auto dmb_a = a.register_dmb({b.gid(), *id_b, kSmall});
    const auto dmb_b = b.register_dmb({a.gid(), *id_a, kSmall});
    if (!dmb_a || !dmb_b) {
        return {false, "register"};
    }
    const auto at_b = b.attach_dmb(*id_a, dmb_a->token);
    const auto at_a = a.attach_dmb(*id_b, dmb_b->token);
    if (!at_a || !at_b) {
        return {false, "attach"};
    }
    const auto door = (*doorbells_a)->acquire();
    if (!door || !a.export_doorbell(*at_a, *door)) {
        return {false, "doorbell"};
    }
    (*doorbells_a)->begin_sleep(*door);
    b.signal(*at_b, 1ULL << *door);
    // Rung, or left to the last resort: in both cases the bit is there.
    return {a.harvest(*door, [](SbaIndex) {}) == 1, "signal"};
}

TEST(LoopbackExhaustionTest, EveryNumberOfDescriptorsEitherWorksOrFailsCleanly) {
    SMCD_NEEDS_NO_DESCRIPTOR();
    Child child([] {
        const rlim_t used = lowest_free();
        bool complete = false;
        for (rlim_t spare = 0; spare <= 60; ++spare) {
            const std::size_t before = open_descriptors();
            SMCD_CHILD_REQUIRE(limit_descriptors(used + spare));
            const Attempt attempt = connect_both_ways();
            SMCD_CHILD_REQUIRE(limit_descriptors(1024));
            SMCD_CHILD_REQUIRE(open_descriptors() == before);
            SMCD_CHILD_REQUIRE(mappings_of("/memfd:smcd") == 0);
            complete = attempt.complete;
        }
        SMCD_CHILD_REQUIRE(complete);
        return 0;
    });
    EXPECT_EQ(child.wait(), 0);
}

// The limit falls while a connection exists: it goes on working, new ones fail, and work again
// later.
TEST(LoopbackExhaustionTest, ExistingConnectionsSurviveALackOfDescriptors) {
    SMCD_NEEDS_NO_DESCRIPTOR();
    Child child([] {
        Party a;
        Party b;
        const auto dmb = a.register_for(b.group());
        SMCD_CHILD_REQUIRE(dmb);
        const auto remote = b.device->attach_dmb(a.group(), dmb->token);
        SMCD_CHILD_REQUIRE(remote);
        const rlim_t enough = 1024;
        SMCD_CHILD_REQUIRE(limit_descriptors(3));

        const auto failed = a.register_for(b.group());
        SMCD_CHILD_REQUIRE(failed.error() == std::errc::too_many_files_open);
        SMCD_CHILD_REQUIRE(a.device->usage().dmbs == 1);
        b.device->signal(*remote, 1);
        SMCD_CHILD_REQUIRE(a.device->harvest(0, [](SbaIndex) {}) == 1);
        a.device->service();
        b.device->service();

        SMCD_CHILD_REQUIRE(limit_descriptors(enough));
        const auto again = a.register_for(b.group());
        SMCD_CHILD_REQUIRE(again);
        SMCD_CHILD_REQUIRE(b.device->attach_dmb(a.group(), again->token));
        return 0;
    });
    EXPECT_EQ(child.wait(), 0);
}

// The descriptor of a DMB arrives where no number is free: that DMB is lost, and no more.
TEST(LoopbackExhaustionTest, AReceiverWithoutDescriptorsLosesTheLinkAndMakesANewOne) {
    SMCD_NEEDS_NO_DESCRIPTOR();
    Child child([] {
        Party a;
        Party b;
        const auto kept = a.register_for(b.group());
        SMCD_CHILD_REQUIRE(kept && b.device->attach_dmb(a.group(), kept->token));
        const auto lost = a.register_for(b.group());
        SMCD_CHILD_REQUIRE(lost);
        SMCD_CHILD_REQUIRE(limit_descriptors(3));
        SMCD_CHILD_REQUIRE(!b.device->attach_dmb(a.group(), lost->token));
        SMCD_CHILD_REQUIRE(limit_descriptors(1024));

        const auto fresh = a.register_for(b.group());
        SMCD_CHILD_REQUIRE(fresh);
        SMCD_CHILD_REQUIRE(b.device->attach_dmb(a.group(), fresh->token));
        kept->memory[0] = std::byte{1};
        SMCD_CHILD_REQUIRE(b.device->detach_dmb(kept->token));
        return 0;
    });
    EXPECT_EQ(child.wait(), 0);
}

// Nobody can be accepted: the waiting connection must not keep the progress thread awake for ever.
TEST(LoopbackExhaustionTest, AConnectionThatCannotBeAcceptedIsNoBusyLoop) {
    SMCD_NEEDS_NO_DESCRIPTOR();
    Child child([] {
        Party a;
        RawPeer peer;
        const LinkGroupId id = a.group();
        peer.greet(id);
        SMCD_CHILD_REQUIRE(readable(a.device->poll_fd()));
        SMCD_CHILD_REQUIRE(limit_descriptors(3));
        a.device->service();
        SMCD_CHILD_REQUIRE(!readable(a.device->poll_fd(), 0));
        SMCD_CHILD_REQUIRE(limit_descriptors(1024));
        SMCD_CHILD_REQUIRE(a.device->attach_dmb(peer.id, peer.announce()));
        return 0;
    });
    EXPECT_EQ(child.wait(), 0);
}

// A burst of handshakes: the peer reads, but later than we write.
TEST_F(LoopbackTest, AFullQueueIsWaitedFor) {
    // The reader may not run for long on a busy machine.
    Party party(LoopbackOptions{.queue_bytes = 1, .queue_wait_ns = 100'000'000'000});
    RawPeer peer;
    peer.greet(party.group());
    party.device->service();
    std::atomic<bool> done{false};
    std::thread reader([&] {
        while (!done.load(std::memory_order_relaxed)) {
            if (!receive_message(peer.socket.get())) {
                std::this_thread::yield();
            }
        }
    });

    std::size_t registered = 0;
    for (int i = 0; i < 200; ++i) {
        registered += party.register_for(peer.id) ? 1 : 0;
    }
    done.store(true, std::memory_order_relaxed);
    reader.join();

    EXPECT_EQ(registered, 200U);
}

TEST_F(LoopbackTest, AQueueThatNobodyReadsIsAnError) {
    Party party(LoopbackOptions{.queue_bytes = 1});
    RawPeer peer;
    peer.greet(party.group());
    party.device->service();

    Result<Dmb> last = party.register_for(peer.id);
    for (int i = 0; i < 20 && last; ++i) {
        last = party.register_for(peer.id);
    }

    EXPECT_EQ(last.error(), std::errc::resource_unavailable_try_again);
    EXPECT_TRUE(party.device->has_link(peer.id));
    while (receive_message(peer.socket.get())) {
    }
    EXPECT_TRUE(party.register_for(peer.id));
}

/// Descriptors on their way between processes of an ordinary user: the kernel bounds their number by the soft limit of who
/// sends one more.
class OnTheirWay {
public:
    /// As many as the limit allows, from the sockets of this process to themselves.
    [[nodiscard]] bool fill() {
        const UniqueFd any(::eventfd(0, EFD_CLOEXEC));
        const std::array<int, 2> sent{any.get(), any.get()};
        while (pairs_.size() < 100) {
            std::array<int, 2> made{};
            if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, made.data()) != 0) {
                return false;
            }
            pairs_.push_back({UniqueFd(made[0]), UniqueFd(made[1])});
            Result<void> done;
            while ((done = send_message(made[0], hello_message(LinkGroupId(1)), sent))) {
            }
            if (done.error().value() == ETOOMANYREFS) {
                return true;
            }
        }
        return false;
    }
    void drain() {
        for (const auto& pair : pairs_) {
            while (receive_message(pair[1].get())) {
            }
        }
    }

private:
    std::vector<std::array<UniqueFd, 2>> pairs_;
};

/// Whether that thread of this process waits in the kernel.
bool sleeps(pid_t tid) {
    std::ifstream file("/proc/self/task/" + std::to_string(tid) + "/stat");
    std::string text;
    std::getline(file, text);
    const std::size_t at = text.rfind(')');
    return at != std::string::npos && text.substr(at, 3) == ") S";
}

bool become_ordinary() {
    constexpr uid_t kNobody = 65534;
    return ::geteuid() != 0 || ::setresuid(kNobody, kNobody, kNobody) == 0;
}

TEST(LoopbackExhaustionTest, TooManyDescriptorsOnTheirWayAreAnError) {
    Child child([] {
        SMCD_CHILD_REQUIRE(become_ordinary());
        Party party;
        RawPeer peer;
        peer.greet(party.group());
        party.device->service();
        OnTheirWay others;
        SMCD_CHILD_REQUIRE(limit_descriptors(64) && others.fill());
        SMCD_CHILD_REQUIRE(party.register_for(peer.id).error().value() == ETOOMANYREFS);
        SMCD_CHILD_REQUIRE(party.device->has_link(peer.id));
        return 0;
    });
    EXPECT_EQ(child.wait(), 0);
}

TEST(LoopbackExhaustionTest, TooManyDescriptorsOnTheirWayAreWaitedFor) {
    Child child([] {
        SMCD_CHILD_REQUIRE(become_ordinary());
        // Others of this user may be on their way, too, and the drainer may not run for long on a busy machine.
        Party party(LoopbackOptions{.queue_wait_ns = 100'000'000'000});
        RawPeer peer;
        peer.greet(party.group());
        party.device->service();
        OnTheirWay others;
        SMCD_CHILD_REQUIRE(limit_descriptors(64) && others.fill());
        std::thread drainer([&] {
            while (!sleeps(::getpid())) {
                std::this_thread::yield();
            }
            others.drain();
        });
        const bool registered = party.register_for(peer.id).has_value();
        drainer.join();
        SMCD_CHILD_REQUIRE(registered);
        return 0;
    });
    EXPECT_EQ(child.wait(), 0);
}

TEST_F(LoopbackTest, MappingsForPeersAreBounded) {
    Party party(LoopbackOptions{.max_peer_dmbs = 1});
    RawPeer peer;
    peer.greet(party.group());
    const DmbToken one = peer.announce();
    const DmbToken two = peer.announce();

    EXPECT_TRUE(party.device->attach_dmb(peer.id, one));
    EXPECT_EQ(party.device->attach_dmb(peer.id, two).error(), std::errc::invalid_argument);
}

TEST_F(LoopbackTest, LinksAreBounded) {
    LoopbackOptions options;
    options.max_links = 3;
    Party party(options);
    std::vector<RawPeer> peers(5);
    std::vector<DmbToken> tokens;
    for (std::size_t i = 0; i < 3; ++i) {
        const auto dmb = party.register_for(peers[i].id);
        ASSERT_TRUE(dmb);
        tokens.push_back(dmb->token);
    }

    EXPECT_EQ(party.register_for(peers[3].id).error(), std::errc::no_space_on_device);
    peers[4].greet(party.group());
    party.device->service();
    EXPECT_FALSE(party.device->has_link(peers[4].id));

    peers[0].listener.reset();
    peers[0].socket.reset();
    party.device->service();
    EXPECT_TRUE(party.device->unregister_dmb(tokens[0]));
    EXPECT_TRUE(party.register_for(peers[3].id));
}

TEST_F(LoopbackTest, AddressSpaceForPeersIsBounded) {
    LoopbackOptions options;
    options.max_peer_bytes = 2 * kSmallFile;
    Party party(options);
    RawPeer peer;
    peer.greet(party.group());
    const DmbToken one = peer.announce();
    const DmbToken two = peer.announce();
    const DmbToken three = peer.announce();

    EXPECT_TRUE(party.device->attach_dmb(peer.id, one));
    EXPECT_TRUE(party.device->attach_dmb(peer.id, two));
    EXPECT_EQ(party.device->attach_dmb(peer.id, three).error(), std::errc::invalid_argument);
    EXPECT_TRUE(party.device->detach_dmb(one));
    EXPECT_TRUE(party.device->attach_dmb(peer.id, peer.announce()));
}

TEST_F(LoopbackTest, PopulatedMemoryIsZeroToo) {
    Party party(LoopbackOptions{.populate = true});
    RawPeer peer;

    const auto dmb = party.register_for(peer.id, SizeClass(3));

    ASSERT_TRUE(dmb);
    EXPECT_EQ(std::count(dmb->memory.begin(), dmb->memory.end(), std::byte{0}), 131072);
}

} // namespace
} // namespace smcd::dev::test
