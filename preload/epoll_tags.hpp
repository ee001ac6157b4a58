// Event data of ours in the application's kernel epoll sets: addresses that no application can
// hold. Floor 4.
#pragma once

#include <cstdint>

namespace smcd::preload {

inline constexpr std::uint64_t kTagPlace = 48;
inline constexpr std::uint64_t kDoorTag = 0x5D00; ///< with the doorbell's number in the low bits
inline constexpr std::uint64_t kNestedTag = 0x5D40;

/// Relatives that share a kernel set use the same address for it, and different doorbells.
inline std::uint64_t door_tag(const void* set, unsigned door) noexcept {
    return reinterpret_cast<std::uintptr_t>(set) | (kDoorTag | door) << kTagPlace;
}

inline bool is_door_of(const void* set, std::uint64_t data) noexcept {
    constexpr std::uint64_t kNumber = 0x3F;
    return (data & ~(kNumber << kTagPlace)) == door_tag(set, 0);
}

inline std::uint64_t nested_tag(const void* nested) noexcept {
    return reinterpret_cast<std::uintptr_t>(nested) | kNestedTag << kTagPlace;
}

/// A cheap look: most data are none of ours.
inline bool may_be_tag(std::uint64_t data) noexcept {
    return data >> (kTagPlace + 8) == kDoorTag >> 8U;
}

} // namespace smcd::preload
