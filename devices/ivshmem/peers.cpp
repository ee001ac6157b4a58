// The peer table. Floor 2, docs/shared-memory.md "regions".
#include "devices/ivshmem/peers.hpp"

#include <array>
#include <cstdio>
#include <cstring>

#include "smcd/base/high_fd.hpp"
#include "smcd/base/kernel_identity.hpp"
#include "smcd/base/random.hpp"
#include "smcd/base/raw_syscall.hpp"

namespace smcd::dev::ivshmem {
namespace {

/// Where the locks lie: no file of ours is that large.
constexpr off_t kLockBase = off_t{1} << 56U;

struct flock lock_of(std::uint64_t byte) noexcept {
    struct flock lock {};

    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = kLockBase + static_cast<off_t>(byte);
    lock.l_len = 1;
    return lock;
}

int lock_call(int fd, int command, struct flock& lock) noexcept {
    return raw::fcntl(fd, command, reinterpret_cast<long>(&lock));
}

void unlock(int fd, std::uint64_t byte) noexcept {
    struct flock lock = lock_of(byte);
    lock.l_type = F_UNLCK;
    static_cast<void>(lock_call(fd, F_OFD_SETLK, lock));
}

template <typename T>
void zero(std::atomic<T>& word) noexcept {
    word.store(0, std::memory_order_relaxed);
}

void clear_tables(SlotTables& tables) noexcept {
    for (ListenerEntry& listener : tables.listeners) {
        const auto old = Tagged<PeerState>::of(listener.status.load(std::memory_order_relaxed));
        listener.status.store(Tagged<PeerState>{old.number + 1, PeerState::free}.word(),
                              std::memory_order_relaxed);
    }
    for (unsigned door = 0; door < kDoorbellCount; ++door) {
        zero(tables.doors[door].epoch);
        zero(tables.doors[door].rung);
        zero(tables.signals.summary[door].words);
        for (auto& word : tables.signals.bits[door]) {
            zero(word);
        }
    }
}

std::array<std::uint64_t, 2> own_name() noexcept {
    std::array<char, 17> text{};
    const UniqueFd fd(raw::open("/proc/self/comm", O_RDONLY | O_CLOEXEC));
    if (fd.valid() && raw::read(fd.get(), text.data(), text.size() - 1) > 0) {
        if (char* end = std::strchr(text.data(), '\n'); end != nullptr) {
            *end = '\0';
        }
    }
    std::array<std::uint64_t, 2> words{};
    std::memcpy(words.data(), text.data(), sizeof(words));
    return words;
}

void introduce(PeerEntry& entry, const Introduction& own) noexcept {
    entry.kernel.store(own_kernel(), std::memory_order_relaxed);
    entry.group.store(own.group.value(), std::memory_order_relaxed);
    entry.pid.store(static_cast<std::uint32_t>(raw::getpid()), std::memory_order_relaxed);
    entry.listen.store(static_cast<std::uint32_t>(own.listen), std::memory_order_relaxed);
    entry.doorbell_id.store(own.doorbell_id, std::memory_order_relaxed);
    entry.rings_ids.store(own.rings_ids ? 1 : 0, std::memory_order_relaxed);
    entry.server_client.store(own.server_client ? *own.server_client + 1 : 0,
                              std::memory_order_relaxed);
    zero(entry.listeners_used);
    zero(entry.drained);
    zero(entry.dmbs);
    zero(entry.dmb_bytes);
    zero(entry.opened);
    const auto name = own_name();
    entry.name[0].store(name[0], std::memory_order_relaxed);
    entry.name[1].store(name[1], std::memory_order_relaxed);
}

/// Claims one slot if nobody has it.
bool claim_one(const Region& region,
               std::uint32_t slot,
               int lock_fd,
               std::uint32_t& epoch) noexcept {
    PeerEntry& entry = region.slot(slot).peer;
    if (!try_lock(lock_fd, slot)) {
        return false;
    }
    const std::uint64_t word = entry.status.load(std::memory_order_acquire);
    const auto status = Tagged<PeerState>::of(word);
    const bool unused = status.state == PeerState::free || status.state == PeerState::left;
    // We hold the lock, so an owner under our kernel is dead.
    const bool orphan = entry.kernel.load(std::memory_order_relaxed) == own_kernel();
    epoch = status.number + 1;
    std::uint64_t expected = word;
    // sync: peer-status
    if ((unused || orphan) && entry.status.compare_exchange_strong(
                                  expected, Tagged<PeerState>{epoch, PeerState::joining}.word())) {
        return true;
    }
    unlock(lock_fd, slot);
    return false;
}

} // namespace

Result<UniqueFd> reopen(int fd) noexcept {
    std::array<char, 32> path{};
    std::snprintf(path.data(), path.size(), "/proc/self/fd/%d", fd);
    UniqueFd again(raw::open(path.data(), O_RDWR | O_CLOEXEC));
    if (!again.valid()) {
        return errno_error();
    }
    return lift_fd(std::move(again));
}

bool try_lock(int fd, std::uint64_t byte) noexcept {
    struct flock lock = lock_of(byte);
    return lock_call(fd, F_OFD_SETLK, lock) == 0;
}

bool is_locked(int fd, std::uint64_t byte) noexcept {
    struct flock lock = lock_of(byte);
    return lock_call(fd, F_OFD_GETLK, lock) != 0 || lock.l_type != F_UNLCK;
}

void note_kernel(const Region& region) noexcept {
    RegionHeader& header = region.header();
    std::uint64_t first = 0;
    if (!header.first_kernel.compare_exchange_strong(first, own_kernel()) &&
        first != own_kernel()) {
        header.mixed.store(1, std::memory_order_relaxed);
    }
}

std::uint64_t own_kernel() noexcept {
    static const std::uint64_t kernel = [] {
        const KernelIdentity identity = kernel_identity();
        if (!identity.known) {
            return random_u64();
        }
        const std::uint64_t hash = boot_hash(identity);
        return hash == 0 ? 1 : hash;
    }();
    return kernel;
}

Result<OwnSlot> claim_slot(const Region& region, const Introduction& introduction) {
    OwnSlot own;
    SMCD_TRY(own.lock, reopen(region.file()));
    const std::uint32_t peers = region.peers();
    const std::uint32_t first = region.header().next_slot.fetch_add(1, std::memory_order_relaxed);
    for (std::uint32_t i = 0; i < peers; ++i) {
        const std::uint32_t slot = (first + i) % peers;
        if (!claim_one(region, slot, own.lock.get(), own.epoch)) {
            continue;
        }
        own.slot = slot;
        if (const auto reserved = region.reserve_tables(slot); !reserved) {
            leave_slot(region, own);
            return Error(reserved.error());
        }
        SlotTables& tables = region.slot(slot);
        clear_tables(tables);
        introduce(tables.peer, introduction);
        tables.peer.status.store(Tagged<PeerState>{own.epoch, PeerState::live}.word(),
                                 std::memory_order_release); // sync: peer-status
        return own;
    }
    return Error(std::errc::no_space_on_device);
}

void leave_slot(const Region& region, const OwnSlot& own) noexcept {
    region.slot(own.slot).peer.status.store(Tagged<PeerState>{own.epoch, PeerState::left}.word(),
                                            std::memory_order_release); // sync: peer-status
}

Peer read_peer(const Region& region, std::uint32_t slot) noexcept {
    const PeerEntry& entry = region.slot(slot).peer;
    const auto status = Tagged<PeerState>::of(entry.status.load(std::memory_order_acquire));
    Peer peer;
    peer.slot = slot;
    peer.epoch = status.number;
    peer.state = status.state;
    peer.kernel = entry.kernel.load(std::memory_order_relaxed);
    peer.group = LinkGroupId(entry.group.load(std::memory_order_relaxed));
    peer.pid = entry.pid.load(std::memory_order_relaxed);
    peer.listen = static_cast<Listen>(entry.listen.load(std::memory_order_relaxed));
    peer.doorbell_id = entry.doorbell_id.load(std::memory_order_relaxed);
    peer.rings_ids = entry.rings_ids.load(std::memory_order_relaxed) != 0;
    peer.drained = entry.drained.load(std::memory_order_relaxed) != 0;
    const std::uint32_t client = entry.server_client.load(std::memory_order_relaxed);
    if (client != 0) {
        peer.server_client = client - 1;
    }
    return peer;
}

std::optional<Peer> find_peer(const Region& region, LinkGroupId group, bool or_left) noexcept {
    if (group.value() == 0) {
        return std::nullopt;
    }
    for (std::uint32_t slot = 0; slot < region.peers(); ++slot) {
        const Peer peer = read_peer(region, slot);
        const bool there =
            peer.state == PeerState::live || (or_left && peer.state == PeerState::left);
        if (there && peer.group == group) {
            return peer;
        }
    }
    return std::nullopt;
}

bool is_gone(const Region& region, std::uint32_t slot, std::uint32_t epoch) noexcept {
    const Peer peer = read_peer(region, slot);
    if (peer.epoch != epoch || peer.state == PeerState::left || peer.state == PeerState::free) {
        return true;
    }
    return peer.kernel == own_kernel() && !is_locked(region.file(), slot);
}

} // namespace smcd::dev::ivshmem
