// What must be taken although we never send it: other eyecatchers, reserved bytes, newer values.
#include <gtest/gtest.h>

#include "tests/clc/support.hpp"

namespace smcd::test {
namespace {

using namespace clc;

Bytes filled(Bytes bytes, std::initializer_list<std::pair<std::size_t, std::size_t>> ranges) {
    for (const auto& [offset, count] : ranges) {
        for (std::size_t i = 0; i < count; ++i) {
            bytes.at(offset + i) = std::byte{0xA5};
        }
    }
    return bytes;
}

Bytes with_bytes(Bytes bytes, std::size_t offset, std::string_view hex) {
    for (const std::byte b : from_hex(hex)) {
        bytes.at(offset++) = b;
    }
    return bytes;
}

TEST(Tolerance, EveryMixOfEyecatchers) {
    for (const auto& [name, message] : golden_messages()) {
        for (const Eyecatcher& front : {kEyecatcherR, kEyecatcherD}) {
            for (const Eyecatcher& back : {kEyecatcherR, kEyecatcherD}) {
                Bytes mixed = message;
                std::copy(front.begin(), front.end(), mixed.begin());
                std::copy(back.begin(), back.end(), mixed.end() - 4);
                const Digest result = digest(mixed);
                EXPECT_TRUE(result.decoded && result.sound) << name;
            }
        }
    }
}

TEST(Tolerance, ReservedBytesOfAProposal) {
    // Peer id, RoCE GID and MAC; 20 reserved bytes; those of both extensions.
    const Bytes bytes = filled(golden("proposal_v21_emulated"),
                               {{8, 30}, {60, 20}, {82, 1}, {84, 2}, {88, 18}, {108, 12}, {184, 16}});
    const auto proposal = decode_proposal(bytes);
    ASSERT_TRUE(proposal);
    EXPECT_EQ(*proposal, *decode_proposal(golden("proposal_v21_emulated")));
}

TEST(Tolerance, ForeignVendorFields) {
    const auto proposal = decode_proposal(
        with_bytes(golden("proposal_v21_emulated"), 52, "0050c2ffffffffff"));
    ASSERT_TRUE(proposal);
    EXPECT_FALSE(proposal->vendor.present);
    const auto accept =
        decode_accept_confirm(with_bytes(golden("accept_v21_first"), 114, "58ffffff"));
    ASSERT_TRUE(accept);
    EXPECT_FALSE(accept->contact.vendor.present);
}

TEST(Tolerance, OurVendorFieldsOfAnotherVersionAreNotOurs) {
    const auto proposal = decode_proposal(
        with_bytes(golden("proposal_v21_emulated"), 52, "5344552100000007"));
    ASSERT_TRUE(proposal);
    EXPECT_FALSE(proposal->vendor.present);
    const auto ours = decode_proposal(
        with_bytes(golden("proposal_v21_emulated"), 52, "5344551100000007"));
    ASSERT_TRUE(ours);
    EXPECT_EQ(ours->vendor, (VendorExtension{true, kFeatureBells, LinkGroupId(7)}));
}

TEST(Tolerance, ReservedBytesOfAcceptAndDecline) {
    const auto accept = decode_accept_confirm(filled(
        golden("accept_v21_first"), {{26, 2}, {74, 1}, {76, 2}, {110, 2}, {118, 8}}));
    ASSERT_TRUE(accept);
    EXPECT_EQ(*accept, *decode_accept_confirm(golden("accept_v21_first")));
    const auto old = decode_accept_confirm(filled(golden("accept_v1_first"), {{26, 2}, {32, 12}}));
    ASSERT_TRUE(old);
    EXPECT_EQ(*old, *decode_accept_confirm(golden("accept_v1_first")));
    const auto decline = decode_decline(
        filled(golden("decline_v2_no_ueid"), {{8, 8}, {20, 4}, {24, 16}}));
    ASSERT_TRUE(decline);
    EXPECT_EQ(*decline, *decode_decline(golden("decline_v2_no_ueid")));
}

TEST(Tolerance, NewerReleasesFeaturesAndVersions) {
    Bytes bytes = with_bytes(golden("proposal_v21_emulated"), 106, "ffff");
    bytes = with_bytes(bytes, 83, "f0");
    bytes = with_bytes(bytes, 7, "f6");
    const auto proposal = decode_proposal(bytes);
    ASSERT_TRUE(proposal);
    EXPECT_EQ(proposal->features, 0xFFFF);
    EXPECT_EQ(proposal->release, 15);
    EXPECT_EQ(proposal->version, 15);
    const auto accept = decode_accept_confirm(with_bytes(golden("accept_v21_first"), 75, "2f"));
    ASSERT_TRUE(accept);
    EXPECT_EQ(accept->contact.release, 15);
}

TEST(Tolerance, UnknownDiagnosis) {
    const auto decline =
        decode_decline(with_bytes(golden("decline_v2_no_ueid"), 16, "deadbeef"));
    ASSERT_TRUE(decline);
    EXPECT_EQ(decline->diagnosis, 0xDEADBEEFU);
}

TEST(Tolerance, LongerAcceptsThanKnown) {
    for (const std::size_t extra : {1U, 16U, 382U}) {
        Bytes bytes = golden("accept_v21_first");
        bytes.insert(bytes.end() - 4, extra, std::byte{0xEE});
        const std::size_t n = bytes.size();
        bytes[5] = static_cast<std::byte>(n >> 8U);
        bytes[6] = static_cast<std::byte>(n);
        const auto accept = decode_accept_confirm(bytes);
        ASSERT_TRUE(accept) << n;
        EXPECT_EQ(*accept, *decode_accept_confirm(golden("accept_v21_first")));
    }
}

TEST(Tolerance, EverySizeClass) {
    for (unsigned size_class = 0; size_class <= kSizeClassMax; ++size_class) {
        Bytes bytes = golden("accept_v2_later");
        bytes[25] = static_cast<std::byte>(size_class << 4U | 0xFU);
        const auto accept = decode_accept_confirm(bytes);
        ASSERT_TRUE(accept);
        EXPECT_EQ(accept->size_class, SizeClass(static_cast<std::uint8_t>(size_class)));
        EXPECT_EQ(dmb_size_bytes(accept->size_class), std::size_t{16384} << size_class);
    }
}

TEST(Tolerance, LowerGidHalfOfARealDeviceIsNotRead) {
    const auto accept =
        decode_accept_confirm(filled(golden("accept_v20_real"), {{66, 8}}));
    ASSERT_TRUE(accept);
    EXPECT_EQ(accept->gid.low, 0U);
}

TEST(Tolerance, ChidZeroIsAValueOfTheCodec) {
    const auto accept = decode_accept_confirm(with_bytes(golden("accept_v2_later"), 32, "0000"));
    ASSERT_TRUE(accept);
    EXPECT_EQ(accept->chid, Chid());
}

} // namespace
} // namespace smcd::test
