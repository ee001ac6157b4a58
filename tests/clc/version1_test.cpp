// SMC-D version 1: the native device, prefixes, and when it serves. Floor 4.
#include <gtest/gtest.h>

#include "tests/clc/machine_support.hpp"

namespace smcd::test {
namespace {

using namespace clc;

constexpr OfferedDevice kNative{
    {0x1A2B3C4D5E6F7081, 0},
    Chid(0x01C0)
};
constexpr OfferedDevice kOther{
    {0xE001, 0xF001},
    Chid(0xFF10)
};

/// A native device and an emulated one, 10.77.0.0/24.
LocalOffer both(std::string_view ueid = "SHARED") {
    LocalOffer offer = loopback_offer(ueid);
    offer.devices = {};
    EXPECT_TRUE(offer.devices.add(kNative) && offer.devices.add(kOther));
    offer.v1.offered = true;
    offer.v1.ipv4_subnet = 0x0A4D0000;
    offer.v1.ipv4_prefix_length = 24;
    return offer;
}

LocalOffer alone() {
    LocalOffer offer = both();
    offer.v1.alone = true;
    return offer;
}

DmbInfo native_dmb(std::uint64_t token) {
    return dmb_info(token, true, kNative.gid);
}

struct Outcome {
    Reason reason = Reason::none;
    FixedList<Match, kSlotsMax> matches;
};

Outcome match(const LocalOffer& server, const LocalOffer& client) {
    Outcome outcome;
    Eid eid;
    outcome.reason = match_devices(server, make_proposal(client), outcome.matches, eid);
    return outcome;
}

TEST(Version1, TheProposalNamesTheNativeDeviceAndThePrefix) {
    const Proposal proposal = make_proposal(both());
    EXPECT_EQ(proposal.typev1, Mode::smcd);
    EXPECT_EQ(proposal.typev2, Mode::smcd);
    EXPECT_EQ(proposal.native, (Slot{kNative.gid.high, kNative.chid}));
    EXPECT_EQ(proposal.slots.count, 2U) << "the native device stands in its own place alone";
    EXPECT_EQ(devices_of(proposal).items[0], kNative);
    EXPECT_EQ(*decode_proposal(encode(proposal).span()), proposal);

    const Proposal only = make_proposal(alone());
    EXPECT_EQ(only.typev2, Mode::none);
    EXPECT_EQ(*decode_proposal(encode(only).span()), only);

    LocalOffer emulated_first = both();
    std::swap(emulated_first.devices.items[0], emulated_first.devices.items[1]);
    EXPECT_EQ(make_proposal(emulated_first).typev1, Mode::none) << "the order of preference holds";
}

TEST(Version1, ServesWhereVersion2Fails) {
    const Outcome shared = match(both(), both());
    EXPECT_EQ(shared.reason, Reason::none);
    EXPECT_EQ(shared.matches.count, 2U);
    EXPECT_EQ(shared.matches.items[0].version, 2);

    for (const LocalOffer& client : {both("SOMEBODY-ELSE"), alone()}) {
        const Outcome outcome = match(both(), client);
        EXPECT_EQ(outcome.reason, Reason::none);
        ASSERT_EQ(outcome.matches.count, 1U);
        EXPECT_EQ(outcome.matches.items[0], (Match{0, kNative, 1}));
    }
    EXPECT_EQ(match(alone(), both()).matches.items[0].version, 1);
}

TEST(Version1, WhyNot) {
    LocalOffer elsewhere = alone();
    elsewhere.v1.ipv4_subnet = 0x0A4E0000;
    EXPECT_EQ(match(both(), elsewhere).reason, Reason::prefix_mismatch);
    elsewhere = alone();
    elsewhere.v1.ipv4_prefix_length = 16;
    EXPECT_EQ(match(both(), elsewhere).reason, Reason::prefix_mismatch);
    LocalOffer other_eid = both("SOMEBODY-ELSE");
    other_eid.v1.ipv4_subnet = 0x0A4E0000;
    EXPECT_EQ(match(both(), other_eid).reason, Reason::no_smcd_device) << "the first failure";

    LocalOffer other_chid = alone();
    other_chid.devices.items[0].chid = Chid(0x01C1);
    EXPECT_EQ(match(both(), other_chid).reason, Reason::no_smcd_device);
    LocalOffer without = both();
    without.v1 = {};
    EXPECT_EQ(match(without, alone()).reason, Reason::no_smcd_device);
    EXPECT_EQ(match(alone(), without).reason, Reason::no_ism_v2);
}

TEST(Version1, BothEndsAreInOneVlan) {
    const auto in_vlan = [](LocalOffer offer, std::uint16_t id) {
        offer.v1.vlan = offer.vendor.vlan = id;
        return offer;
    };
    EXPECT_EQ(make_proposal(in_vlan(alone(), 5)).vendor.vlan, 5);
    EXPECT_EQ(match(in_vlan(both(), 5), in_vlan(alone(), 5)).reason, Reason::none);
    EXPECT_EQ(match(in_vlan(both(), 5), in_vlan(alone(), 6)).reason, Reason::no_smcd_device);
    EXPECT_EQ(match(in_vlan(both(), 0), in_vlan(alone(), 6)).reason, Reason::no_smcd_device);
    EXPECT_EQ(match(in_vlan(both(), 5), in_vlan(both(), 6)).matches.items[0].version, 2)
        << "version 2 does not ask";

    LocalOffer lost = both();
    lost.v1.vlan_known = false;
    EXPECT_EQ(match(lost, alone()).reason, Reason::vlan_lookup);
    EXPECT_EQ(match(lost, both()).reason, Reason::none);
}

TEST(Version1, OneCommonIpv6PrefixIsEnough) {
    const auto prefix = [](unsigned last) {
        Ipv6Prefix one;
        one.prefix[7] = std::byte(last);
        one.length = 64;
        return one;
    };
    LocalOffer server = alone();
    server.v1.ipv4_prefix_length = 0;
    LocalOffer client = server;
    EXPECT_TRUE(server.v1.ipv6_prefixes.add(prefix(1)) && server.v1.ipv6_prefixes.add(prefix(2)));
    EXPECT_TRUE(client.v1.ipv6_prefixes.add(prefix(3)) && client.v1.ipv6_prefixes.add(prefix(2)));
    EXPECT_EQ(match(server, client).reason, Reason::none);
    client.v1.ipv6_prefixes.count = 1;
    EXPECT_EQ(match(server, client).reason, Reason::prefix_mismatch);
}

TEST(Version1, AWholeHandshake) {
    Pair pair;
    propose(pair, alone());
    answer(pair, both(), native_dmb(7));
    EXPECT_EQ(pair.accept.size(), 48U);
    const Step accepted = pair.client.feed(pair.accept);
    ASSERT_EQ(accepted.event, Event::accepted);
    EXPECT_EQ(accepted.device, kNative);
    EXPECT_EQ(accepted.peer.token, DmbToken(7));

    const Message confirm = pair.client.confirm(native_dmb(8));
    EXPECT_EQ(confirm.size, 48U);
    const Step confirmed = pair.server.feed(confirm.span());
    EXPECT_EQ(confirmed.event, Event::confirmed);
    EXPECT_EQ(confirmed.peer.token, DmbToken(8));
}

TEST(Version1, AnswersOfTheOtherVersionContradict) {
    Pair pair;
    propose(pair, alone());
    const Step second = Pair(pair).client.feed(golden("accept_v21_first"));
    EXPECT_EQ(second.event, Event::contradicts);
    EXPECT_EQ(second.reason, Reason::mode_unsupported);

    answer(pair, both(), native_dmb(7));
    AcceptConfirm confirm;
    confirm.type = MessageType::confirm;
    confirm.version = 1;
    confirm.token = DmbToken(8);
    confirm.gid = {kNative.gid.high + 1, 0};
    EXPECT_EQ(Pair(pair).server.feed(encode(confirm).span()).event, Event::contradicts)
        << "from somebody else";
    confirm.gid = kNative.gid;
    EXPECT_EQ(Pair(pair).server.feed(encode(confirm).span()).event, Event::confirmed);
    confirm.version = 2;
    EXPECT_EQ(Pair(pair).server.feed(encode(confirm).span()).event, Event::contradicts);
}

} // namespace
} // namespace smcd::test
