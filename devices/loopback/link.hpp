// Link: everything shared with one peer process. Floor 2, docs/shared-memory.md "links".
//
//   ours, made by us                          the peer's, received with its hello
//   signal area, the peer raises bits in it   peer_area: we raise bits in it
//   (mapped by SignalAreas at `place`)        peer_page: its doorbells' epochs, read-only
//                                             door_fds: its doorbells' eventfds, each of one
//                                             generation
//
// The tables are protected by the device's lock. signal() uses, without a lock, peer_area,
// peer_page, door_fds, door_generation and rung: they are complete before the first attachment
// through this link exists, and the link lives as long as one does.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <unordered_map>
#include <vector>

#include "devices/api/dmb.hpp"
#include "devices/api/doorbell.hpp"
#include "devices/loopback/link_socket.hpp"
#include "devices/loopback/signal_area.hpp"
#include "smcd/base/mapping.hpp"
#include "smcd/base/result.hpp"
#include "smcd/base/unique_fd.hpp"

namespace smcd::dev {

/// What the peer does with a DMB (spares.cpp has the drawing).
enum class PeerUse : std::uint32_t {
    none = 0, ///< not attached yet
    attached, ///< attached
    spare,    ///< detached, but mapped: the owner may reuse the memory
    gone,     ///< detached and not to be reused
    offered,  ///< the owner reuses the memory, its message is under way
};

/// The private page in front of each DMB. Both sides write it; a lie harms connections between the
/// same two alone.
struct DmbPage {
    Bells bells;
    std::atomic<PeerUse> use;
    std::atomic<std::uint32_t> dropped; ///< 1: the owner will not reuse the memory
};

inline constexpr std::size_t kDmbPageBytes = 4096;
static_assert(sizeof(DmbPage) <= kDmbPageBytes && std::is_standard_layout_v<DmbPage>);

/// Bytes of a DMB's memory file.
[[nodiscard]] constexpr std::size_t dmb_file_bytes(SizeClass size_class) noexcept {
    return kDmbPageBytes + dmb_size_bytes(size_class);
}

[[nodiscard]] inline DmbPage& page_of(const Mapping& file) noexcept {
    return *reinterpret_cast<DmbPage*>(file.data());
}

/// A peer's DMB that we were told about, mapped.
struct PeerDmb {
    Mapping file;
    SbaIndex index;
    SizeClass size_class;
    bool retired = false; ///< its owner unregistered it before we attached
    bool forked = false;  ///< a relative may use it too
};

/// Memory of a DMB that is registered, or attached, no more.
struct Spare {
    Mapping file;
    SizeClass size_class;
    DmbToken token;
};

/// Answer to "is the owner of this doorbell awake?".
enum class RingResult {
    not_needed,  ///< awake, or rung in this epoch already
    rung,        ///< woken
    unreachable, ///< asleep, and we hold no usable eventfd of its present owner
};

struct Link {
    Link() noexcept;
    Link(const Link&) = delete;
    Link& operator=(const Link&) = delete;
    ~Link();

    std::uint64_t serial = 0; ///< never reused; tag of the socket's events
    LinkGroupId peer;        ///< rendezvous of the peer; 0 until its hello, when it connected to us
    UniqueFd socket;         ///< invalid: the peer is gone, or misbehaved
    PeerIdentity process;    ///< who is at the other end
    bool greeted = false;    ///< the peer's hello is here
    bool outgoing = false;   ///< made by our connect(): the peer is who has the name
    bool inherited = false;  ///< from before fork(): the parent reads the socket
    bool to_self = false;    ///< the peer is this process: its doorbells are ours
    std::uint32_t place = 0; ///< of our signal area

    std::uint64_t impatient_until_ns = 0; ///< until then nobody waits for room in its queue
    std::size_t local_dmbs = 0;           ///< our DMBs registered for this peer
    std::size_t attachments = 0;          ///< the peer's DMBs attached
    std::unordered_map<std::uint64_t, PeerDmb> pending; ///< by token: known, not attached
    std::deque<std::uint64_t> retired;                  ///< tokens in `pending`, oldest first
    std::size_t retired_bytes = 0;                      ///< of these
    std::vector<Spare> own_spares;  ///< of our DMBs; the peer may have them mapped. Oldest first
    std::vector<Spare> peer_spares; ///< of the peer's DMBs. Oldest first

    Mapping peer_area_file;
    Mapping peer_page_file;
    Mapping peer_status_file; ///< bus: what the peer shows; empty: nothing
    std::array<std::atomic<int>, kDoorbellCount> door_fds;
    std::array<std::atomic<std::uint32_t>, kDoorbellCount> door_generation{}; ///< of door_fds
    std::array<std::atomic<std::uint32_t>, kDoorbellCount> rung{}; ///< last epoch in which we rang
    std::array<std::atomic<std::uint32_t>, kDoorbellCount>
        sent_generation{}; ///< of our doorbells; 0: never sent

    [[nodiscard]] bool connected() const noexcept { return socket.valid(); }

    [[nodiscard]] bool in_use() const noexcept { return local_dmbs != 0 || attachments != 0; }

    [[nodiscard]] const DoorbellLine& peer_line(unsigned door) const noexcept {
        return reinterpret_cast<const DoorbellLine*>(peer_page_file.data())[door];
    }

    [[nodiscard]] SignalArea& peer_area() const noexcept {
        return *reinterpret_cast<SignalArea*>(peer_area_file.data());
    }

    /// Raises the bit and, when the owner sleeps, rings. Thread: any; no lock, no allocation.
    RingResult signal(unsigned door, SbaIndex index) noexcept;
    /// Writes the eventfd, when we have the present one: a peer and its children share the
    /// doorbells, and the one of an index may be another's since, whose message is still under way.
    RingResult write_doorbell(unsigned door) noexcept;
    /// Takes an eventfd of the peer's; replaces the old one under its number, since signal() may be
    /// using that.
    void install_doorbell(unsigned door, UniqueFd event_fd, std::uint32_t generation) noexcept;
};

/// Whether writing 8 bytes to the descriptor can neither block nor reach a file: a non-blocking
/// eventfd.
[[nodiscard]] bool is_doorbell(int fd) noexcept;

} // namespace smcd::dev
