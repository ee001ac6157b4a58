// What all CLC messages share: header and trailer. Private to this room. Floor 1.
#pragma once

#include "clc/messages.hpp"
#include "smcd/base/bytes.hpp"

namespace smcd::clc {

/// Header of a complete message whose trailer is right.
[[nodiscard]] Result<Header> open_message(std::span<const std::byte> bytes) noexcept;

void write_header(ByteWriter& writer,
                  const Eyecatcher& eyecatcher,
                  MessageType type,
                  std::size_t length,
                  std::uint8_t version,
                  std::uint8_t flags) noexcept;

inline std::span<const std::byte> text_bytes(std::span<const char> text) noexcept {
    return std::as_bytes(text);
}

}  // namespace smcd::clc
