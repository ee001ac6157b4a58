// Directory entries as both sides handle them. Floor 2, docs/shared-memory.md "regions".
#pragma once

#include <algorithm>

#include "devices/ivshmem/layout.hpp"
#include "smcd/base/ids.hpp"
#include "smcd/base/limits.hpp"

namespace smcd::dev::ivshmem {

using DmbStatus = Tagged<DmbUse>;

/// Bytes of a DMB in the slice: the private page with the bells, then the DMB.
[[nodiscard]] constexpr std::uint64_t block_bytes(SizeClass size_class) noexcept {
    return kPageBytes + dmb_size_bytes(size_class);
}

[[nodiscard]] inline DmbStatus status_of(const DirEntry& entry) noexcept {
    return DmbStatus::of(entry.status.load(std::memory_order_acquire)); // sync: dmb-status
}

/// Changes the state if it is still `from`, in the same generation.
inline bool change(DirEntry& entry, std::uint32_t generation, DmbUse from, DmbUse to) noexcept {
    std::uint64_t expected = DmbStatus{generation, from}.word();
    return entry.status.compare_exchange_strong( // sync: dmb-status
        expected,
        DmbStatus{generation, to}.word(),
        std::memory_order_acq_rel);
}

/// Whether the range can be a DMB of a slice of that size.
[[nodiscard]] inline bool
fits(std::uint64_t offset, SizeClass size_class, std::uint64_t slice_bytes) noexcept {
    return size_class.value() <= kSizeClassWireMax && offset % kPageBytes == 0 &&
           offset <= slice_bytes && block_bytes(size_class) <= slice_bytes - offset;
}

/// A size class from a field that a peer wrote.
[[nodiscard]] inline SizeClass class_of(std::uint32_t field) noexcept {
    return SizeClass(static_cast<std::uint8_t>(std::min<std::uint32_t>(field, 0xFF)));
}

} // namespace smcd::dev::ivshmem
