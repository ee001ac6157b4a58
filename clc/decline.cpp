// Decline: 2.4 of the wire format. Floor 1.
#include "clc/framing.hpp"

namespace smcd::clc {
namespace {

constexpr std::uint8_t kOutOfSyncFlag = 0x08;

}  // namespace

Result<Decline> decode_decline(std::span<const std::byte> bytes) noexcept {
    SMCD_TRY(const Header header, open_message(bytes));
    if (header.type != MessageType::decline) {
        return Error(std::errc::protocol_error);
    }
    Decline decline;
    decline.version = header.version;
    decline.out_of_sync = (header.flags & kOutOfSyncFlag) != 0;
    decline.diagnosis = ByteReader(bytes).at(16).be<std::uint32_t>();
    return decline;
}

Message encode(const Decline& decline) noexcept {
    Message message;
    ByteWriter writer(message.data);
    const bool v1 = decline.version == 1;
    write_header(writer, kEyecatcherR, MessageType::decline, v1 ? kDeclineV1Bytes : kDeclineV2Bytes,
                 decline.version, decline.out_of_sync ? kOutOfSyncFlag : 0);
    writer.zeros(8);
    writer.be(decline.diagnosis);
    writer.be(static_cast<std::uint8_t>(v1 ? 0 : kOsLinux << 4U));
    writer.zeros(3);
    if (!v1) {
        writer.zeros(16);
    }
    writer.bytes(kEyecatcherR);
    message.size = writer.size();
    return message;
}

}  // namespace smcd::clc
