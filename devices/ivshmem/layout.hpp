// Layout of an ivshmem region: what machines share. Floor 2, docs/shared-memory.md "regions".
//
//   offset 0           RegionHeader, one page
//   4096 + i * stride  slot i: SlotTables (84 KiB), then the slice of its peer
//
// A slot belongs to one peer, a process that joined. Only the owner of a slot writes it, but for:
// signal bits and the bell (every peer raises them), DirEntry::status (the writer of that DMB says
// that it attached and detached), `drained` (an administrator), and the memory of the DMBs.
//
// Any peer can write any byte at any time. A field is loaded once, into a copy in private memory,
// and the copy is validated; offsets and sizes in it are checked against Geometry, which is derived
// from the size of our own mapping and lives in private memory. All words are little-endian.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "devices/api/bells.hpp"
#include "devices/api/doorbell.hpp"

namespace smcd::dev::ivshmem {

inline constexpr std::uint64_t kMagic = 0x31764D4853444D53; ///< "SMDSHMv1"
inline constexpr std::uint32_t kVersion = 1;
inline constexpr std::uint32_t kPeersMin = 2;
inline constexpr std::uint32_t kPeersMax = 1024;
inline constexpr std::uint32_t kDirectorySize = 1024; ///< DMBs of one peer at once
inline constexpr std::uint32_t kListenersMax = 60;    ///< announced addresses of one peer at once

enum class RegionState : std::uint32_t { blank = 0, being_written = 1, ready = 2 };

struct RegionHeader {
    std::atomic<std::uint64_t> magic;
    std::atomic<std::uint32_t> state; ///< RegionState
    std::atomic<std::uint32_t> version;
    std::atomic<std::uint64_t> uuid_high; ///< the fabric's GID
    std::atomic<std::uint64_t> uuid_low;
    std::atomic<std::uint64_t> bytes;        ///< of the region
    std::atomic<std::uint32_t> peers;        ///< number of slots
    std::atomic<std::uint32_t> next_slot;    ///< a hint: where a newcomer begins to look
    std::atomic<std::uint64_t> first_kernel; ///< of the first peer
    std::atomic<std::uint32_t> mixed;        ///< 1: peers of several kernels have joined
    std::atomic<std::uint32_t> server_runs;  ///< how often a fabric server has begun to serve it
    std::atomic<std::uint32_t> drained;      ///< 1: an administrator wants no new DMBs anywhere
};

inline constexpr std::size_t kHeaderBytes = 4096;
static_assert(sizeof(RegionHeader) <= kHeaderBytes);

enum class PeerState : std::uint32_t {
    free = 0,
    joining = 1,
    live = 2,
    left = 3, ///< gone in order; its directory still stands
};

/// How a peer hears that one of its doorbells was signalled.
enum class Listen : std::uint32_t {
    poll = 0,    ///< it looks by itself
    futex = 1,   ///< sleeps on `bell`: reached by peers under the same kernel
    eventfd = 2, ///< its ivshmem eventfd: reached by whoever can ring `doorbell_id`
};

struct alignas(256) PeerEntry {
    std::atomic<std::uint64_t> status; ///< epoch << 32 | PeerState; the epoch grows at each claim
    std::atomic<std::uint64_t> kernel; ///< digest of the boot id
    std::atomic<std::uint32_t> group;  ///< LinkGroupId of the process
    std::atomic<std::uint32_t> pid;
    std::atomic<std::uint32_t> listen;         ///< Listen
    std::atomic<std::uint32_t> doorbell_id;    ///< ivshmem id; means something for Listen::eventfd
    std::atomic<std::uint32_t> rings_ids;      ///< 1: can ring any ivshmem id
    std::atomic<std::uint32_t> bell;           ///< futex word for Listen::futex
    std::atomic<std::uint32_t> directory_used; ///< entries behind it are unused
    std::atomic<std::uint32_t> listeners_used;
    std::atomic<std::uint32_t> drained; ///< 1: an administrator wants no new DMBs here
    std::atomic<std::uint32_t> dmbs;
    std::atomic<std::uint64_t> dmb_bytes;
    std::atomic<std::uint64_t> opened;              ///< DMBs ever registered
    std::atomic<std::uint64_t> beat;                ///< grows while the peer runs and listens
    std::array<std::atomic<std::uint64_t>, 2> name; ///< of the program, NUL padded
    /// Id of the connection to a fabric server that the peer depends on, or its machine does, plus
    /// one; 0: none.
    std::atomic<std::uint32_t> server_client;
};

/// A fabric server that is started anew gives out ids of another block: within one block, both ends
/// know each other by the same server.
[[nodiscard]] constexpr std::uint32_t id_block(std::uint32_t ivshmem_id) noexcept {
    constexpr std::uint32_t kBlockBits = 11;
    return ivshmem_id >> kBlockBits;
}

inline constexpr std::uint32_t kIdsPerBlock = 2048;
inline constexpr std::uint32_t kIdBlocks = 32;

struct alignas(64) ListenerEntry {
    std::atomic<std::uint64_t> status;                 ///< generation << 32 | 1 when in use
    std::atomic<std::uint32_t> family;                 ///< 4 or 6
    std::atomic<std::uint32_t> port;                   ///< host order
    std::array<std::atomic<std::uint64_t>, 2> address; ///< network order bytes; IPv4: the first 4
    std::array<std::atomic<std::uint64_t>, 2> pnetid;  ///< NUL padded
};

/// Who uses a DMB.
enum class DmbUse : std::uint32_t {
    none = 0,
    offered = 1, ///< its writer may attach it
    attached = 2,
    detached = 3, ///< the writer is through with it
    revoked = 4,  ///< the owner took it back before anybody attached
};

struct alignas(64) DirEntry {
    std::atomic<std::uint64_t> status; ///< generation << 32 | DmbUse
    std::atomic<std::uint64_t> token;
    std::atomic<std::uint64_t> offset; ///< in the slice: the private page, then the DMB
    std::atomic<std::uint32_t> size_class;
    std::atomic<std::uint32_t> writer_slot; ///< who may attach
    std::atomic<std::uint32_t> writer_epoch;
};

/// A doorbell of the owner, as its peers see it.
struct alignas(64) DoorLine {
    std::atomic<std::uint32_t> epoch; ///< odd: asleep
    std::atomic<std::uint32_t> rung;  ///< set by peers, taken by the owner: it is to be woken
};

inline constexpr std::size_t kWordBits = 64;
inline constexpr std::size_t kIndexWords = kDirectorySize / kWordBits;

/// Signal bits for one peer: raised by all others, from the bottom up, harvested from the top down.
struct alignas(64) SignalBits {
    struct alignas(64) Summary {
        std::atomic<std::uint64_t> words; ///< bit w: bits[door][w] may be set
    };

