// Golden messages and random values for the CLC tests. Floor 4.
#include "tests/clc/support.hpp"

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>

#include <gtest/gtest.h>

namespace smcd::clc {

void PrintTo(const Proposal& proposal, std::ostream* out) {
    *out << "Proposal " << test::to_hex(encode(proposal).span());
}

void PrintTo(const AcceptConfirm& message, std::ostream* out) {
    *out << "Accept/Confirm " << test::to_hex(encode(message).span());
}

void PrintTo(const Decline& decline, std::ostream* out) {
    *out << "Decline " << test::to_hex(encode(decline).span());
}

} // namespace smcd::clc

namespace smcd::test {
namespace {

using clc::Mode;

std::uint64_t below(Random& random, std::uint64_t bound) {
    return random() % bound;
}

bool coin(Random& random) {
    return (random() & 1U) != 0;
}

template <typename Char, std::size_t N>
void scramble(Random& random, std::array<Char, N>& text) {
    for (Char& c : text) {
        c = static_cast<Char>(below(random, 256));
    }
}

clc::VendorExtension random_vendor(Random& random, bool with_group) {
    clc::VendorExtension vendor;
    vendor.present = coin(random);
    if (vendor.present) {
        vendor.features = static_cast<std::uint8_t>(below(random, 16));
        vendor.group = LinkGroupId(with_group ? static_cast<std::uint32_t>(random()) : 0);
        vendor.vlan = static_cast<std::uint16_t>(with_group ? below(random, 4095) : 0);
    }
    return vendor;
}

clc::Slot random_slot(Random& random) {
    const std::uint64_t chid = coin(random) ? 0xFF00 + below(random, 256) : below(random, 65536);
    return {random(), Chid(static_cast<std::uint16_t>(chid))};
}

std::map<std::string, Bytes> read_golden() {
    std::ifstream file(SMCD_SOURCE_DIR "/tests/golden/clc_messages.txt");
    std::map<std::string, Bytes> messages;
    std::string line;
    std::string name;
    while (std::getline(file, line)) {
        if (line.starts_with("  ")) {
            messages[name] = messages[name] + from_hex(std::string_view(line).substr(2));
        } else if (const auto colon = line.find(':'); colon != std::string::npos) {
            name = line.substr(0, colon);
        }
    }
    return messages;
}

} // namespace

const std::map<std::string, Bytes>& golden_messages() {
    static const std::map<std::string, Bytes> messages = read_golden();
    return messages;
}

const Bytes& golden(std::string_view name) {
    const auto found = golden_messages().find(std::string(name));
    if (found == golden_messages().end()) {
        std::cerr << "no golden message " << name << '\n';
        std::abort();
    }
    return found->second;
}

Bytes from_hex(std::string_view hex) {
    Bytes bytes;
    for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
        bytes.push_back(
            static_cast<std::byte>(std::stoul(std::string(hex.substr(i, 2)), nullptr, 16)));
    }
    return bytes;
}

std::string to_hex(std::span<const std::byte> bytes) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::string hex;
    for (const std::byte b : bytes) {
        hex += kDigits[std::to_integer<unsigned>(b) >> 4U];
        hex += kDigits[std::to_integer<unsigned>(b) & 0xFU];
    }
    return hex;
}

Bytes to_bytes(const clc::Message& message) {
    return {message.span().begin(), message.span().end()};
}

Bytes operator+(Bytes left, const Bytes& right) {
    left.insert(left.end(), right.begin(), right.end());
    return left;
}

std::uint64_t test_seed() {
    const char* given = std::getenv("SMCD_SEED");
    const std::uint64_t seed =
        given != nullptr ? std::strtoull(given, nullptr, 0) : std::random_device()();
    std::cout << "SMCD_SEED=" << seed << '\n';
    ::testing::Test::RecordProperty("seed", std::to_string(seed));
    return seed;
}

clc::Eid eid_of(std::string_view text) {
    return *clc::make_ueid(text);
}

