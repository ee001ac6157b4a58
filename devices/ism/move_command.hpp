// MoveCommand: the address word of the ISM move instruction. Floor 2, docs/protocol.md "devices".
//
//   63            28 27    24 23 22            0
//   | token (high) | element |sf|    offset     |
#pragma once

#include <cstdint>

#include "smcd/base/ids.hpp"

namespace smcd::dev {

struct MoveCommand {
    DmbToken token;
    std::uint8_t element = 0; ///< 0 to 15: which bit of the mask a signal sets
    bool signal = false;
    std::uint32_t offset = 0; ///< below 8 MiB
    friend constexpr bool operator==(const MoveCommand&, const MoveCommand&) noexcept = default;
};

inline constexpr std::uint32_t kMoveOffsetMax = (1U << 23U) - 1;
inline constexpr std::uint8_t kMoveElementMax = 15;
/// A move ends at the latest at the next boundary of the DMB's offsets.
inline constexpr std::uint32_t kMoveBoundary = 4096;
/// Tokens leave the rest of the word free.
inline constexpr std::uint64_t kIsmTokenMask = ~0ULL << 28U;

[[nodiscard]] constexpr std::uint64_t pack(const MoveCommand& move) noexcept {
    return (move.token.value() & kIsmTokenMask) | std::uint64_t{move.element} << 24U |
           std::uint64_t{move.signal} << 23U | move.offset;
}

[[nodiscard]] constexpr MoveCommand unpack_move(std::uint64_t word) noexcept {
    return {DmbToken(word & kIsmTokenMask),
            static_cast<std::uint8_t>(word >> 24U & kMoveElementMax),
            (word >> 23U & 1U) != 0,
            static_cast<std::uint32_t>(word & kMoveOffsetMax)};
}

} // namespace smcd::dev
