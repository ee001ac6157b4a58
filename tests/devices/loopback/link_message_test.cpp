// Link messages: what is accepted is exactly the table in link_message.hpp. Floor 4.
#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#include "devices/loopback/link_message.hpp"
#include "smcd/base/error.hpp"

namespace smcd::dev {
namespace {

using Bytes = std::array<std::byte, sizeof(LinkMessage)>;

Bytes bytes_of(const LinkMessage& message) {
    Bytes bytes{};
    std::memcpy(bytes.data(), &message, sizeof(message));
    return bytes;
}

std::vector<LinkMessage> one_of_each() {
    return {
        hello_message(LinkGroupId(0xabcdef01)),
        dmb_message(DmbToken(0x0123456789abcdef), SbaIndex(77), SizeClass(4)),
        doorbell_message(5, 7),
        retire_message(DmbToken(0x0123456789abcdef)),
        reuse_message(dmb_message(DmbToken(0x7777), SbaIndex(78), SizeClass(5)), DmbToken(0x6666)),
        status_message(4097),
        event_message(0, 77, 0x0123456789abcdef, 0x5555)};
}

TEST(LinkMessageTest, WhatWeSendIsAccepted) {
    for (const LinkMessage& message : one_of_each()) {
        const auto parsed = parse_message(bytes_of(message), descriptor_count(message.kind));

        ASSERT_TRUE(parsed);
        EXPECT_EQ(bytes_of(*parsed), bytes_of(message));
    }
}

TEST(LinkMessageTest, EveryOtherLengthIsRefused) {
    for (const LinkMessage& message : one_of_each()) {
        const Bytes bytes = bytes_of(message);
        for (std::size_t length = 0; length < bytes.size(); ++length) {
            EXPECT_FALSE(
                parse_message(std::span(bytes).first(length), descriptor_count(message.kind)));
        }
        std::array<std::byte, sizeof(LinkMessage) + 1> longer{};
        std::memcpy(longer.data(), bytes.data(), bytes.size());
        EXPECT_FALSE(parse_message(longer, descriptor_count(message.kind)));
    }
}

TEST(LinkMessageTest, EveryOtherNumberOfDescriptorsIsRefused) {
    for (const LinkMessage& message : one_of_each()) {
        for (std::size_t count = 0; count < 5; ++count) {
            EXPECT_EQ(parse_message(bytes_of(message), count).has_value(),
                      count == descriptor_count(message.kind));
        }
    }
}

struct Field {
    std::size_t offset;
    std::size_t bits;
};

/// Bits in which a message may differ and stay valid: all values of them are allowed, or all but 0.
std::vector<Field> free_fields(MessageKind kind) {
    const Field index{offsetof(LinkMessage, first), 16};
    const Field size_class{offsetof(LinkMessage, second), 4};
    const Field token{offsetof(LinkMessage, token), 64};
    switch (kind) {
    case MessageKind::hello:
        return {
            {offsetof(LinkMessage, first), 32}
        };
    case MessageKind::dmb:
        return {index, size_class, token};
    case MessageKind::doorbell:
        return {
            {offsetof(LinkMessage, first),  6 },
            {offsetof(LinkMessage, second), 32}
        };
    case MessageKind::retire:
        return {token};
    case MessageKind::reuse:
        return {
            index, size_class, token, {offsetof(LinkMessage, previous), 64}
        };
    case MessageKind::status:
        return {
            {offsetof(LinkMessage, first), 32}
        };
    case MessageKind::event:
        return {
            {offsetof(LinkMessage, first),    2 },
            {offsetof(LinkMessage, second),   32},
            token,
            {offsetof(LinkMessage, previous), 64}
        };
    }
    return {};
}

bool is_free(const LinkMessage& message, std::size_t bit) {
    const std::vector<Field> fields = free_fields(message.kind);
    return std::any_of(fields.begin(), fields.end(), [bit](const Field& field) {
        return bit >= field.offset * 8 && bit < field.offset * 8 + field.bits;
    });
}

TEST(LinkMessageTest, EverySingleBitFlipIsRefusedOrAnotherValue) {
    for (const LinkMessage& message : one_of_each()) {
        for (std::size_t bit = 0; bit < sizeof(LinkMessage) * 8; ++bit) {
            Bytes bytes = bytes_of(message);
            bytes[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));

            const auto parsed = parse_message(bytes, descriptor_count(message.kind));

            EXPECT_EQ(parsed.has_value(), is_free(message, bit)) << "bit " << bit;
            if (!parsed) {
                EXPECT_EQ(parsed.error(), Errc::peer_violation);
            }
        }
    }
}

TEST(LinkMessageTest, ZeroNamesNothing) {
    EXPECT_FALSE(parse_message(bytes_of(hello_message(LinkGroupId(0))), 2));
    EXPECT_FALSE(parse_message(bytes_of(retire_message(DmbToken(0))), 0));
    EXPECT_FALSE(parse_message(bytes_of(dmb_message(DmbToken(0), SbaIndex(0), SizeClass(0))), 1));
}

} // namespace
} // namespace smcd::dev