clc::Proposal random_proposal(Random& random) {
    clc::Proposal proposal;
    proposal.version = static_cast<std::uint8_t>(1 + below(random, 15));
    proposal.typev1 = static_cast<Mode>(below(random, 4));
    proposal.typev2 = static_cast<Mode>(below(random, 4));
    proposal.native = random_slot(random);
    proposal.vendor = random_vendor(random, true);
    if (proposal.version == 1) {
        proposal.typev1 = proposal.typev1 == Mode::none ? Mode::smcd : proposal.typev1;
        proposal.typev2 = Mode::none;
    }
    if (proposal.typev1 != Mode::none) {
        proposal.ipv4_subnet = static_cast<std::uint32_t>(random());
        proposal.ipv4_prefix_length = static_cast<std::uint8_t>(below(random, 256));
        for (auto n = below(random, clc::kIpv6PrefixesMax + 1); n > 0; --n) {
            clc::Ipv6Prefix prefix;
            scramble(random, prefix.prefix);
            prefix.length = static_cast<std::uint8_t>(below(random, 256));
            proposal.ipv6_prefixes.add(prefix);
        }
    }
    proposal.has_v2_extension = proposal.typev2 != Mode::none;
    proposal.has_smcd_v2_extension =
        proposal.typev2 == Mode::smcd || proposal.typev2 == Mode::both;
    proposal.release = 0;
    proposal.features = 0;
    if (proposal.has_v2_extension) {
        proposal.release = static_cast<std::uint8_t>(below(random, 16));
        proposal.features = static_cast<std::uint16_t>(random());
        proposal.has_seid = coin(random);
        for (auto n = below(random, clc::kEidsMax + 1); n > 0; --n) {
            clc::Eid eid;
            scramble(random, eid.text);
            proposal.ueids.add(eid);
        }
    }
    if (proposal.has_smcd_v2_extension) {
        if (proposal.has_seid) {
            scramble(random, proposal.seid.text);
        }
        for (auto n = below(random, clc::kSlotsMax + 1); n > 0; --n) {
            proposal.slots.add(random_slot(random));
        }
    }
    return proposal;
}

clc::AcceptConfirm random_accept(Random& random, clc::MessageType type) {
    clc::AcceptConfirm message;
    message.type = type;
    message.version = static_cast<std::uint8_t>(1 + below(random, 15));
    message.first_contact = coin(random);
    message.gid.high = random();
    message.token = DmbToken(random());
    message.dmbe_idx = static_cast<std::uint8_t>(below(random, 256));
    message.size_class = SizeClass(static_cast<std::uint8_t>(below(random, 16)));
    message.group = LinkGroupId(static_cast<std::uint32_t>(random()));
    if (message.version == 1) {
        return message;
    }
    message.chid = random_slot(random).chid;
    message.gid.low = is_emulated(message.chid) ? random() : 0;
    scramble(random, message.eid.text);
    if (message.first_contact) {
        message.contact.os = static_cast<std::uint8_t>(below(random, 16));
        message.contact.release = static_cast<std::uint8_t>(below(random, 3));
        scramble(random, message.contact.host);
        if (message.contact.release >= 1) {
            message.contact.features = static_cast<std::uint16_t>(random());
            message.contact.vendor = random_vendor(random, false);
        }
    }
    return message;
}

clc::Decline random_decline(Random& random) {
    return {static_cast<std::uint8_t>(1 + below(random, 15)),
            coin(random),
            static_cast<std::uint32_t>(random())};
}

Digest digest(std::span<const std::byte> bytes) {
    Digest result;
    static_cast<void>(clc::decode_header(bytes));
    const auto judge = [&](const auto& value, const auto& decode) {
        if (!value) {
            return;
        }
        const clc::Message again = clc::encode(*value);
        result.decoded = true;
        result.sound = result.sound && again.size <= again.data.size() && decode(again.span());
    };
    judge(clc::decode_proposal(bytes), clc::decode_proposal);
    judge(clc::decode_accept_confirm(bytes), clc::decode_accept_confirm);
    judge(clc::decode_decline(bytes), clc::decode_decline);
    return result;
}

} // namespace smcd::test
