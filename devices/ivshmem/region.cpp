// Opening, formatting and checking a region. Floor 2, docs/shared-memory.md "regions".
#include "devices/ivshmem/region.hpp"

#include <sched.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "smcd/base/clock.hpp"
#include "smcd/base/random.hpp"
#include "smcd/base/raw_syscall.hpp"

namespace smcd::dev::ivshmem {
namespace {

constexpr std::uint64_t kSliceBytesMin = kPageBytes + dmb_size_bytes(SizeClass(0));
constexpr std::uint64_t kSuitableStride = 64ULL << 20U;
constexpr std::uint32_t kFewPeers = 8;
constexpr std::uint32_t kManyPeers = 64;

/// Size of a devdax node, from /sys.
Result<std::uint64_t> device_bytes(dev_t device) noexcept {
    std::array<char, 64> path{};
    std::snprintf(
        path.data(), path.size(), "/sys/dev/char/%u:%u/size", major(device), minor(device));
    const UniqueFd fd(raw::open(path.data(), O_RDONLY | O_CLOEXEC));
    std::array<char, 32> text{};
    if (!fd.valid() || raw::read(fd.get(), text.data(), text.size() - 1) <= 0) {
        return Error(std::errc::invalid_argument);
    }
    return std::strtoull(text.data(), nullptr, 10);
}

} // namespace

Result<std::uint64_t> memory_bytes(int fd) noexcept {
    struct stat info {};

    if (::fstat(fd, &info) != 0) {
        return errno_error();
    }
    if (S_ISCHR(info.st_mode)) {
        return device_bytes(info.st_rdev);
    }
    if (!S_ISREG(info.st_mode) || info.st_size <= 0) {
        return Error(std::errc::invalid_argument);
    }
    return static_cast<std::uint64_t>(info.st_size);
}

std::uint32_t Geometry::default_peers(std::uint64_t bytes) noexcept {
    const std::uint64_t suits = std::min<std::uint64_t>(bytes / kSuitableStride, kManyPeers);
    return std::max(static_cast<std::uint32_t>(suits), kFewPeers);
}

Result<Geometry> Geometry::of(std::uint64_t bytes, std::uint32_t peers) noexcept {
    if (peers < kPeersMin || peers > kPeersMax || bytes < kHeaderBytes) {
        return Error(std::errc::invalid_argument);
    }
    Geometry geometry;
    geometry.bytes = bytes;
    geometry.peers = peers;
    geometry.stride = (bytes - kHeaderBytes) / peers / kPageBytes * kPageBytes;
    if (geometry.stride < kSlotTablesBytes + kSliceBytesMin) {
        return Error(std::errc::invalid_argument);
    }
    geometry.slice_bytes = geometry.stride - kSlotTablesBytes;
    return geometry;
}

Result<Region> Region::open(UniqueFd file, std::uint64_t bytes, std::uint32_t peers) {
    Region region;
    SMCD_TRY(region.mapping_, Mapping::map_shared(file.get(), bytes, PROT_READ | PROT_WRITE));
    region.file_ = std::move(file);
    region.geometry_.bytes = bytes;
    SMCD_TRY_VOID(region.allocate(0, kHeaderBytes));
    SMCD_TRY_VOID(region.format(peers == 0 ? Geometry::default_peers(bytes) : peers));
    region.await_header();
    SMCD_TRY_VOID(region.read_header());
    return region;
}

/// Formats a region that is blank: zeroes are an empty table, so the header is all there is to
/// write.
Result<void> Region::format(std::uint32_t peers) noexcept {
    RegionHeader& shared = header();
    // Before others wait for us: a machine that has just started may take seconds for them.
    const Gid uuid{random_u64(), random_u64()};
    // sync: region-state. Whoever finds `ready` sees the fields that were written before.
    auto expected = static_cast<std::uint32_t>(RegionState::blank);
    if (!shared.state.compare_exchange_strong(
            expected, static_cast<std::uint32_t>(RegionState::being_written))) {
        return {};
    }
    const auto wanted = Geometry::of(geometry_.bytes, peers);
    if (!wanted) {
        shared.state.store(static_cast<std::uint32_t>(RegionState::blank));
        return Error(wanted.error());
    }
    shared.magic.store(kMagic, std::memory_order_relaxed);
    shared.version.store(kVersion, std::memory_order_relaxed);
    shared.uuid_high.store(uuid.high, std::memory_order_relaxed);
    shared.uuid_low.store(uuid.low, std::memory_order_relaxed);
    shared.bytes.store(geometry_.bytes, std::memory_order_relaxed);
    shared.peers.store(peers, std::memory_order_relaxed);
    shared.state.store(static_cast<std::uint32_t>(RegionState::ready), std::memory_order_release);
    return {};
}

/// Whoever formats the region needs microseconds; if it died over that, so did the region.
void Region::await_header() const noexcept {
    const std::uint64_t end_ns = monotonic_ns() + kNsPerSecond;
    while (header().state.load(std::memory_order_acquire) ==
               static_cast<std::uint32_t>(RegionState::being_written) &&
           monotonic_ns() < end_ns) {
        ::sched_yield();
    }
}

Result<void> Region::read_header() noexcept {
    const RegionHeader& shared = header();
    const auto state = static_cast<RegionState>(
        shared.state.load(std::memory_order_acquire)); // sync: region-state
    if (state == RegionState::being_written) {
        return Error(std::errc::resource_unavailable_try_again);
    }
    const std::uint64_t bytes = shared.bytes.load(std::memory_order_relaxed);
    const std::uint32_t peers = shared.peers.load(std::memory_order_relaxed);
    uuid_ = {shared.uuid_high.load(std::memory_order_relaxed),
             shared.uuid_low.load(std::memory_order_relaxed)};
    const bool ours = state == RegionState::ready &&
                      shared.magic.load(std::memory_order_relaxed) == kMagic &&
                      shared.version.load(std::memory_order_relaxed) == kVersion;
    // Machines may map a little more than the region (sizes are rounded up), never less.
    const auto geometry = Geometry::of(bytes, peers);
    if (!ours || !geometry || bytes > mapping_.size() || uuid_ == Gid{}) {
        return Error(std::errc::protocol_error);
    }
    geometry_ = *geometry;
    return {};
}

Result<void> Region::allocate(std::uint64_t offset, std::uint64_t bytes) const noexcept {
    // Device memory has no fallocate(), and needs none.
    if (raw::detail::call(SYS_fallocate, file_.get(), 0, offset, bytes) == 0 ||
        (errno != ENOSPC && errno != ENOMEM)) {
        return {};
    }
    return Error(std::errc::not_enough_memory);
}

/// Whether the file has no page there. Nobody uses the position that this moves.
bool Region::is_hole(std::uint64_t offset, std::uint64_t bytes) const noexcept {
    const long data = raw::detail::call(SYS_lseek, file_.get(), offset, SEEK_DATA);
    return data < 0 ? errno == ENXIO : static_cast<std::uint64_t>(data) >= offset + bytes;
}

Result<bool>
Region::reserve(std::uint32_t slot, std::uint64_t offset, std::uint64_t bytes) const noexcept {
    const std::uint64_t begin = offset_of(slot) + kSlotTablesBytes + offset;
    const bool fresh = is_hole(begin, bytes);
    SMCD_TRY_VOID(allocate(begin, bytes));
    return fresh;
}

Result<void> Region::reserve_tables(std::uint32_t slot) const noexcept {
    return allocate(offset_of(slot), kSlotTablesBytes);
}

std::uint64_t measure_read_rate(std::span<const std::byte> memory,
                                std::span<std::byte> copy) noexcept {
    constexpr int kTries = 8;
    const std::size_t bytes = std::min(memory.size(), copy.size());
    std::uint64_t best_ns = ~0ULL;
    for (int i = 0; i < kTries; ++i) {
        const std::uint64_t start = monotonic_ns();
        std::memcpy(copy.data(), memory.data(), bytes);
        std::atomic_signal_fence(std::memory_order_seq_cst); // the copy is not to be left out
        best_ns = std::min(best_ns, std::max<std::uint64_t>(monotonic_ns() - start, 1));
    }
    return bytes * kNsPerSecond / best_ns;
}

} // namespace smcd::dev::ivshmem
