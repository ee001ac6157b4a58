// CDC words: cursor and flags in one 8-byte unit, native byte order. Floor 2, docs/protocol.md "CDC".
//
//   byte   0    2                6          7
//        +------+----------------+----------+-------------+
//        | wrap | count          | prod flg | conn flg    |   flags travel in the *consumer* word only
//        +------+----------------+----------+-------------+
#pragma once

#include <bit>
#include <cstdint>

#include "smcd/core/cursor.hpp"

namespace smcd {

inline constexpr std::uint8_t kCdcType = 0xFE;

/// Producer flags.
inline constexpr std::uint8_t kWriteBlocked = 0x80;
inline constexpr std::uint8_t kUrgDataPending = 0x40;
inline constexpr std::uint8_t kUrgDataPresent = 0x20;
inline constexpr std::uint8_t kConsCursUpdReq = 0x10;
/// Connection-state flags.
inline constexpr std::uint8_t kPeerDoneWriting = 0x80;
inline constexpr std::uint8_t kPeerConnClosed = 0x40;
inline constexpr std::uint8_t kPeerConnAbort = 0x20;
/// The peer will not read again.
inline constexpr std::uint8_t kPeerGone = kPeerConnClosed | kPeerConnAbort;

struct CdcWord {
    Cursor cursor;
    std::uint8_t producer_flags = 0;
    std::uint8_t state_flags = 0;
    friend constexpr bool operator==(const CdcWord&, const CdcWord&) noexcept = default;
};

[[nodiscard]] constexpr std::uint64_t pack(const CdcWord& word) noexcept {
    if constexpr (std::endian::native == std::endian::little) {
        return std::uint64_t{word.cursor.wrap} | std::uint64_t{word.cursor.count} << 16U |
               std::uint64_t{word.producer_flags} << 48U | std::uint64_t{word.state_flags} << 56U;
    } else {
        return std::uint64_t{word.cursor.wrap} << 48U | std::uint64_t{word.cursor.count} << 16U |
               std::uint64_t{word.producer_flags} << 8U | std::uint64_t{word.state_flags};
    }
}

[[nodiscard]] constexpr std::uint64_t pack(Cursor cursor) noexcept {
    return pack(CdcWord{cursor});
}

[[nodiscard]] constexpr CdcWord unpack(std::uint64_t raw) noexcept {
    if constexpr (std::endian::native == std::endian::little) {
        return {{static_cast<std::uint16_t>(raw), static_cast<std::uint32_t>(raw >> 16U)},
                static_cast<std::uint8_t>(raw >> 48U),
                static_cast<std::uint8_t>(raw >> 56U)};
    } else {
        return {{static_cast<std::uint16_t>(raw >> 48U), static_cast<std::uint32_t>(raw >> 16U)},
                static_cast<std::uint8_t>(raw >> 8U),
                static_cast<std::uint8_t>(raw)};
    }
}

}  // namespace smcd
