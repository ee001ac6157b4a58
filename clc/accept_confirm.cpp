// Accept and Confirm: 2.3 of the wire format. Floor 1.
#include <cstring>

#include "clc/framing.hpp"
#include "clc/vendor.hpp"

namespace smcd::clc {
namespace {

constexpr std::uint8_t kFirstContactFlag = 0x08;

void read_text(ByteReader& reader, std::span<char> text) noexcept {
    const auto bytes = reader.take(text.size());
    if (!bytes.empty()) {
        std::memcpy(text.data(), bytes.data(), text.size());
    }
}

bool read_first_contact(ByteReader& reader, FirstContact& contact) noexcept {
    reader.skip(1);
    const auto os_release = reader.be<std::uint8_t>();
    contact.os = os_release >> 4U;
    contact.release = os_release & 0x0FU;
    reader.skip(2);
    read_text(reader, contact.host);
    if (contact.release >= 1) {
        reader.skip(2);
        contact.features = reader.be<std::uint16_t>();
        contact.vendor = read_contact_vendor(reader);
        reader.skip(8);
    }
    return !reader.failed() && reader.rest() >= kTrailerBytes;
}

}  // namespace

Result<AcceptConfirm> decode_accept_confirm(std::span<const std::byte> bytes) noexcept {
    SMCD_TRY(const Header header, open_message(bytes));
    if (header.type != MessageType::accept && header.type != MessageType::confirm) {
        return Error(std::errc::protocol_error);
    }
    AcceptConfirm message;
    message.type = header.type;
    message.version = header.version;
    message.first_contact = (header.flags & kFirstContactFlag) != 0;
    message.mode = static_cast<Mode>(header.flags & 0x3U);
    ByteReader reader = ByteReader(bytes).at(kHeaderBytes);
    message.gid.high = reader.be<std::uint64_t>();
    message.token = DmbToken(reader.be<std::uint64_t>());
    message.dmbe_idx = reader.be<std::uint8_t>();
    message.size_class = SizeClass(reader.be<std::uint8_t>() >> 4U);
    reader.skip(2);
    message.group = LinkGroupId(reader.be<std::uint32_t>());
    if (message.mode != Mode::smcd) {
        return Error(std::errc::protocol_error);
    }
    if (header.version == 1) {
        return message;
    }
    message.chid = Chid(reader.be<std::uint16_t>());
    read_text(reader, message.eid.text);
    message.gid.low = reader.be<std::uint64_t>();
    if (!is_emulated(message.chid)) {
        message.gid.low = 0;
    }
    if (reader.failed() || (message.first_contact && !read_first_contact(reader, message.contact))) {
        return Error(std::errc::protocol_error);
    }
    return message;
}

Message encode(const AcceptConfirm& accept) noexcept {
    Message message;
    ByteWriter writer(message.data);
    const bool v1 = accept.version == 1;
    const bool contact = accept.first_contact && !v1;
    std::size_t length = v1 ? kAcceptV1Bytes : kAcceptV2Bytes;
    if (contact) {
        length += accept.contact.release >= 1 ? kFirstContactV21Bytes : kFirstContactBytes;
    }
    const auto flags = static_cast<std::uint8_t>((accept.first_contact ? kFirstContactFlag : 0) |
                                                 static_cast<unsigned>(accept.mode));
    write_header(writer, kEyecatcherD, accept.type, length, accept.version, flags);
    writer.be(accept.gid.high);
    writer.be(accept.token.value());
    writer.be(accept.dmbe_idx);
    writer.be(static_cast<std::uint8_t>(accept.size_class.value() << 4U));
    writer.zeros(2);
    writer.be(accept.group.value());
    if (v1) {
        writer.zeros(12);
    } else {
        writer.be(accept.chid.value());
        writer.bytes(text_bytes(accept.eid.text));
        writer.be(is_emulated(accept.chid) ? accept.gid.low : std::uint64_t{0});
    }
    if (contact) {
        writer.zeros(1);
        writer.be(static_cast<std::uint8_t>(accept.contact.os << 4U | accept.contact.release));
        writer.zeros(2);
        writer.bytes(text_bytes(accept.contact.host));
        if (accept.contact.release >= 1) {
            writer.zeros(2);
            writer.be(accept.contact.features);
            write_contact_vendor(writer, accept.contact.vendor);
            writer.zeros(8);
        }
    }
    writer.bytes(kEyecatcherD);
    message.size = writer.size();
    return message;
}

}  // namespace smcd::clc
