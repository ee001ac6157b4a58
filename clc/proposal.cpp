// Proposal: 2.2 of the wire format. Floor 1.
#include <algorithm>
#include <cstring>

#include "clc/framing.hpp"
#include "clc/vendor.hpp"

namespace smcd::clc {
namespace {

constexpr std::size_t kV2OffsetBase = 52;   ///< v2_ext_offset counts from here
constexpr std::size_t kIpAreaBase = 40;     ///< iparea_offset counts from here
constexpr std::size_t kV2ExtOffsetMax = 172;
constexpr std::size_t kSmcdV2OffsetMax = 288;
constexpr std::uint8_t kSeidFlag = 0x01;

bool offers(Mode mode) noexcept {
    return mode == Mode::smcd || mode == Mode::both;
}

void read_eid(ByteReader& reader, Eid& eid) noexcept {
    const auto bytes = reader.take(kEidBytes);
    if (!bytes.empty()) {
        std::memcpy(eid.text.data(), bytes.data(), kEidBytes);
    }
}

Slot read_slot(ByteReader& reader) noexcept {
    Slot slot;
    slot.gid = reader.be<std::uint64_t>();
    slot.chid = Chid(reader.be<std::uint16_t>());
    return slot;
}

bool read_prefix_area(const ByteReader& whole, std::size_t offset, Proposal& proposal) noexcept {
    ByteReader reader = whole.at(offset);
    proposal.ipv4_subnet = reader.be<std::uint32_t>();
    proposal.ipv4_prefix_length = reader.be<std::uint8_t>();
    reader.skip(2);
    const auto count = reader.be<std::uint8_t>();
    if (count > kIpv6PrefixesMax) {
        return false;
    }
    for (unsigned i = 0; i < count; ++i) {
        Ipv6Prefix prefix;
        const auto bytes = reader.take(prefix.prefix.size());
        if (!bytes.empty()) {
            std::copy(bytes.begin(), bytes.end(), prefix.prefix.begin());
        }
        prefix.length = reader.be<std::uint8_t>();
        proposal.ipv6_prefixes.add(prefix);
    }
    return !reader.failed();
}

/// SMC-D v2 extension: system EID and slots. An offset out of range means "missing", not malformed.
bool read_smcd_v2(const ByteReader& whole,
                  std::size_t v2_offset,
                  std::uint16_t distance,
                  std::uint8_t slot_count,
                  Proposal& proposal) noexcept {
    if (distance == 0 || distance > kSmcdV2OffsetMax) {
        proposal.has_smcd_v2_extension = false;
        return true;
    }
    ByteReader reader = whole.at(v2_offset + 8 + distance);
    read_eid(reader, proposal.seid);
    reader.skip(16);
    for (unsigned i = 0; i < slot_count; ++i) {
        proposal.slots.add(read_slot(reader));
    }
    return !reader.failed() && reader.rest() >= kTrailerBytes;
}

bool read_v2(const ByteReader& whole, std::size_t offset, Proposal& proposal) noexcept {
    ByteReader reader = whole.at(offset);
    const auto eid_count = reader.be<std::uint8_t>();
    const auto slot_count = reader.be<std::uint8_t>();
    reader.skip(1);
    const auto flags = reader.be<std::uint8_t>();
    reader.skip(2);
    const auto smcd_distance = reader.be<std::uint16_t>();
    reader.skip(16 + 2);
    proposal.features = reader.be<std::uint16_t>();
    reader.skip(12);
    if (reader.failed() || eid_count > kEidsMax ||
        (offers(proposal.typev2) && slot_count > kSlotsMax)) {
        return false;
    }
    proposal.release = flags >> 4U;
    proposal.has_seid = (flags & kSeidFlag) != 0;
    for (unsigned i = 0; i < eid_count; ++i) {
        Eid eid;
        read_eid(reader, eid);
        proposal.ueids.add(eid);
    }
    if (reader.failed() || reader.rest() < kTrailerBytes) {
        return false;
    }
    if (!offers(proposal.typev2)) {
        proposal.has_smcd_v2_extension = false;
        return true;
    }
    return read_smcd_v2(whole, offset, smcd_distance, slot_count, proposal);
}

std::size_t expected_length(const Proposal& proposal, std::size_t ip_offset) noexcept {
    const std::size_t prefixes =
        kPrefixAreaBytes + kIpv6PrefixBytes * proposal.ipv6_prefixes.count;
    if (proposal.version == 1) {
        return kIpAreaBase + ip_offset + prefixes + kTrailerBytes;
    }
    std::size_t length = kProposalFixedBytes + kSmcdInfoBytes + kTrailerBytes;
    length += proposal.typev1 != Mode::none ? prefixes : 0;
    length += proposal.typev2 != Mode::none ? kV2ExtBytes + kEidBytes * proposal.ueids.count : 0;
    length += offers(proposal.typev2) ? kSmcdV2ExtBytes + kSlotBytes * proposal.slots.count : 0;
    return length;
}

}  // namespace

Result<Proposal> decode_proposal(std::span<const std::byte> bytes) noexcept {
    SMCD_TRY(const Header header, open_message(bytes));
    const ByteReader whole(bytes);
    Proposal proposal;
    proposal.version = header.version;
    proposal.typev1 = static_cast<Mode>(header.flags & 0x3U);
    proposal.typev2 = header.version == 1 ? Mode::none : static_cast<Mode>(header.flags >> 2U);
    const std::size_t ip_offset = whole.at(38).be<std::uint16_t>();
    if (header.type != MessageType::proposal || ip_offset > kSmcdInfoBytes ||
        (header.version == 1 && proposal.typev1 == Mode::none)) {
        return Error(std::errc::protocol_error);
    }
    std::size_t v2_distance = 0;
    const bool has_info = header.version > 1 || ip_offset == kSmcdInfoBytes;
    if (has_info) {
        ByteReader info = whole.at(kIpAreaBase);
        proposal.native = read_slot(info);
        v2_distance = info.be<std::uint16_t>();
        proposal.vendor = read_proposal_vendor(info);
        if (info.failed()) {
            return Error(std::errc::protocol_error);
        }
    }
    if (proposal.typev1 != Mode::none &&
        !read_prefix_area(whole, kIpAreaBase + ip_offset, proposal)) {
        return Error(std::errc::protocol_error);
    }
    proposal.has_v2_extension = proposal.typev2 != Mode::none;
    proposal.has_smcd_v2_extension = proposal.has_v2_extension;
    if (proposal.has_v2_extension) {
        const bool located = v2_distance >= 1 && v2_distance <= kV2ExtOffsetMax &&
                             (!offers(proposal.typev1) || ip_offset == kSmcdInfoBytes);
        if (!located || !read_v2(whole, kV2OffsetBase + v2_distance, proposal)) {
            return Error(std::errc::protocol_error);
        }
    } else {
        proposal.release = 0;
        proposal.features = 0;
    }
    const bool exact = proposal.has_smcd_v2_extension || !offers(proposal.typev2)
                           ? bytes.size() == expected_length(proposal, ip_offset)
                           : true;
    if (!exact) {
        return Error(std::errc::protocol_error);
    }
    return proposal;
}

Message encode(const Proposal& proposal) noexcept {
    Message message;
    ByteWriter writer(message.data);
    const bool prefixes = proposal.typev1 != Mode::none;
    const std::size_t prefix_bytes =
        prefixes ? kPrefixAreaBytes + kIpv6PrefixBytes * proposal.ipv6_prefixes.count : 0;
    const std::size_t length = expected_length(proposal, kSmcdInfoBytes);
    const auto flags = static_cast<std::uint8_t>(static_cast<unsigned>(proposal.typev2) << 2U |
                                                 static_cast<unsigned>(proposal.typev1));
    write_header(writer, kEyecatcherR, MessageType::proposal, length, proposal.version,
                 proposal.version == 1 ? flags & 0x3U : flags);
    writer.zeros(8 + 16 + 6); // peer id, RoCE GID and MAC: SMC-R only
    writer.be(static_cast<std::uint16_t>(prefixes ? kSmcdInfoBytes : 0));
    writer.be(proposal.native.gid);
    writer.be(proposal.native.chid.value());
    const std::size_t v2_distance = kIpAreaBase + kSmcdInfoBytes - kV2OffsetBase + prefix_bytes;
    writer.be(static_cast<std::uint16_t>(proposal.typev2 != Mode::none ? v2_distance : 0));
    write_proposal_vendor(writer, proposal.vendor);
    writer.zeros(18);
    if (prefixes) {
        writer.be(proposal.ipv4_subnet);
        writer.be(proposal.ipv4_prefix_length);
        writer.zeros(2);
        writer.be(static_cast<std::uint8_t>(proposal.ipv6_prefixes.count));
        for (const Ipv6Prefix& prefix : proposal.ipv6_prefixes.span()) {
            writer.bytes(prefix.prefix);
            writer.be(prefix.length);
        }
    }
    if (proposal.typev2 != Mode::none) {
        writer.be(static_cast<std::uint8_t>(proposal.ueids.count));
        writer.be(static_cast<std::uint8_t>(offers(proposal.typev2) ? proposal.slots.count : 0));
        writer.zeros(1);
        writer.be(static_cast<std::uint8_t>(proposal.release << 4U | (proposal.has_seid ? kSeidFlag : 0)));
        writer.zeros(2);
        writer.be(static_cast<std::uint16_t>(
            offers(proposal.typev2) ? kV2ExtBytes - 8 + kEidBytes * proposal.ueids.count : 0));
        writer.zeros(16 + 2); // RoCEv2 GID, connection and link limits
        writer.be(proposal.features);
        writer.zeros(12);
        for (const Eid& eid : proposal.ueids.span()) {
            writer.bytes(text_bytes(eid.text));
        }
    }
    if (offers(proposal.typev2)) {
        writer.bytes(text_bytes(proposal.has_seid ? proposal.seid.text : Eid().text));
        writer.zeros(16);
        for (const Slot& slot : proposal.slots.span()) {
            writer.be(slot.gid);
            writer.be(slot.chid.value());
        }
    }
    writer.bytes(kEyecatcherR);
    message.size = writer.size();
    return message;
}

}  // namespace smcd::clc
