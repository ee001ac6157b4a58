// The handshake machines: complete handshakes, split and glued messages, Decline everywhere,
// answers that contradict, and late messages of a handshake that was given up.
#include <gtest/gtest.h>

#include "tests/clc/machine_support.hpp"

namespace smcd::test {
namespace {

using namespace clc;

Pair answered() {
    Pair pair;
    propose(pair, loopback_offer());
    answer(pair, loopback_offer(), dmb_info(11));
    return pair;
}

Pair finished() {
    Pair pair = answered();
    finish(pair, dmb_info(22));
    return pair;
}

TEST(Handshake, CompletesWithBothSidesAgreeing) {
    Pair pair;
    propose(pair, loopback_offer());
    answer(pair, loopback_offer(), dmb_info(11));
    EXPECT_EQ(pair.proposed.consumed, pair.proposal.size());
    EXPECT_EQ(pair.proposed.vendor, (VendorExtension{true, kFeatureBells, LinkGroupId(0xC11E)}));
    EXPECT_EQ(pair.proposed.peer.group, LinkGroupId(0xC11E));
    EXPECT_EQ(pair.proposed.matches.items[0].remote, (OfferedDevice{kHostGid, kLoopbackChid}));

    const Step accepted = pair.client.feed(pair.accept);
    ASSERT_EQ(accepted.event, Event::accepted);
    EXPECT_EQ(accepted.peer.token, DmbToken(11));
    EXPECT_EQ(accepted.peer.size_class, SizeClass(4));
    EXPECT_EQ(accepted.peer.group, LinkGroupId(0x5E57));
    EXPECT_EQ(accepted.peer.gid, kHostGid);
    EXPECT_TRUE(accepted.peer.first_contact);
    EXPECT_TRUE(accepted.vendor.present);
    EXPECT_EQ(accepted.device.chid, kLoopbackChid);
    const Bytes confirm = to_bytes(pair.client.confirm(dmb_info(22)));
    EXPECT_EQ(pair.client.state(), ClientHandshake::State::done);

    const Step confirmed = pair.server.feed(confirm);
    ASSERT_EQ(confirmed.event, Event::confirmed);
    EXPECT_EQ(confirmed.peer.token, DmbToken(22));
    EXPECT_EQ(confirmed.peer.gid, kHostGid);
    EXPECT_EQ(pair.server.state(), ServerHandshake::State::done);
}

TEST(Handshake, FirstContactBitsAreIndependent) {
    for (const bool server_first : {false, true}) {
        for (const bool client_first : {false, true}) {
            Pair pair;
            propose(pair, loopback_offer());
            answer(pair, loopback_offer(), dmb_info(11, server_first));
            finish(pair, dmb_info(22, client_first));
            EXPECT_EQ(pair.accept.size(), server_first ? 130U : 78U);
            const Step step = pair.server.feed(pair.confirm);
            EXPECT_EQ(step.event, Event::confirmed) << server_first << client_first;
            EXPECT_EQ(step.peer.first_contact, client_first);
        }
    }
}

TEST(Handshake, GoldenClientIsAcceptedAndReleaseZeroAnsweredInItsForm) {
    ServerHandshake server;
    LocalOffer offer = loopback_offer();
    offer.devices.items[0].chid = Chid(0xFF10);
    server.start(offer);
    Bytes proposal = golden("proposal_v21_emulated");
    proposal[83] = std::byte{0}; // release 0
    const Step step = server.feed(proposal);
    ASSERT_EQ(step.event, Event::proposed);
    EXPECT_FALSE(step.vendor.present);
    EXPECT_EQ(server.accept(step.matches.items[0], dmb_info(1)).size, 114U);
}

TEST(Handshake, NewerReleaseIsAnsweredWithOurs) {
    Pair pair;
    propose(pair, loopback_offer());
    pair.proposal[83] = std::byte{0xF0};
    answer(pair, loopback_offer(), dmb_info(11));
    EXPECT_EQ(decode_accept_confirm(pair.accept)->contact.release, kReleaseOurs);
}

/// Feeds the machine ever more of the message, with and without bytes behind its end.
template <typename Machine>
void expect_takes_exactly(const Machine& fresh, const Bytes& message, Event event) {
    for (std::size_t n = 0; n < message.size(); ++n) {
        Machine machine = fresh;
        const Bytes part(message.begin(), message.begin() + static_cast<std::ptrdiff_t>(n));
        const Step step = machine.feed(part);
        EXPECT_EQ(step.event, Event::need_more) << n;
        EXPECT_EQ(step.consumed, 0U) << n;
        EXPECT_EQ(machine.state(), fresh.state()) << n;
        EXPECT_EQ(machine.feed(message).event, event) << "after a part of " << n;
    }
    for (const Bytes& tail : {from_hex("00"), from_hex("e2"), from_hex("e2d4c3d9"), message}) {
        Machine machine = fresh;
        const Step step = machine.feed(message + tail);
        EXPECT_EQ(step.event, event);
        EXPECT_EQ(step.consumed, message.size()) << "application bytes were consumed";
    }
}

TEST(Framing, EveryMessageAtEveryPositionSplitAndGlued) {
    const Pair complete = finished();
    Pair proposing;
    propose(proposing, loopback_offer());
    ServerHandshake waiting;
    waiting.start(loopback_offer());
    const ServerHandshake accepted = answered().server;

    expect_takes_exactly(waiting, complete.proposal, Event::proposed);
    expect_takes_exactly(proposing.client, complete.accept, Event::accepted);
    expect_takes_exactly(accepted, complete.confirm, Event::confirmed);
    for (const char* name : {"decline_v1_no_device", "decline_v2_no_ueid"}) {
        expect_takes_exactly(waiting, golden(name), Event::declined);
        expect_takes_exactly(proposing.client, golden(name), Event::declined);
        expect_takes_exactly(accepted, golden(name), Event::declined);
    }
}

TEST(Framing, ApplicationBytesAreLeftAlone) {
    Pair pair;
    propose(pair, loopback_offer());
    ServerHandshake server;
    server.start(loopback_offer());
    for (const char* text : {"00", "474554202f20485454502f312e31", "e2d4c3", "e2d4c3d9ff", "e3"}) {
        Bytes bytes = from_hex(text);
        bytes.resize(std::max<std::size_t>(bytes.size(), 8), std::byte{'x'});
        EXPECT_EQ(pair.client.feed(bytes).event, Event::not_clc) << text;
        EXPECT_EQ(server.feed(bytes).event, Event::not_clc) << text;
        EXPECT_EQ(server.feed(bytes).consumed, 0U);
    }
    // One byte is enough to tell when it is not an eyecatcher's.
    EXPECT_EQ(server.feed(from_hex("e3")).event, Event::not_clc);
    EXPECT_EQ(server.feed(from_hex("e2")).event, Event::need_more);
}

TEST(Decline, CarriesDiagnosisAndOutOfSync) {
    Pair pair;
    propose(pair, loopback_offer());
    const Step step = pair.client.feed(golden("decline_v2_out_of_sync"));
    EXPECT_EQ(step.event, Event::declined);
    EXPECT_EQ(step.diagnosis, 0x04000000U);
    EXPECT_TRUE(step.out_of_sync);
    EXPECT_EQ(step.reason, Reason::peer_declined);
    EXPECT_EQ(pair.client.state(), ClientHandshake::State::done);
}

TEST(Decline, VersionFollowsThePeer) {
    const auto version_of = [](const Message& message) {
        return decode_decline(message.span())->version;
    };
    ServerHandshake untouched;
    untouched.start(loopback_offer());
    EXPECT_EQ(version_of(untouched.decline(Reason::out_of_memory)), 1);

    Pair pair;
    propose(pair, loopback_offer());
    EXPECT_EQ(version_of(Pair(pair).client.decline(Reason::out_of_memory)), 2);
    EXPECT_EQ(pair.client.feed(golden("accept_v1_first")).event, Event::contradicts);
    EXPECT_EQ(version_of(pair.client.decline(Reason::mode_unsupported)), 1);

    for (const std::uint8_t version : std::initializer_list<std::uint8_t>{1, 2, 3}) {
        Proposal proposal;
        proposal.version = version;
        proposal.typev1 = Mode::smcd;
        proposal.typev2 = version == 1 ? Mode::none : Mode::smcd;
        ServerHandshake server;
        server.start(loopback_offer());
        ASSERT_EQ(server.feed(encode(proposal).span()).event, Event::refused);
        EXPECT_EQ(version_of(server.decline(Reason::no_smcd_device)), version == 1 ? 1 : 2);
    }
}

TEST(Decline, ProposalFollowedByDecline) {
    const Pair complete = finished();
    const Bytes stream = complete.proposal + golden("decline_v2_no_ueid") + from_hex("68656c6c6f");
    ServerHandshake server;
    server.start(loopback_offer());
    const Step first = server.feed(stream);
    ASSERT_EQ(first.event, Event::proposed);
    ASSERT_EQ(first.consumed, complete.proposal.size());
    static_cast<void>(server.accept(first.matches.items[0], dmb_info(1)));
    const Bytes rest(stream.begin() + static_cast<std::ptrdiff_t>(first.consumed), stream.end());
    const Step second = server.feed(rest);
    EXPECT_EQ(second.event, Event::declined);
    EXPECT_EQ(second.consumed, 44U);
    EXPECT_EQ(server.state(), ServerHandshake::State::done);
}

struct Contradiction {
    const char* what;
    void (*change)(AcceptConfirm&);
    Reason reason;
};

TEST(Contradiction, OfAnAccept) {
    constexpr Contradiction kCases[] = {
        {"CHID zero", [](AcceptConfirm& m) { m.chid = Chid(); }, Reason::protocol_error},
        {"CHID not offered", [](AcceptConfirm& m) { m.chid = Chid(9); }, Reason::protocol_error},
        {"EID not ours", [](AcceptConfirm& m) { m.eid.text[0] = 'X'; }, Reason::protocol_error},
        {"element", [](AcceptConfirm& m) { m.dmbe_idx = 1; }, Reason::protocol_error},
        {"token zero", [](AcceptConfirm& m) { m.token = DmbToken(); }, Reason::protocol_error},
        {"version", [](AcceptConfirm& m) { m.version = 1; }, Reason::mode_unsupported},
    };
    const Pair complete = finished();
    for (const Contradiction& one : kCases) {
        Pair pair;
        propose(pair, loopback_offer());
        AcceptConfirm accept = *decode_accept_confirm(complete.accept);
        one.change(accept);
        const Message bytes = encode(accept);
        const Step step = pair.client.feed(bytes.span());
        EXPECT_EQ(step.event, Event::contradicts) << one.what;
        EXPECT_EQ(step.reason, one.reason) << one.what;
        EXPECT_EQ(step.consumed, bytes.size) << one.what;
    }
}

TEST(Contradiction, AcceptOfADeviceThatDidNotFitIntoTheProposal) {
    LocalOffer offer = loopback_offer();
    for (std::uint16_t chid = 0xFF01; chid <= 0xFF05; ++chid) {
        offer.devices.add({{chid, chid}, Chid(chid)});
    }
    Pair pair;
    propose(pair, offer);
    AcceptConfirm accept = *decode_accept_confirm(finished().accept);
    accept.chid = Chid(0xFF05);
    EXPECT_EQ(pair.client.feed(encode(accept).span()).event, Event::contradicts);
}

TEST(Contradiction, OfAConfirm) {
    constexpr Contradiction kCases[] = {
        {"CHID", [](AcceptConfirm& m) { m.chid = Chid(0xFF10); }, Reason::protocol_error},
        {"EID", [](AcceptConfirm& m) { m.eid.text[31] = 'X'; }, Reason::protocol_error},
        {"GID high", [](AcceptConfirm& m) { ++m.gid.high; }, Reason::protocol_error},
        {"GID low", [](AcceptConfirm& m) { ++m.gid.low; }, Reason::protocol_error},
        {"element", [](AcceptConfirm& m) { m.dmbe_idx = 1; }, Reason::protocol_error},
        {"token zero", [](AcceptConfirm& m) { m.token = DmbToken(); }, Reason::protocol_error},
        {"version", [](AcceptConfirm& m) { m.version = 1; }, Reason::protocol_error},
        {"release", [](AcceptConfirm& m) { m.contact.release = 2; }, Reason::release_error},
        {"older release", [](AcceptConfirm& m) { m.contact.release = 0; }, Reason::release_error},
    };
    for (const Contradiction& one : kCases) {
        Pair pair = finished();
        AcceptConfirm confirm = *decode_accept_confirm(pair.confirm);
        one.change(confirm);
        const Message bytes = encode(confirm);
        const Step step = pair.server.feed(bytes.span());
        EXPECT_EQ(step.event, Event::contradicts) << one.what;
        EXPECT_EQ(step.reason, one.reason) << one.what;
        EXPECT_EQ(step.consumed, bytes.size) << one.what;
        EXPECT_EQ(pair.server.state(), ServerHandshake::State::done) << one.what;
    }
}

TEST(LateMessages, OfTheServer) {
    const Pair complete = finished();
    const auto swallowed = [](const Bytes& bytes) {
        const SwallowVerdict verdict = swallow_late_message(bytes, false);
        return std::pair(verdict.incomplete, verdict.consumed);
    };
    const Bytes data = from_hex("68656c6c6f");
    for (const Bytes& message : {complete.accept, golden("decline_v1_no_device"),
                                 golden("decline_v2_no_ueid"), golden("accept_v1_first")}) {
        EXPECT_EQ(swallowed(message), std::pair(false, message.size()));
        EXPECT_EQ(swallowed(message + data), std::pair(false, message.size()));
        EXPECT_EQ(swallowed(message + message), std::pair(false, message.size())) << "only one";
        for (std::size_t n = 1; n < message.size(); ++n) {
            const Bytes part(message.begin(), message.begin() + static_cast<std::ptrdiff_t>(n));
            EXPECT_EQ(swallowed(part), std::pair(true, std::size_t{0})) << n;
        }
    }
    for (const Bytes& bytes : {complete.proposal, complete.confirm, data, from_hex("e2d4c3d8")}) {
        EXPECT_EQ(swallowed(bytes), std::pair(false, std::size_t{0}));
    }
}

TEST(LateMessages, OfTheClient) {
    const Pair complete = finished();
    const Bytes& decline = golden("decline_v2_no_ueid");
    const auto swallowed = [](const Bytes& bytes) {
        const SwallowVerdict verdict = swallow_late_message(bytes, true);
        return std::pair(verdict.incomplete, verdict.consumed);
    };
    const Bytes data = from_hex("68656c6c6f");
    const std::size_t n = complete.proposal.size();
    EXPECT_EQ(swallowed(complete.proposal), std::pair(false, n));
    EXPECT_TRUE(swallow_late_message(complete.proposal, true).decline_may_follow);
    EXPECT_FALSE(swallow_late_message(complete.proposal + data, true).decline_may_follow);
    EXPECT_FALSE(swallow_late_message(complete.proposal + decline, true).decline_may_follow);
    EXPECT_EQ(swallowed(complete.proposal + data), std::pair(false, n));
    EXPECT_EQ(swallowed(complete.proposal + decline + data), std::pair(false, n + decline.size()));
    EXPECT_EQ(swallowed(complete.proposal + complete.confirm), std::pair(false, n));
    EXPECT_EQ(swallowed(decline + data), std::pair(false, decline.size()));
    EXPECT_EQ(swallowed(data), std::pair(false, std::size_t{0}));
    EXPECT_EQ(swallowed(complete.accept), std::pair(false, std::size_t{0}));
    for (std::size_t i = 1; i < decline.size(); ++i) {
        const Bytes part(decline.begin(), decline.begin() + static_cast<std::ptrdiff_t>(i));
        EXPECT_EQ(swallowed(complete.proposal + part), std::pair(true, n)) << i;
    }
}

} // namespace
} // namespace smcd::test
