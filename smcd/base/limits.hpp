// Named limits that several rooms share, and the inequalities between them. Floor 0.
// A limit of one room alone stands in that room.
#pragma once

#include <cstddef>
#include <cstdint>

namespace smcd {

/// Distance that keeps two writers apart: one cache line on every CPU that we run on.
inline constexpr std::size_t kCacheLineBytes = 64;
/// Unit of mappings and of our private areas in front of a DMB.
inline constexpr std::size_t kPageBytes = 4096;

/// Compressed size classes: 4 bits on the wire, the kernel stops at class 6 (1 MiB).
inline constexpr std::uint8_t kSizeClassWireMax = 15;
inline constexpr std::uint8_t kSizeClassKernelMax = 6;
/// Largest DMB of any class: 16 KiB << 15.
inline constexpr std::size_t kDmbBytesMax = std::size_t{16384} << kSizeClassWireMax;

/// Cap for each memfd that we create or accept, checked before any system call sees a size:
/// the largest DMB and the pages that a device puts in front of it.
inline constexpr std::size_t kMemfdBytesMax = kDmbBytesMax + 16 * kPageBytes;

/// Hidden descriptors are numbered from here up where RLIMIT_NOFILE allows (high_fd.hpp).
inline constexpr int kHighFdBaseMax = 8192;
/// Room kept for them below the descriptor limit: small tables (at most 1024), large tables.
inline constexpr int kHighFdReserveSmall = 128;
inline constexpr int kHighFdReserveLarge = 256;

/// A log line, its prefix and newline included.
inline constexpr std::size_t kLogLineBytes = 512;
/// A rate-limited place in the code logs at most once in this time.
inline constexpr std::uint64_t kLogIntervalMs = 1000;

static_assert(kSizeClassKernelMax <= kSizeClassWireMax);
static_assert(kDmbBytesMax == std::size_t{512} << 20U);
static_assert(kHighFdReserveSmall < kHighFdReserveLarge && kHighFdReserveLarge < kHighFdBaseMax);

} // namespace smcd
