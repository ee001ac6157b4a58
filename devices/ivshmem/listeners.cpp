// Where peers listen: how connections between network namespaces and machines find each other.
// Floor 2, docs/discovery.md "fabric".
//
// An entry holds while somebody has the listener open. Under one kernel that is a lock, inherited
// by fork() and dropped by the kernel with the last holder. A peer on another machine cannot see
// locks; it wants to see the owner's beat grow before it believes an entry.
#include <algorithm>
#include <cstring>

#include "devices/ivshmem/impl.hpp"
#include "smcd/base/clock.hpp"
#include "smcd/base/raw_syscall.hpp"

namespace smcd::dev {

using ivshmem::kListenersMax;
using ivshmem::ListenerEntry;
using ivshmem::Peer;

namespace {

enum class InUse : std::uint32_t { no = 0, yes = 1 };
using ListenerStatus = ivshmem::Tagged<InUse>;

constexpr std::uint64_t kBeatNs = 100 * kNsPerMs;
constexpr std::uint64_t kSlowBeatNs = kNsPerSecond; ///< while nobody of another kernel is there
constexpr std::uint64_t kBeatFreshNs = 500 * kNsPerMs;
constexpr std::uint64_t kBeatWaitNs = 2 * kNsPerSecond;
constexpr std::uint64_t kBeatLookNs = 5 * kNsPerMs;

using Words = std::array<std::uint64_t, 2>;

Words words_of(const void* bytes, std::size_t count) noexcept {
    Words words{};
    std::memcpy(words.data(), bytes, std::min(count, sizeof(words)));
    return words;
}

void store(std::array<std::atomic<std::uint64_t>, 2>& to, const Words& from) noexcept {
    to[0].store(from[0], std::memory_order_relaxed);
    to[1].store(from[1], std::memory_order_relaxed);
}

Words load(const std::array<std::atomic<std::uint64_t>, 2>& from) noexcept {
    return {from[0].load(std::memory_order_relaxed), from[1].load(std::memory_order_relaxed)};
}

ListenerStatus status_of(const ListenerEntry& entry) noexcept {
    return ListenerStatus::of(entry.status.load(std::memory_order_acquire)); // sync: listener
}

bool is_at(const ListenerEntry& entry, const AnnouncedAddress& address) noexcept {
    return status_of(entry).state == InUse::yes &&
           entry.family.load(std::memory_order_relaxed) == address.family &&
           entry.port.load(std::memory_order_relaxed) == address.port &&
           load(entry.address) == words_of(address.address.data(), address.address.size());
}

void pause(std::uint64_t ns) noexcept {
    const std::atomic<std::uint32_t> nobody{0};
    const timespec limit{0, static_cast<long>(ns)};
    raw::futex_wait(nobody, 0, &limit);
}

} // namespace

void IvshmemDevice::Impl::write_listener(std::uint32_t number,
                                         const AnnouncedAddress& address) noexcept {
    ivshmem::SlotTables& tables = region.slot(own_.slot);
    ListenerEntry& entry = tables.listeners[number];
    const std::uint32_t generation = status_of(entry).number + 1;
    entry.status.store(ListenerStatus{generation, InUse::no}.word(), std::memory_order_release);
    entry.family.store(address.family, std::memory_order_relaxed);
    entry.port.store(address.port, std::memory_order_relaxed);
    store(entry.address, words_of(address.address.data(), address.address.size()));
    store(entry.pnetid, words_of(options.pnetid.data(), options.pnetid.size()));
    entry.status.store(ListenerStatus{generation, InUse::yes}.word(),
                       std::memory_order_release); // sync: listener
    auto& used = tables.peer.listeners_used;
    used.store(std::max(used.load(std::memory_order_relaxed), number + 1),
               std::memory_order_release);
}

Result<UniqueFd> IvshmemDevice::Impl::announce(std::span<const AnnouncedAddress> addresses) {
    withdraw_unheld();
    const std::lock_guard guard(mutex_);
    SMCD_TRY_VOID(join());
    SMCD_TRY_VOID(run_forwarder());
    SMCD_TRY(UniqueFd lease, ivshmem::reopen(region.file()));
    std::uint32_t number = 0;
    for (const AnnouncedAddress& address : addresses) {
        while (number < kListenersMax &&
               (status_of(region.slot(own_.slot).listeners[number]).state == InUse::yes ||
                !ivshmem::try_lock(lease.get(), ivshmem::listener_byte(own_.slot, number)))) {
            ++number;
        }
        if (number == kListenersMax) {
            return Error(std::errc::no_space_on_device); // what was written goes with the lease
        }
        write_listener(number, address);
    }
    const bool mixed =
        point_.device_memory || region.header().mixed.load(std::memory_order_relaxed) != 0;
    forwarder->set_beat(mixed ? kBeatNs : kSlowBeatNs);
    return lease;
}

void IvshmemDevice::Impl::withdraw_unheld() noexcept {
    const std::lock_guard guard(mutex_);
    const std::size_t count = members_count_.load(std::memory_order_acquire);
    for (std::size_t i = 0; i < count; ++i) {
        const std::uint32_t slot = members_[i].slot;
        for (std::uint32_t number = 0; number < kListenersMax; ++number) {
            ListenerEntry& entry = region.slot(slot).listeners[number];
            const ListenerStatus status = status_of(entry);
            if (status.state == InUse::yes &&
                !ivshmem::is_locked(region.file(), ivshmem::listener_byte(slot, number))) {
                entry.status.store(ListenerStatus{status.number, InUse::no}.word(),
                                   std::memory_order_release); // sync: listener
            }
        }
    }
}

/// Whether a peer on another machine has shown lately that it runs.
bool IvshmemDevice::Impl::beats(const Peer& peer) {
    const auto& shared = region.slot(peer.slot).peer.beat;
    const std::uint64_t start = monotonic_ns();
    Beat& seen = beats_[peer.slot];
    if (seen.epoch == peer.epoch && start - seen.seen_ns < kBeatFreshNs) {
        return true;
    }
    const std::uint64_t before = shared.load(std::memory_order_relaxed);
    static_cast<void>(ring(routes_[peer.slot])); // who hears us beats at once
    std::uint64_t now = start;
    while (shared.load(std::memory_order_relaxed) == before) {
        if (now - start > kBeatWaitNs) {
            return false;
        }
        pause(kBeatLookNs);
        now = monotonic_ns();
    }
    seen = {peer.epoch, before + 1, now};
    return true;
}

bool IvshmemDevice::Impl::listens(const Peer& peer, std::uint32_t number) {
    if (peer.kernel == ivshmem::own_kernel()) {
        return ivshmem::is_locked(region.file(), ivshmem::listener_byte(peer.slot, number));
    }
    return beats(peer);
}

IvshmemDevice::Found IvshmemDevice::Impl::find_listener(const AnnouncedAddress& address) {
    const std::lock_guard guard(mutex_);
    if (is_region_gone()) {
        return Found::gone;
    }
    if (!join()) {
        return Found::no;
    }
    const Words own_network = words_of(options.pnetid.data(), options.pnetid.size());
    Found found = Found::no;
    for (std::uint32_t slot = 0; slot < region.peers(); ++slot) {
        const Peer peer = ivshmem::read_peer(region, slot);
        const ivshmem::SlotTables& tables = region.slot(slot);
        const std::uint32_t used = peer.state == ivshmem::PeerState::live
                                       ? tables.peer.listeners_used.load(std::memory_order_acquire)
                                       : 0;
        for (std::uint32_t i = 0; i < std::min(used, kListenersMax); ++i) {
            const ListenerEntry& entry = tables.listeners[i];
            if (!is_at(entry, address) || !listens(peer, i)) {
                continue;
            }
            if (load(entry.pnetid) == own_network) {
                return Found::yes;
            }
            found = Found::other_network;
        }
    }
    return found;
}

} // namespace smcd::dev
