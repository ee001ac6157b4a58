// Layout of a DMB, as the kernel lays it out. Floor 2, docs/shared-memory.md.
//
//   offset  size  field          writer  reader  meaning
//        0     8  type           peer    -       byte 0 is 0xFE, the rest zero
//        8     8  producer       peer    owner   how far the peer has written this ring
//       16     8  consumer       peer    owner   how far the peer has read *its own* ring; carries the peer's flags
//       24     8  reserved
//       32   len-32  ring        peer    owner   stream bytes
//
// The owner never writes here: it tells its peer by writing into the peer's DMB.
// sync: data before producer before consumer (each store releases); the owner loads consumer, then producer (acquire).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

namespace smcd {

struct CdcArea {
    std::atomic<std::uint64_t> type;
    std::atomic<std::uint64_t> producer;
    std::atomic<std::uint64_t> consumer;
    std::atomic<std::uint64_t> reserved;
};
static_assert(sizeof(CdcArea) == 32 && offsetof(CdcArea, producer) == 8);
static_assert(offsetof(CdcArea, consumer) == 16);

/// A DMB seen as control area and ring; geometry is private, never read from the memory again.
struct DmbView {
    CdcArea* cdc = nullptr;
    std::byte* ring = nullptr;
    std::uint32_t ring_bytes = 0;
};

/// The only place that turns mapped bytes into a layout reference. memory: a whole DMB, at least 16 KiB, 8-byte aligned.
[[nodiscard]] inline DmbView view_dmb(std::span<std::byte> memory) noexcept {
    return {reinterpret_cast<CdcArea*>(memory.data()),
            memory.data() + sizeof(CdcArea),
            static_cast<std::uint32_t>(memory.size() - sizeof(CdcArea))};
}

}  // namespace smcd
