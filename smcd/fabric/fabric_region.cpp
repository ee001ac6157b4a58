// The region of a fabric server. Floor 4, docs/fabric.md "region".
#include "smcd/fabric/fabric_region.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

namespace smcd::fabric {

using dev::ivshmem::Geometry;
using dev::ivshmem::kListenersMax;
using dev::ivshmem::ListenerEntry;
using dev::ivshmem::Peer;
using dev::ivshmem::PeerEntry;
using dev::ivshmem::PeerState;
using dev::ivshmem::Region;

namespace {

constexpr std::uint64_t kDefaultBytes = 256ULL << 20U;
constexpr mode_t kOwnerOnly = 0600;

Result<UniqueFd> lock_folder(const std::string& folder) {
    if (::mkdir(folder.c_str(), 0755) != 0 && errno != EEXIST) {
        return errno_error();
    }
    UniqueFd lock(::open((folder + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, kOwnerOnly));
    if (!lock.valid()) {
        return errno_error();
    }
    if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
        return Error(std::errc::device_or_resource_busy);
    }
    return lock;
}

/// The file, with its size; a new one is empty memory.
Result<UniqueFd> open_file(const std::string& path, const RegionOptions& options) {
    UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, kOwnerOnly));

    struct stat info {};

    if (!file.valid() || ::fstat(file.get(), &info) != 0) {
        return errno_error();
    }
    const auto present = static_cast<std::uint64_t>(info.st_size);
    const std::uint64_t wanted = options.bytes == 0 ? kDefaultBytes : options.bytes;
    if (present != 0 && options.bytes != 0 && present != options.bytes) {
        return Error(std::errc::invalid_argument);
    }
    if (present == 0) {
        const std::uint32_t peers =
            options.peers == 0 ? Geometry::default_peers(wanted) : options.peers;
        SMCD_TRY_VOID(Geometry::of(wanted, peers)); // before there is a file of a useless size
        if (::ftruncate(file.get(), static_cast<off_t>(wanted)) != 0) {
            return errno_error();
        }
    }
    return file;
}

template <std::size_t N>
std::string text_of(const std::array<std::atomic<std::uint64_t>, N>& words) {
    std::array<char, 8 * N + 1> text{};
    for (std::size_t i = 0; i < N; ++i) {
        const std::uint64_t word = words[i].load(std::memory_order_relaxed);
        std::memcpy(text.data() + 8 * i, &word, sizeof(word));
    }
    return text.data();
}

std::vector<ListenerView> listeners_of(const Region& region, const Peer& peer, bool same_kernel) {
    std::vector<ListenerView> views;
    const auto& tables = region.slot(peer.slot);
    const std::uint32_t used = tables.peer.listeners_used.load(std::memory_order_acquire);
    for (std::uint32_t i = 0; i < std::min(used, kListenersMax); ++i) {
        const ListenerEntry& entry = tables.listeners[i];
        const auto in_use =
            static_cast<std::uint32_t>(entry.status.load(std::memory_order_acquire));
        if (in_use != 1 ||
            (same_kernel &&
             !dev::ivshmem::is_locked(region.file(), dev::ivshmem::listener_byte(peer.slot, i)))) {
            continue;
        }
        std::array<std::uint64_t, 2> raw{entry.address[0].load(std::memory_order_relaxed),
                                         entry.address[1].load(std::memory_order_relaxed)};
        std::array<char, INET6_ADDRSTRLEN> text{};
        const int family = entry.family.load(std::memory_order_relaxed) == 4 ? AF_INET : AF_INET6;
        ::inet_ntop(family, raw.data(), text.data(), text.size());
        views.push_back({text.data(),
                         static_cast<std::uint16_t>(entry.port.load(std::memory_order_relaxed)),
                         text_of(entry.pnetid)});
    }
    return views;
}

} // namespace

