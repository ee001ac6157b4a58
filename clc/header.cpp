#include <algorithm>
#include <cstring>

#include "clc/framing.hpp"
#include "clc/messages.hpp"

namespace smcd::clc {
namespace {

bool is_eyecatcher(std::span<const std::byte> bytes) noexcept {
    return std::equal(bytes.begin(), bytes.end(), kEyecatcherR.begin(), kEyecatcherR.end()) ||
           std::equal(bytes.begin(), bytes.end(), kEyecatcherD.begin(), kEyecatcherD.end());
}

bool length_is_possible(const Header& header) noexcept {
    const std::size_t n = header.length;
    switch (header.type) {
        case MessageType::proposal:
            return n >= kProposalFixedBytes + kPrefixAreaBytes + kTrailerBytes && n <= kMessageBytesMax;
        case MessageType::accept:
        case MessageType::confirm:
            return header.version == 1 ? n == kAcceptV1Bytes : n >= kAcceptV2Bytes && n <= kAcceptBytesMax;
        case MessageType::decline:
            return n == (header.version == 1 ? kDeclineV1Bytes : kDeclineV2Bytes);
    }
    return false;
}

}  // namespace

Result<Header> decode_header(std::span<const std::byte> bytes) noexcept {
    ByteReader reader(bytes);
    const auto eyecatcher = reader.take(kEyecatcherR.size());
    const auto type = reader.be<std::uint8_t>();
    Header header;
    header.length = reader.be<std::uint16_t>();
    const auto last = reader.be<std::uint8_t>();
    header.version = last >> 4U;
    header.flags = last & 0x0FU;
    const bool known = type >= 1 && type <= 4;
    header.type = static_cast<MessageType>(type);
    if (reader.failed() || !is_eyecatcher(eyecatcher) || !known || header.version == 0 ||
        !length_is_possible(header)) {
        return Error(std::errc::protocol_error);
    }
    return header;
}

Result<Header> open_message(std::span<const std::byte> bytes) noexcept {
    SMCD_TRY(const Header header, decode_header(bytes));
    if (bytes.size() != header.length || !is_eyecatcher(bytes.last(kTrailerBytes))) {
        return Error(std::errc::protocol_error);
    }
    return header;
}

void write_header(ByteWriter& writer,
                  const Eyecatcher& eyecatcher,
                  MessageType type,
                  std::size_t length,
                  std::uint8_t version,
                  std::uint8_t flags) noexcept {
    writer.bytes(eyecatcher);
    writer.be(static_cast<std::uint8_t>(type));
    writer.be(static_cast<std::uint16_t>(length));
    writer.be(static_cast<std::uint8_t>(version << 4U | flags));
}

}  // namespace smcd::clc
