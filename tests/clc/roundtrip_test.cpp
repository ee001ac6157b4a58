// Random values survive encoding and decoding; lengths follow the published formulas.
#include <gtest/gtest.h>

#include "smcd/base/bytes.hpp"
#include "tests/clc/support.hpp"

namespace smcd::test {
namespace {

using namespace clc;

constexpr int kRounds = 5000;

std::size_t proposal_length(const Proposal& p) {
    const std::size_t prefixes = p.typev1 != Mode::none ? 8 + 17 * p.ipv6_prefixes.count : 0;
    const bool smcd_v2 = p.typev2 == Mode::smcd || p.typev2 == Mode::both;
    return 40 + 40 + prefixes + (p.typev2 != Mode::none ? 40 + 32 * p.ueids.count : 0) +
           (smcd_v2 ? 48 + 10 * p.slots.count : 0) + 4;
}

TEST(RoundTrip, Proposals) {
    Random random(test_seed());
    for (int i = 0; i < kRounds; ++i) {
        const Proposal value = random_proposal(random);
        const Message bytes = encode(value);
        EXPECT_EQ(bytes.size, proposal_length(value));
        const auto back = decode_proposal(bytes.span());
        ASSERT_TRUE(back) << to_hex(bytes.span());
        ASSERT_EQ(*back, value);
    }
}

TEST(RoundTrip, AcceptsAndConfirms) {
    Random random(test_seed());
    for (int i = 0; i < kRounds; ++i) {
        const auto type = i % 2 == 0 ? MessageType::accept : MessageType::confirm;
        const AcceptConfirm value = random_accept(random, type);
        const Message bytes = encode(value);
        const std::size_t contact = value.contact.release >= 1 ? 52 : 36;
        EXPECT_EQ(bytes.size, value.version == 1 ? 48 : 78 + (value.first_contact ? contact : 0));
        const auto back = decode_accept_confirm(bytes.span());
        ASSERT_TRUE(back) << to_hex(bytes.span());
        ASSERT_EQ(*back, value);
    }
}

TEST(RoundTrip, Declines) {
    Random random(test_seed());
    for (int i = 0; i < kRounds; ++i) {
        const Decline value = random_decline(random);
        const Message bytes = encode(value);
        EXPECT_EQ(bytes.size, value.version == 1 ? 28U : 44U);
        const auto back = decode_decline(bytes.span());
        ASSERT_TRUE(back) << to_hex(bytes.span());
        ASSERT_EQ(*back, value);
    }
}

TEST(RoundTrip, LargestAndSmallestProposal) {
    Proposal large;
    large.typev1 = Mode::both;
    large.typev2 = Mode::both;
    while (large.ipv6_prefixes.add({}) && large.ueids.add({}) && large.slots.add({})) {
    }
    EXPECT_EQ(encode(large).size, 652U);
    ASSERT_TRUE(decode_proposal(encode(large).span()));

    Proposal small;
    small.typev2 = Mode::none;
    EXPECT_EQ(encode(small).size, 84U);
    ASSERT_TRUE(decode_proposal(encode(small).span()));
}

TEST(RoundTrip, VersionOneProposalWithoutDeviceInformation) {
    // 52 bytes: SMC over RDMA only, prefix area right behind the fixed part.
    Bytes bytes = from_hex("e2d4c3d901003410") + Bytes(30) + from_hex("0000") +
                  from_hex("0a0000001800000000") + Bytes(0);
    bytes.resize(48);
    bytes = bytes + from_hex("e2d4c3d9");
    const auto proposal = decode_proposal(bytes);
    ASSERT_TRUE(proposal);
    EXPECT_EQ(proposal->version, 1);
    EXPECT_EQ(proposal->typev1, Mode::smcr);
    EXPECT_EQ(proposal->ipv4_subnet, 0x0A000000U);
    EXPECT_EQ(proposal->ipv4_prefix_length, 24);
    EXPECT_FALSE(proposal->has_v2_extension);
}

TEST(Bytes, ReaderStopsAtTheEndForGood) {
    const Bytes bytes = from_hex("010203");
    ByteReader reader(bytes);
    EXPECT_EQ(reader.be<std::uint16_t>(), 0x0102);
    EXPECT_EQ(reader.be<std::uint32_t>(), 0U);
    EXPECT_TRUE(reader.failed());
    EXPECT_EQ(reader.be<std::uint8_t>(), 0) << "the last byte must not be read after a failure";
    EXPECT_TRUE(ByteReader(bytes).at(4).failed());
    EXPECT_FALSE(ByteReader(bytes).at(3).failed());
}

TEST(Bytes, WriterCountsBeyondItsEndAndWritesNothingThere) {
    std::array<std::byte, 4> bytes{};
    ByteWriter writer(std::span<std::byte>(bytes).first(3));
    writer.be(std::uint32_t{0x01020304});
    EXPECT_EQ(writer.size(), 4U);
    EXPECT_FALSE(writer.fits());
    EXPECT_EQ(to_hex(bytes), "01020300");
}

} // namespace
} // namespace smcd::test