    std::array<Summary, kDoorbellCount> summary;
    std::array<std::array<std::atomic<std::uint64_t>, kIndexWords>, kDoorbellCount> bits;
};

struct SlotTables {
    PeerEntry peer;
    std::array<ListenerEntry, kListenersMax> listeners;
    std::array<DoorLine, kDoorbellCount> doors;
    SignalBits signals;
    std::array<DirEntry, kDirectorySize> directory;
};

inline constexpr std::size_t kSlotTablesBytes = sizeof(SlotTables);
static_assert(sizeof(PeerEntry) == 256 && offsetof(SlotTables, doors) == 4096);
static_assert(offsetof(SlotTables, signals) == 8192 && offsetof(SlotTables, directory) == 20480);
static_assert(kSlotTablesBytes == 86016 && kSlotTablesBytes % 4096 == 0);
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

/// A number and a state in one word, so that both change at once.
template <typename State>
struct Tagged {
    std::uint32_t number = 0;
    State state{};

    [[nodiscard]] constexpr std::uint64_t word() const noexcept {
        return std::uint64_t{number} << 32U | static_cast<std::uint32_t>(state);
    }

    [[nodiscard]] static constexpr Tagged of(std::uint64_t word) noexcept {
        return {static_cast<std::uint32_t>(word >> 32U),
                static_cast<State>(static_cast<std::uint32_t>(word))};
    }

    friend bool operator==(const Tagged&, const Tagged&) = default;
};

} // namespace smcd::dev::ivshmem
