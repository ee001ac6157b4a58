// Damaged messages: cut short, single bits flipped, each length, offset and count at its bounds.
// Every input gives a value or an error, and what gives a value encodes to something that decodes.
#include <gtest/gtest.h>

#include "tests/clc/support.hpp"

namespace smcd::test {
namespace {

using namespace clc;

void put16(Bytes& bytes, std::size_t offset, unsigned value) {
    bytes[offset] = static_cast<std::byte>(value >> 8U);
    bytes[offset + 1] = static_cast<std::byte>(value);
}

Bytes with_byte(Bytes bytes, std::size_t offset, unsigned value) {
    bytes[offset] = static_cast<std::byte>(value);
    return bytes;
}

Bytes with16(Bytes bytes, std::size_t offset, unsigned value) {
    put16(bytes, offset, value);
    return bytes;
}

TEST(Damage, TruncatedAtEveryLength) {
    for (const auto& [name, message] : golden_messages()) {
        for (std::size_t n = 0; n < message.size(); ++n) {
            // A copy of exactly n bytes, so that a sanitizer sees each read past its end.
            const Bytes part(message.begin(), message.begin() + static_cast<std::ptrdiff_t>(n));
            EXPECT_FALSE(digest(part).decoded) << name << " cut to " << n;
        }
    }
}

TEST(Damage, CutWithAFittingHeaderAndTrailer) {
    for (const auto& [name, message] : golden_messages()) {
        for (std::size_t n = kHeaderBytes + kTrailerBytes; n < message.size(); ++n) {
            Bytes part(message.begin(), message.begin() + static_cast<std::ptrdiff_t>(n));
            put16(part, 5, static_cast<unsigned>(n));
            std::copy(kEyecatcherR.begin(), kEyecatcherR.end(), part.end() - 4);
            EXPECT_TRUE(digest(part).sound) << name << " cut to " << n;
        }
    }
}

TEST(Damage, EverySingleBit) {
    for (const auto& [name, message] : golden_messages()) {
        for (std::size_t bit = 0; bit < message.size() * 8; ++bit) {
            Bytes flipped = message;
            flipped[bit / 8] ^= std::byte{1} << (bit % 8);
            EXPECT_TRUE(digest(flipped).sound) << name << " bit " << bit;
        }
    }
}

TEST(Damage, EyecatcherBitsAreAllChecked) {
    for (const auto& [name, message] : golden_messages()) {
        const std::size_t trailer = message.size() - kTrailerBytes;
        for (const std::size_t start : {std::size_t{0}, trailer}) {
            for (std::size_t bit = 0; bit < 32; ++bit) {
                Bytes flipped = message;
                flipped[start + bit / 8] ^= std::byte{1} << (bit % 8);
                EXPECT_FALSE(digest(flipped).decoded) << name << " byte " << start + bit / 8;
            }
        }
    }
}

TEST(Damage, RandomBytesBehindAValidHeader) {
    Random random(test_seed());
    for (int round = 0; round < 20000; ++round) {
        auto place = golden_messages().begin();
        std::advance(place, static_cast<std::ptrdiff_t>(random() % golden_messages().size()));
        Bytes bytes = place->second;
        for (auto n = random() % 16; n > 0; --n) {
            bytes[7 + random() % (bytes.size() - 11)] = static_cast<std::byte>(random());
        }
        EXPECT_TRUE(digest(bytes).sound) << to_hex(bytes);
    }
}

struct Field {
    std::string_view message;
    std::size_t offset;
    std::size_t width;
    std::string_view name;
};

constexpr Field kFields[] = {
    {"proposal_v21_emulated", 5, 2, "length"},
    {"proposal_v21_emulated", 38, 2, "iparea_offset"},
    {"proposal_v21_emulated", 50, 2, "v2_ext_offset"},
    {"proposal_v21_emulated", 80, 1, "eid_cnt"},
    {"proposal_v21_emulated", 81, 1, "ism_gid_cnt"},
    {"proposal_v21_emulated", 86, 2, "smcd_v2_ext_offset"},
    {"proposal_v21_native_seid", 5, 2, "length"},
    {"proposal_v21_native_seid", 38, 2, "iparea_offset"},
    {"proposal_v21_native_seid", 50, 2, "v2_ext_offset"},
    {"proposal_v21_native_seid", 87, 1, "ipv6 count"},
    {"proposal_v21_native_seid", 88, 1, "eid_cnt"},
    {"proposal_v21_native_seid", 89, 1, "ism_gid_cnt"},
    {"proposal_v21_native_seid", 94, 2, "smcd_v2_ext_offset"},
    {"accept_v21_first", 5, 2, "length"},
    {"accept_v2_later", 5, 2, "length"},
    {"accept_v1_first", 5, 2, "length"},
    {"accept_v20_real", 5, 2, "length"},
    {"decline_v2_no_ueid", 5, 2, "length"},
    {"decline_v1_no_device", 5, 2, "length"},
};

TEST(Damage, LengthsOffsetsAndCountsAtTheirBounds) {
    constexpr unsigned kValues[] = {0,   1,   2,   7,   8,    9,    27,   28,   29,   35,    36,
                                    37,  39,  40,  41,  63,   64,   65,   127,  128,  171,   172,
                                    173, 255, 256, 287, 288,  289,  511,  512,  513,  651,   652,
                                    653, 654, 655, 656, 1024, 4095, 4096, 8191, 8192, 32767, 65535};
    for (const Field& field : kFields) {
        const Bytes& message = golden(field.message);
        const unsigned right = field.width == 1
                                   ? std::to_integer<unsigned>(message[field.offset])
                                   : std::to_integer<unsigned>(message[field.offset]) << 8U |
                                         std::to_integer<unsigned>(message[field.offset + 1]);
        for (const unsigned value : kValues) {
            if (field.width == 1 && value > 255) {
                continue;
            }
            const Bytes bytes = field.width == 1 ? with_byte(message, field.offset, value)
                                                 : with16(message, field.offset, value);
            const Digest result = digest(bytes);
            EXPECT_TRUE(result.sound) << field.message << ' ' << field.name << ' ' << value;
            if (field.name == "length") {
                EXPECT_EQ(result.decoded, value == right) << field.message << ' ' << value;
            }
        }
        // One off in either direction never fits the exact length rules.
        for (const unsigned value : {right - 1, right + 1}) {
            if (field.name.ends_with("cnt") || field.name.ends_with("count")) {
                EXPECT_FALSE(digest(with_byte(message, field.offset, value)).decoded)
                    << field.message << ' ' << field.name << ' ' << value;
            }
        }
    }
}

TEST(Damage, MissingSmcdExtensionIsAValueNotAnError) {
    for (const unsigned offset : {0U, 289U, 65535U}) {
        const auto proposal =
            decode_proposal(with16(golden("proposal_v21_emulated"), 86, offset));
        ASSERT_TRUE(proposal) << offset;
        EXPECT_FALSE(proposal->has_smcd_v2_extension);
        EXPECT_EQ(proposal->slots.count, 0U);
    }
    // In range, but outside the message.
    EXPECT_FALSE(decode_proposal(with16(golden("proposal_v21_emulated"), 86, 288)));
}

TEST(Damage, ExtensionsOutsideTheMessage) {
    for (const unsigned offset : {0U, 172U, 173U, 65535U}) {
        EXPECT_FALSE(decode_proposal(with16(golden("proposal_v21_emulated"), 50, offset)));
    }
    // The prefix area of a message with an SMC-D v1 device stands at a fixed place.
    for (const unsigned offset : {0U, 39U, 41U}) {
        EXPECT_FALSE(decode_proposal(with16(golden("proposal_v21_native_seid"), 38, offset)));
    }
}

TEST(Damage, FirstContactExtensionCutShort) {
    // The bit says that it is there; 78 bytes have no room for it.
    EXPECT_FALSE(decode_accept_confirm(with_byte(golden("accept_v2_later"), 7, 0x29)));
    // Release 1 needs sixteen bytes more than release 0 has.
    EXPECT_FALSE(decode_accept_confirm(with_byte(golden("accept_v20_real"), 75, 0x21)));
}

TEST(Damage, TypesVersionsAndModes) {
    for (const auto& [name, message] : golden_messages()) {
        for (const unsigned type : {0U, 5U, 255U}) {
            EXPECT_FALSE(digest(with_byte(message, 4, type)).decoded) << name;
        }
        const unsigned flags = std::to_integer<unsigned>(message[7]) & 0xFU;
        EXPECT_FALSE(digest(with_byte(message, 7, flags)).decoded) << name << " of version 0";
    }
    for (const unsigned mode : {0U, 2U, 3U}) {
        EXPECT_FALSE(decode_accept_confirm(with_byte(golden("accept_v2_later"), 7, 0x20 | mode)));
    }
}

} // namespace
} // namespace smcd::test
