// The peer table: joining, leaving, finding others, and telling who is dead. Floor 2,
// docs/shared-memory.md "regions".
//
// A slot is claimed by one compare-and-exchange of {epoch, state}, so that machines need no lock.
// Within one kernel each owner also holds an OFD lock beyond the end of the file, at the slot's
// number; the kernel drops it when the last process of the family (fork) has ended, whatever the
// reason. A slot of our kernel without a lock belongs to the dead and may be taken; a slot of
// another kernel is never judged: a paused machine looks just like a dead one.
#pragma once

#include <cstdint>
#include <optional>

#include "devices/ivshmem/region.hpp"

namespace smcd::dev::ivshmem {

/// A PeerEntry, copied.
struct Peer {
    std::uint32_t slot = 0;
    std::uint32_t epoch = 0;
    PeerState state = PeerState::free;
    std::uint64_t kernel = 0;
    LinkGroupId group;
    std::uint32_t pid = 0;
    Listen listen = Listen::poll;
    std::uint32_t doorbell_id = 0;
    bool rings_ids = false;
    bool drained = false;
    std::optional<std::uint32_t> server_client; ///< its id there; nothing: no server knows it
};

/// Digest of the boot id: equal for all processes under one kernel. Never 0.
[[nodiscard]] std::uint64_t own_kernel() noexcept;

/// Notes in the header whether peers of several kernels share the region.
void note_kernel(const Region& region) noexcept;

// Locks beyond the end of the file, one byte each: slots, and behind them announced listeners.

/// An open file description of our own: a descriptor that somebody passed shares its locks with
/// theirs.
[[nodiscard]] Result<UniqueFd> reopen(int fd) noexcept;
[[nodiscard]] bool try_lock(int fd, std::uint64_t byte) noexcept;
/// Whether some other open file description holds it.
[[nodiscard]] bool is_locked(int fd, std::uint64_t byte) noexcept;

[[nodiscard]] constexpr std::uint64_t listener_byte(std::uint32_t slot,
                                                    std::uint32_t number) noexcept {
    return kPeersMax + std::uint64_t{slot} * kListenersMax + number;
}

/// What a newcomer writes into its entry.
struct Introduction {
    LinkGroupId group;
    Listen listen = Listen::poll;
    std::uint32_t doorbell_id = 0;
    bool rings_ids = false;
    std::optional<std::uint32_t> server_client;
};

/// Our slot. The lock's descriptor keeps it ours; children of fork() inherit that.
struct OwnSlot {
    std::uint32_t slot = 0;
    std::uint32_t epoch = 0;
    UniqueFd lock;
};

/// Joins: claims a slot, clears its tables but for the directory, and goes live. ENOSPC: no slot is
/// free; those of opening the file once more.
[[nodiscard]] Result<OwnSlot> claim_slot(const Region& region, const Introduction& introduction);
/// Leaves in order: the directory still stands, until somebody claims the slot.
void leave_slot(const Region& region, const OwnSlot& own) noexcept;

[[nodiscard]] Peer read_peer(const Region& region, std::uint32_t slot) noexcept;
/// The peer with that group that is live (or has left, when asked for).
[[nodiscard]] std::optional<Peer>
find_peer(const Region& region, LinkGroupId group, bool or_left) noexcept;
/// Whether the process with that epoch is certainly gone. One system call for a peer of our kernel
/// that looks alive.
[[nodiscard]] bool is_gone(const Region& region, std::uint32_t slot, std::uint32_t epoch) noexcept;

} // namespace smcd::dev::ivshmem
