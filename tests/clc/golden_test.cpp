// The hand-made golden messages: documented values one way, identical bytes back.
#include <gtest/gtest.h>

#include "tests/clc/support.hpp"

namespace smcd::test {
namespace {

using namespace clc;

constexpr Gid kClientGid{0x3f1c2a907b4d4e55, 0x9c010a1b2c3d4e5f};
constexpr Gid kServerGid{0x8d20b6f100c44b7e, 0xa3aa77665544332f};

template <typename T>
void expect_reencodes(std::string_view name, const T& value) {
    EXPECT_EQ(to_hex(encode(value).span()), to_hex(golden(name))) << name;
}

Proposal proposal_of(std::string_view name) {
    const auto value = decode_proposal(golden(name));
    EXPECT_TRUE(value) << name;
    return value ? *value : Proposal();
}

AcceptConfirm accept_of(std::string_view name) {
    const auto value = decode_accept_confirm(golden(name));
    EXPECT_TRUE(value) << name;
    return value ? *value : AcceptConfirm();
}

FirstContact contact_of(std::string_view host, std::uint8_t release) {
    FirstContact contact;
    contact.release = release;
    contact.features = release >= 1 ? kFeatureEmulatedIsm : std::uint16_t{0};
    contact.host.fill(' ');
    std::copy(host.begin(), host.end(), contact.host.begin());
    return contact;
}

AcceptConfirm expected_accept(MessageType type, Gid gid, std::uint64_t token, std::uint16_t chid) {
    AcceptConfirm accept;
    accept.type = type;
    accept.first_contact = true;
    accept.gid = gid;
    accept.token = DmbToken(token);
    accept.size_class = SizeClass(2);
    accept.group = LinkGroupId(0x00010000);
    accept.chid = Chid(chid);
    accept.eid = eid_of("SMCD-DEMO-EID");
    return accept;
}

TEST(GoldenMessages, AreAllThere) {
    EXPECT_EQ(golden_messages().size(), 13U);
}

TEST(GoldenMessages, ProposalWithOneEmulatedDevice) {
    Proposal expected;
    expected.ueids.add(eid_of("SMCD-DEMO-EID"));
    expected.slots.add({kClientGid.high, Chid(0xFF10)});
    expected.slots.add({kClientGid.low, Chid(0xFF10)});
    EXPECT_EQ(proposal_of("proposal_v21_emulated"), expected);
    expect_reencodes("proposal_v21_emulated", expected);
}

TEST(GoldenMessages, ProposalWithNativeDeviceAndSystemEid) {
    Proposal expected;
    expected.typev1 = Mode::smcd;
    expected.native = {0x1a2b3c4d5e6f7081, Chid(0x01C0)};
    expected.ipv4_subnet = 0xC0A80700;
    expected.ipv4_prefix_length = 24;
    expected.ueids.add(eid_of("SMCD-DEMO-EID"));
    expected.has_seid = true;
    expected.seid = eid_of("IBM-SYSZ-ISMSEID000000001A2B3931");
    expected.slots.add({0x2b3c4d5e6f708192, Chid(0x01C4)});
    EXPECT_EQ(proposal_of("proposal_v21_native_seid"), expected);
    expect_reencodes("proposal_v21_native_seid", expected);
}

TEST(GoldenMessages, ProposalWithLoopbackAndTwoUeids) {
    Proposal expected;
    expected.ueids.add(eid_of("LOCATION-WEST"));
    expected.ueids.add(eid_of("SMCD-DEMO-EID"));
    expected.slots.add({kClientGid.high, kLoopbackChid});
    expected.slots.add({kClientGid.low, kLoopbackChid});
    EXPECT_EQ(proposal_of("proposal_v21_loopback_two_ueids"), expected);
    expect_reencodes("proposal_v21_loopback_two_ueids", expected);
}

TEST(GoldenMessages, AcceptAndConfirmOfAFirstContact) {
    AcceptConfirm accept =
        expected_accept(MessageType::accept, kServerGid, 0x1122334455667788, 0xFF10);
    accept.contact = contact_of("server-vm", 1);
    EXPECT_EQ(accept_of("accept_v21_first"), accept);
    expect_reencodes("accept_v21_first", accept);

    AcceptConfirm confirm =
        expected_accept(MessageType::confirm, kClientGid, 0x99aabbccddeeff01, 0xFF10);
    confirm.contact = contact_of("client-vm", 1);
    EXPECT_EQ(accept_of("confirm_v21_first"), confirm);
    expect_reencodes("confirm_v21_first", confirm);
}

TEST(GoldenMessages, AcceptAndConfirmOverLoopback) {
    AcceptConfirm accept =
        expected_accept(MessageType::accept, kClientGid, 0xdeadbeef00c0ffee, 0xFFFF);
    accept.group = LinkGroupId(0x00020000);
    accept.contact = contact_of("hosta", 1);
    EXPECT_EQ(accept_of("accept_v21_loopback"), accept);
    expect_reencodes("accept_v21_loopback", accept);

    AcceptConfirm confirm =
        expected_accept(MessageType::confirm, kClientGid, 0x0123456789abcdef, 0xFFFF);
    confirm.group = LinkGroupId(0x00030000);
    confirm.contact = contact_of("hosta", 1);
    EXPECT_EQ(accept_of("confirm_v21_loopback"), confirm);
    expect_reencodes("confirm_v21_loopback", confirm);
}

TEST(GoldenMessages, AcceptOfALaterContact) {
    AcceptConfirm accept =
        expected_accept(MessageType::accept, kServerGid, 0x1122334455667790, 0xFF10);
    accept.first_contact = false;
    EXPECT_EQ(accept_of("accept_v2_later"), accept);
    expect_reencodes("accept_v2_later", accept);
}

TEST(GoldenMessages, AcceptOfVersionOne) {
    AcceptConfirm accept;
    accept.version = 1;
    accept.first_contact = true;
    accept.gid.high = 0x0102030405060708;
    accept.token = DmbToken(0x00000001aabb0000);
    accept.size_class = SizeClass(6);
    accept.group = LinkGroupId(0x00000100);
    EXPECT_EQ(accept_of("accept_v1_first"), accept);
    expect_reencodes("accept_v1_first", accept);
}

TEST(GoldenMessages, AcceptOfReleaseZeroOnARealDevice) {
    AcceptConfirm accept =
        expected_accept(MessageType::accept, {0x1a2b3c4d5e6f7081, 0}, 0x0000000200cc0000, 0x01C0);
    accept.size_class = SizeClass(0);
    accept.group = LinkGroupId(0x00000100);
    accept.contact = contact_of("zlinux01", 0);
    EXPECT_EQ(accept_of("accept_v20_real"), accept);
    expect_reencodes("accept_v20_real", accept);
}

TEST(GoldenMessages, Declines) {
    const std::pair<std::string_view, Decline> cases[] = {
        {"decline_v2_no_ueid", {2, false, 0x03030008}},
        {"decline_v2_out_of_sync", {2, true, 0x04000000}},
    };
    for (const auto& [name, expected] : cases) {
        const auto decline = decode_decline(golden(name));
        ASSERT_TRUE(decline) << name;
        EXPECT_EQ(*decline, expected);
        expect_reencodes(name, expected);
    }
    const auto old = decode_decline(golden("decline_v1_no_device"));
    ASSERT_TRUE(old);
    EXPECT_EQ(*old, (Decline{1, false, 0x03030000}));
    expect_reencodes("decline_v1_no_device", *old);
}

} // namespace
} // namespace smcd::test
