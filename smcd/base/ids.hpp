// Strong identifier types: each names one thing of the protocol and does no arithmetic.
// Floor 0. Sources: docs/protocol.md, sections "identities" and "devices".
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>

namespace smcd {

template <typename Tag, typename Rep>
class StrongId {
public:
    using rep = Rep;

    constexpr StrongId() noexcept = default;
    constexpr explicit StrongId(Rep value) noexcept : value_(value) {}
    [[nodiscard]] constexpr Rep value() const noexcept { return value_; }
    friend constexpr auto operator<=>(const StrongId&, const StrongId&) noexcept = default;

private:
    Rep value_{};
};

/// Names a DMB on its fabric; random, never 0, never reused while a peer may hold a mapping.
using DmbToken = StrongId<struct DmbTokenTag, std::uint64_t>;
/// A DMB's index on its owner's device ("sba_idx"): which signal bit belongs to it.
using SbaIndex = StrongId<struct SbaIndexTag, std::uint32_t>;
/// Fabric id. 0xFF00..0xFFFF: emulated ISM (128-bit GID), of which 0xFFFF is loopback.
using Chid = StrongId<struct ChidTag, std::uint16_t>;
/// 4-byte link group id of Accept and Confirm; on loopback it also names the rendezvous of a process.
using LinkGroupId = StrongId<struct LinkGroupIdTag, std::uint32_t>;
/// Compressed buffer size: a DMB of 16 KiB << class.
using SizeClass = StrongId<struct SizeClassTag, std::uint8_t>;

/// Device identity: 128 bits for emulated devices; real ISM has 64 (then low == 0).
struct Gid {
    std::uint64_t high = 0;
    std::uint64_t low = 0;
    friend constexpr auto operator<=>(const Gid&, const Gid&) noexcept = default;
};

inline constexpr Chid kLoopbackChid{0xFFFF};

[[nodiscard]] constexpr bool is_emulated(Chid chid) noexcept {
    return (chid.value() & 0xFF00U) == 0xFF00U;
}

/// Bytes of a DMB of the given class, CDC area included.
[[nodiscard]] constexpr std::size_t dmb_size_bytes(SizeClass size_class) noexcept {
    return std::size_t{16384} << size_class.value();
}

}  // namespace smcd
