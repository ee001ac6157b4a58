// What a client offers, and what a server makes of it; enterprise ids.
#include <gtest/gtest.h>

#include "tests/clc/support.hpp"

namespace smcd::test {
namespace {

using namespace clc;

OfferedDevice real(std::uint16_t chid) {
    return {{std::uint64_t{0xA000} + chid, 0}, Chid(chid)};
}

OfferedDevice emulated(std::uint16_t chid) {
    return {{std::uint64_t{0xE000} + chid, std::uint64_t{0xF000} + chid}, Chid(chid)};
}

LocalOffer offer_of(std::initializer_list<OfferedDevice> devices,
                    std::initializer_list<std::string_view> ueids = {"SHARED"}) {
    LocalOffer offer;
    for (const OfferedDevice& device : devices) {
        EXPECT_TRUE(offer.devices.add(device));
    }
    for (const std::string_view ueid : ueids) {
        EXPECT_TRUE(offer.ueids.add(eid_of(ueid)));
    }
    return offer;
}

std::vector<OfferedDevice> offered(const Proposal& proposal) {
    const auto devices = devices_of(proposal);
    return {devices.span().begin(), devices.span().end()};
}

struct Outcome {
    Reason reason = Reason::none;
    std::vector<std::size_t> locals;
    Eid eid;
};

Outcome match(const LocalOffer& server, const Proposal& proposal) {
    Outcome outcome;
    FixedList<Match, kSlotsMax> matches;
    outcome.reason = match_devices(server, proposal, matches, outcome.eid);
    for (const Match& one : matches.span()) {
        outcome.locals.push_back(one.local);
    }
    return outcome;
}

TEST(Eids, WhatAUserMayDefine) {
    for (const std::string_view good : {"A", "0", "SMCD-DEMO-EID", "A.B.C", "9-", "Z.",
                                        "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"}) {
        const auto eid = make_ueid(good);
        ASSERT_TRUE(eid) << good;
        EXPECT_EQ(std::string_view(eid->text.data(), good.size()), good);
        EXPECT_EQ(std::string(eid->text.data() + good.size(), 32 - good.size()),
                  std::string(32 - good.size(), ' '));
    }
    for (const std::string_view bad : {"", " ", "-A", ".A", "a", "Aa", "A B", "A ", "A..B", "A_B",
                                       "\xC3\x84", "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456"}) {
        EXPECT_FALSE(make_ueid(bad)) << bad;
    }
    EXPECT_FALSE(make_ueid(std::string_view("A\0B", 3)));
}

TEST(Eids, EveryFirstAndLaterCharacter) {
    for (unsigned c = 0; c < 256; ++c) {
        const bool alphanumeric = (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        const char text[] = {static_cast<char>(c), 'X'};
        EXPECT_EQ(make_ueid({text, 2}).has_value(), alphanumeric) << c;
        const char later[] = {'X', static_cast<char>(c)};
        EXPECT_EQ(make_ueid({later, 2}).has_value(), alphanumeric || c == '.' || c == '-') << c;
    }
}

TEST(Eids, DefaultIsValid) {
    std::string_view text(default_ueid().text.data(), kEidBytes);
    text.remove_suffix(kEidBytes - text.find_last_not_of(' ') - 1);
    ASSERT_TRUE(make_ueid(text));
    EXPECT_EQ(*make_ueid(text), default_ueid());
}

TEST(Eids, SystemEidComesFirst) {
    LocalOffer client = offer_of({real(1)});
    LocalOffer server = offer_of({real(1)});
    for (LocalOffer* side : {&client, &server}) {
        side->has_seid = true;
        side->seid = eid_of("IBM-SYSZ-ISMSEID000000001A2B3931");
    }
    EXPECT_EQ(match(server, make_proposal(client)).eid, server.seid);
    server.seid = eid_of("IBM-SYSZ-ISMSEID000000001A2B3932");
    EXPECT_EQ(match(server, make_proposal(client)).eid, eid_of("SHARED"));
    server.seid = client.seid;
    server.has_seid = false;
    EXPECT_EQ(match(server, make_proposal(client)).eid, eid_of("SHARED"));
    server.has_seid = true;
    client.has_seid = false;
    EXPECT_EQ(match(server, make_proposal(client)).eid, eid_of("SHARED"));
}

TEST(Eids, ClientsOrderDecides) {
    const LocalOffer client = offer_of({real(1)}, {"NO", "SECOND", "FIRST"});
    const LocalOffer server = offer_of({real(1)}, {"FIRST", "SECOND"});
    EXPECT_EQ(match(server, make_proposal(client)).eid, eid_of("SECOND"));
}

TEST(Eids, NoneInCommonAndNoneAtAll) {
    const LocalOffer server = offer_of({real(1)}, {"FIRST"});
    EXPECT_EQ(match(server, make_proposal(offer_of({real(1)}, {"OTHER"}))).reason,
              Reason::no_smcd_device);
    EXPECT_EQ(match(server, make_proposal(offer_of({real(1)}, {}))).reason, Reason::no_ueid);
    LocalOffer only_seid = offer_of({real(1)}, {});
    only_seid.has_seid = true;
    only_seid.seid = eid_of("SEID");
    EXPECT_EQ(match(server, make_proposal(only_seid)).reason, Reason::no_smcd_device);
}

TEST(Offer, DevicesInOrderAndBack) {
    const LocalOffer client = offer_of({emulated(0xFFFF), real(0x1C0), emulated(0xFF10), real(7)});
    const Proposal proposal = make_proposal(client);
    EXPECT_EQ(proposal.slots.count, 6U);
    EXPECT_EQ(proposal.typev1, Mode::none);
    EXPECT_EQ(proposal.typev2, Mode::smcd);
    EXPECT_EQ(offered(proposal), std::vector<OfferedDevice>({client.devices.span().begin(),
                                                             client.devices.span().end()}));
    const auto decoded = decode_proposal(encode(proposal).span());
    ASSERT_TRUE(decoded);
    EXPECT_EQ(*decoded, proposal);
}

TEST(Offer, WhatDoesNotFitIsSkippedAndTheSearchGoesOn) {
    // Seven slots are taken: the emulated device would need a ninth, the real one after it fits.
    const LocalOffer client = offer_of({emulated(0xFF01), emulated(0xFF02), emulated(0xFF03),
                                        real(1), emulated(0xFF04), real(2), real(3)});
    EXPECT_EQ(offered(make_proposal(client)),
              (std::vector{emulated(0xFF01), emulated(0xFF02), emulated(0xFF03), real(1), real(2)}));
}

TEST(Offer, EachChidOnceAndNeverZero) {
    OfferedDevice twin = real(1);
    twin.gid.high = 99;
    const LocalOffer client = offer_of({real(0), real(1), twin, real(2)});
    EXPECT_EQ(offered(make_proposal(client)), (std::vector{real(1), real(2)}));
}

TEST(Devices, NativeOneComesFirst) {
    Proposal proposal = make_proposal(offer_of({emulated(0xFFFF)}));
    proposal.native = {0xA1C0, Chid(0x1C0)};
    EXPECT_EQ(offered(proposal), (std::vector{real(0x1C0), emulated(0xFFFF)}));
    EXPECT_EQ(match(offer_of({emulated(0xFFFF), real(0x1C0)}), proposal).locals,
              (std::vector<std::size_t>{1, 0}));
}

TEST(Devices, LoneEmulatedSlotIsIgnored) {
    Proposal proposal;
    proposal.slots.add({1, Chid(0xFF10)}); // its second slot is another device
    proposal.slots.add({2, Chid(0x1C0)});
    proposal.slots.add({3, Chid(0xFF11)}); // last
    EXPECT_EQ(offered(proposal), (std::vector<OfferedDevice>{{{2, 0}, Chid(0x1C0)}}));
}

TEST(Devices, TwoEmulatedSlotsOfDifferentChidsAreTwoLoneOnes) {
    Proposal proposal;
    proposal.slots.add({1, Chid(0xFF10)});
    proposal.slots.add({2, Chid(0xFF11)});
    proposal.slots.add({3, Chid(0xFF11)});
    EXPECT_EQ(offered(proposal), (std::vector<OfferedDevice>{{{2, 3}, Chid(0xFF11)}}));
}

TEST(Devices, ChidZeroIsAnEmptySlot) {
    Proposal proposal;
    proposal.native = {5, Chid()};
    proposal.slots.add({1, Chid()});
    proposal.slots.add({2, Chid(3)});
    EXPECT_EQ(offered(proposal), (std::vector<OfferedDevice>{{{2, 0}, Chid(3)}}));
}

TEST(Devices, AllNinePlaces) {
    Proposal proposal;
    proposal.native = {9, Chid(9)};
    for (std::uint16_t chid = 1; chid <= kSlotsMax; ++chid) {
        proposal.slots.add({chid, Chid(chid)});
    }
    EXPECT_EQ(offered(proposal).size(), 9U);
    LocalOffer server = offer_of({real(9)});
    for (std::uint16_t chid = 1; chid < kSlotsMax; ++chid) {
        server.devices.add(real(chid));
    }
    proposal.ueids.add(eid_of("SHARED"));
    EXPECT_EQ(match(server, proposal).locals, (std::vector<std::size_t>{0, 1, 2, 3, 4, 5, 6, 7}));
}

TEST(Matching, ClientsOrderAndEachLocalDeviceOnce) {
    const LocalOffer server = offer_of({real(1), real(2), real(1)});
    Proposal proposal = make_proposal(offer_of({real(2), real(1)}));
    proposal.slots.add({77, Chid(1)}); // a foreign client may name a CHID twice
    proposal.slots.add({78, Chid(1)});
    EXPECT_EQ(match(server, proposal).locals, (std::vector<std::size_t>{1, 0, 2}));
}

TEST(Matching, NoCommonDevice) {
    EXPECT_EQ(match(offer_of({real(1)}), make_proposal(offer_of({real(2)}))).reason,
              Reason::no_smcd_v2_device);
    EXPECT_EQ(match(offer_of({}), make_proposal(offer_of({real(2)}))).reason,
              Reason::no_smcd_v2_device);
}

TEST(Matching, ProposalsWithoutOurMode) {
    const LocalOffer server = offer_of({real(1)});
    const std::pair<std::pair<Mode, Mode>, Reason> cases[] = {
        {{Mode::none, Mode::none}, Reason::peer_no_smc},
        {{Mode::smcd, Mode::none}, Reason::no_smcd_device},
        {{Mode::both, Mode::none}, Reason::no_smcd_device},
        {{Mode::smcd, Mode::smcr}, Reason::no_smcd_device},
        {{Mode::smcr, Mode::none}, Reason::no_smcr_device},
        {{Mode::smcr, Mode::smcr}, Reason::no_smcr_device},
        {{Mode::none, Mode::smcr}, Reason::no_smcr_device},
    };
    for (const auto& [modes, reason] : cases) {
        Proposal proposal;
        proposal.typev1 = modes.first;
        proposal.typev2 = modes.second;
        EXPECT_EQ(match(server, proposal).reason, reason)
            << static_cast<int>(modes.first) << static_cast<int>(modes.second);
    }
    Proposal proposal = make_proposal(offer_of({real(1)}));
    proposal.has_smcd_v2_extension = false;
    EXPECT_EQ(match(server, proposal).reason, Reason::no_smcd_v2_extension);
    proposal.has_v2_extension = false;
    EXPECT_EQ(match(server, proposal).reason, Reason::no_v2_extension);
}

TEST(WireCodes, KernelCodesAsTheyAreAndOursTranslated) {
    for (const ReasonRow& row : reason_rows()) {
        const std::uint32_t code = wire_code(row.reason);
        if (!is_private(row.reason)) {
            EXPECT_EQ(code, static_cast<std::uint32_t>(row.reason)) << row.name;
            continue;
        }
        EXPECT_FALSE(is_private(static_cast<Reason>(code))) << row.name;
        EXPECT_NE(reason_name(static_cast<Reason>(code)), "unknown") << row.name;
    }
    EXPECT_EQ(wire_code(Reason::no_resources), static_cast<std::uint32_t>(Reason::out_of_memory));
}

} // namespace
} // namespace smcd::test
