// The frame that ends the rings of a connection and begins plain TCP. Floor 3, docs/protocol.md "return to TCP".
//
//   offset size  field
//        0    4  magic "SMCT"; the first byte tells it from a doorbell byte (0)
//        4    1  version, 1
//        5    3  zero
//        8    8  consumed: the sender has taken its own ring up to this cursor (wrap 2, count 4, zeros 2; big endian)
//       16    8  produced: the sender has written the receiver's ring up to this cursor
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <span>

#include "smcd/core/cursor.hpp"

namespace smcd {

struct ReturnFrame {
    Cursor consumed;
    Cursor produced;
    friend bool operator==(const ReturnFrame&, const ReturnFrame&) noexcept = default;
};

inline constexpr std::size_t kReturnFrameBytes = 24;
inline constexpr std::byte kDoorbellByte{0};

enum class FrameFront { frame, incomplete, garbage };

[[nodiscard]] std::array<std::byte, kReturnFrameBytes> encode(const ReturnFrame& frame) noexcept;
/// What stands first in `inbound`; fills `frame` if it is a whole frame. `inbound` is not empty.
[[nodiscard]] FrameFront decode(std::span<const std::byte> inbound, ReturnFrame& frame) noexcept;

}  // namespace smcd
