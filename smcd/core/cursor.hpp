// Cursor arithmetic of SMC-D; nothing else in the tree does it. Floor 2, docs/protocol.md "cursors".
//
// A cursor is (wrap, count): count is an offset in the ring, 0 <= count < ring size; wrap counts laps, mod 65536.
// empty: producer == consumer.   full: counts equal, producer one lap ahead.
#pragma once

#include <cstdint>
#include <optional>

namespace smcd {

struct Cursor {
    std::uint16_t wrap = 0;
    std::uint32_t count = 0;
    friend constexpr bool operator==(const Cursor&, const Cursor&) noexcept = default;
};

/// The cursor n bytes further; n <= ring_bytes.
[[nodiscard]] constexpr Cursor advance(Cursor cursor,
                                       std::uint32_t n,
                                       std::uint32_t ring_bytes) noexcept {
    // 64 bits: count + n may pass 2^32 for rings above 2 GiB.
    const std::uint64_t count = std::uint64_t{cursor.count} + n;
    if (count < ring_bytes) {
        cursor.count = static_cast<std::uint32_t>(count);
        return cursor;
    }
    cursor.count = static_cast<std::uint32_t>(count - ring_bytes);
    cursor.wrap = static_cast<std::uint16_t>(cursor.wrap + 1U);
    return cursor;
}

/// Bytes from older to newer, both ours and valid: at most one lap apart.
[[nodiscard]] constexpr std::uint32_t distance(Cursor older,
                                               Cursor newer,
                                               std::uint32_t ring_bytes) noexcept {
    if (older.wrap == newer.wrap) {
        return newer.count - older.count;
    }
    return ring_bytes - older.count + newer.count;
}

/// Bytes from a cursor of ours to one that a peer wrote, or nothing if the peer's cannot be right:
/// outside the ring, moved backwards, or further than limit_bytes (<= ring_bytes) ahead.
[[nodiscard]] constexpr std::optional<std::uint32_t> checked_distance(
    Cursor known, Cursor claimed, std::uint32_t ring_bytes, std::uint32_t limit_bytes) noexcept {
    if (claimed.count >= ring_bytes) {
        return std::nullopt;
    }
    std::uint64_t bytes = 0;
    if (claimed.wrap == known.wrap) {
        if (claimed.count < known.count) {
            return std::nullopt;
        }
        bytes = claimed.count - known.count;
    } else if (claimed.wrap == static_cast<std::uint16_t>(known.wrap + 1U)) {
        bytes = std::uint64_t{ring_bytes} - known.count + claimed.count;
    } else {
        return std::nullopt;
    }
    if (bytes > limit_bytes) {
        return std::nullopt;
    }
    return static_cast<std::uint32_t>(bytes);
}

}  // namespace smcd