Result<FabricRegion> FabricRegion::open(const RegionOptions& options) {
    FabricRegion fabric;
    SMCD_TRY(fabric.lock_, lock_folder(options.folder));
    fabric.path_ = options.folder + "/region";
    SMCD_TRY(UniqueFd file, open_file(fabric.path_, options));
    SMCD_TRY(const std::uint64_t bytes, dev::ivshmem::memory_bytes(file.get()));
    SMCD_TRY(fabric.region_, Region::open(std::move(file), bytes, options.peers));
    for (std::uint32_t slot = 0; slot < fabric.region_.peers(); ++slot) {
        SMCD_TRY_VOID(fabric.region_.reserve_tables(slot)); // we read them all
    }
    return fabric;
}

std::uint32_t FabricRegion::begin_run() {
    std::array<bool, dev::ivshmem::kIdBlocks> known{};
    for (std::uint32_t slot = 0; slot < region_.peers(); ++slot) {
        const Peer peer = dev::ivshmem::read_peer(region_, slot);
        if (peer.state == PeerState::live && peer.server_client) {
            known[dev::ivshmem::id_block(*peer.server_client) % known.size()] = true;
        }
    }
    std::uint32_t run = region_.header().server_runs.fetch_add(1, std::memory_order_relaxed);
    for (std::size_t tries = 0; tries < known.size() && known[run % known.size()]; ++tries) {
        run = region_.header().server_runs.fetch_add(1, std::memory_order_relaxed);
    }
    return run % dev::ivshmem::kIdBlocks * dev::ivshmem::kIdsPerBlock;
}

std::uint32_t FabricRegion::runs() const noexcept {
    return region_.header().server_runs.load(std::memory_order_relaxed);
}

std::vector<PeerView> FabricRegion::peers() const {
    std::vector<PeerView> views;
    for (std::uint32_t slot = 0; slot < region_.peers(); ++slot) {
        PeerView view;
        view.peer = dev::ivshmem::read_peer(region_, slot);
        if (view.peer.state == PeerState::free) {
            continue;
        }
        const PeerEntry& entry = region_.slot(slot).peer;
        view.same_kernel = view.peer.kernel == dev::ivshmem::own_kernel();
        view.dead = view.peer.state != PeerState::left &&
                    dev::ivshmem::is_gone(region_, slot, view.peer.epoch);
        view.name = text_of(entry.name);
        view.dmbs = entry.dmbs.load(std::memory_order_relaxed);
        view.dmb_bytes = entry.dmb_bytes.load(std::memory_order_relaxed);
        view.opened = entry.opened.load(std::memory_order_relaxed);
        if (view.peer.state == PeerState::live && !view.dead) {
            view.listeners = listeners_of(region_, view.peer, view.same_kernel);
        }
        views.push_back(std::move(view));
    }
    return views;
}

void FabricRegion::on_client_ended(std::uint32_t id) noexcept {
    for (std::uint32_t slot = 0; slot < region_.peers(); ++slot) {
        const Peer peer = dev::ivshmem::read_peer(region_, slot);
        if (peer.state != PeerState::live || peer.kernel == dev::ivshmem::own_kernel() ||
            peer.server_client != id) {
            continue;
        }
        using Status = dev::ivshmem::Tagged<PeerState>;
        std::uint64_t expected = Status{peer.epoch, PeerState::live}.word();
        // sync: peer-status. Unless the slot has changed hands meanwhile.
        region_.slot(slot).peer.status.compare_exchange_strong(
            expected, Status{peer.epoch, PeerState::left}.word());
    }
}

std::uint32_t FabricRegion::drain(const Whom& whom, bool undo) noexcept {
    const std::uint32_t value = undo ? 0 : 1;
    if (whom.everybody) {
        region_.header().drained.store(value, std::memory_order_release);
    }
    std::uint32_t count = 0;
    for (std::uint32_t slot = 0; slot < region_.peers(); ++slot) {
        const Peer peer = dev::ivshmem::read_peer(region_, slot);
        if (peer.state == PeerState::live &&
            (whom.everybody || whom.pid == peer.pid || whom.slot == slot)) {
            region_.slot(slot).peer.drained.store(value, std::memory_order_release);
            ++count;
        }
    }
    return count;
}

bool FabricRegion::drained() const noexcept {
    return region_.header().drained.load(std::memory_order_relaxed) != 0;
}

} // namespace smcd::fabric
