// Region: one mapping of the memory that machines share, its geometry checked. Floor 2.
// docs/shared-memory.md "regions".
#pragma once

#include <cstdint>
#include <span>

#include "devices/ivshmem/layout.hpp"
#include "smcd/base/ids.hpp"
#include "smcd/base/limits.hpp"
#include "smcd/base/mapping.hpp"
#include "smcd/base/result.hpp"
#include "smcd/base/unique_fd.hpp"

namespace smcd::dev::ivshmem {

/// Where everything lies; private memory.
struct Geometry {
    std::uint64_t bytes = 0; ///< of the region
    std::uint32_t peers = 0;
    std::uint64_t stride = 0;      ///< from slot to slot
    std::uint64_t slice_bytes = 0; ///< of each peer

    /// EINVAL: no room for the tables and one small DMB per peer, or too many or too few peers.
    [[nodiscard]] static Result<Geometry> of(std::uint64_t bytes, std::uint32_t peers) noexcept;
    /// Number of slots that suits a region of that size.
    [[nodiscard]] static std::uint32_t default_peers(std::uint64_t bytes) noexcept;
};

class Region {
public:
    Region() = default;

    /// Maps `bytes` of `file`; a blank region is formatted for `peers` slots (0: what suits its
    /// size). The descriptor is kept: it holds the locks. Errors: EPROTO (not a region of ours, or
    /// damaged), EAGAIN (somebody began to format it and did not end within a second), EINVAL,
    /// those of mmap().
    [[nodiscard]] static Result<Region>
    open(UniqueFd file, std::uint64_t bytes, std::uint32_t peers);

    [[nodiscard]] const Geometry& geometry() const noexcept { return geometry_; }

    [[nodiscard]] Gid uuid() const noexcept { return uuid_; }

    [[nodiscard]] int file() const noexcept { return file_.get(); }

    [[nodiscard]] std::uint32_t peers() const noexcept { return geometry_.peers; }

    [[nodiscard]] RegionHeader& header() const noexcept {
        return *reinterpret_cast<RegionHeader*>(mapping_.data());
    }

    /// Tables of a slot; `slot` must be below peers().
    [[nodiscard]] SlotTables& slot(std::uint32_t slot) const noexcept {
        return *reinterpret_cast<SlotTables*>(mapping_.data() + offset_of(slot));
    }

    [[nodiscard]] std::span<std::byte> slice(std::uint32_t slot) const noexcept {
        return mapping_.bytes().subspan(offset_of(slot) + kSlotTablesBytes, geometry_.slice_bytes);
    }

    /// Makes sure that the pages of a range of the slice exist, so that touching them cannot fail.
    /// True: none did, so they are zero. ENOMEM: the file system or the machine has no more.
    /// Nothing to do on device memory.
    [[nodiscard]] Result<bool>
    reserve(std::uint32_t slot, std::uint64_t offset, std::uint64_t bytes) const noexcept;
    /// The same for the tables of a slot.
    [[nodiscard]] Result<void> reserve_tables(std::uint32_t slot) const noexcept;

private:
    [[nodiscard]] std::uint64_t offset_of(std::uint32_t slot) const noexcept {
        return kHeaderBytes + geometry_.stride * slot;
    }

    [[nodiscard]] bool is_hole(std::uint64_t offset, std::uint64_t bytes) const noexcept;
    [[nodiscard]] Result<void> allocate(std::uint64_t offset, std::uint64_t bytes) const noexcept;
    [[nodiscard]] Result<void> format(std::uint32_t peers) noexcept;
    void await_header() const noexcept;
    [[nodiscard]] Result<void> read_header() noexcept;

    UniqueFd file_;
    Mapping mapping_;
    Geometry geometry_;
    Gid uuid_;
};

/// Bytes of the memory behind a descriptor: a file, a PCI resource, or a devdax node. EINVAL: none.
[[nodiscard]] Result<std::uint64_t> memory_bytes(int fd) noexcept;

/// Best rate of a few copies out of `memory`, in bytes per second. An uncached mapping shows when
/// it is read; nothing is written, since the memory may be in use.
[[nodiscard]] std::uint64_t measure_read_rate(std::span<const std::byte> memory,
                                              std::span<std::byte> copy) noexcept;

} // namespace smcd::dev::ivshmem
