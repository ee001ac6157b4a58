// What a fabric server means to the device: its news, its restart, the end of the region. Floor 2,
// docs/fabric.md "Restart".
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "devices/ivshmem/impl.hpp"
#include "smcd/base/clock.hpp"
#include "smcd/base/log.hpp"

namespace smcd::dev {

using ivshmem::Listen;
using ivshmem::Peer;

namespace {

constexpr std::uint64_t kConnectNs = kNsPerSecond / 2;
/// How often a server that is not there is tried.
constexpr std::uint64_t kTryAgainMinNs = kNsPerSecond / 4;
constexpr std::uint64_t kTryAgainMaxNs = 4 * kNsPerSecond;

bool same_file(int a, int b) noexcept {
    struct stat first {};

    struct stat second {};

    return ::fstat(a, &first) == 0 && ::fstat(b, &second) == 0 && first.st_ino == second.st_ino &&
           first.st_dev == second.st_dev;
}

} // namespace

/// A memory file never has a name, and a device keeps it.
bool IvshmemDevice::Impl::has_name(int file) noexcept {
    struct stat info {};

    return ::fstat(file, &info) == 0 && S_ISREG(info.st_mode) && info.st_nlink > 0;
}

bool IvshmemDevice::Impl::is_region_gone() const noexcept {
    if (named_ && !gone_.load(std::memory_order_relaxed) && !has_name(region.file())) {
        gone_.store(true, std::memory_order_relaxed);
        SMCD_LOG(error, "fabric '%s': its region was removed", options.path.c_str());
    }
    return gone_.load(std::memory_order_relaxed);
}

/// Of several servers in a row, each knows who is connected to it alone.
bool IvshmemDevice::Impl::has_our_server(const Peer& peer) const noexcept {
    return server_client_ && peer.server_client &&
           ivshmem::id_block(*server_client_) == ivshmem::id_block(*peer.server_client);
}

bool IvshmemDevice::Impl::service() {
    const std::lock_guard guard(mutex_);
    const bool there = take_news();
    recheck_polling();
    return there;
}

bool IvshmemDevice::Impl::take_news() {
    if (server_ == nullptr || !server_->connected()) {
        return false;
    }
    if (!server_->service()) {
        server_fd_.store(-1, std::memory_order_release);
        return false;
    }
    return true;
}

/// A new connection to the server of our region. Nothing: there is none, or it serves another.
std::optional<ivshmem::ServerLink> IvshmemDevice::Impl::reach_server() noexcept {
    UniqueFd memory;
    auto link = ivshmem::ServerLink::connect(options.path, memory, kConnectNs);
    if (!link) {
        return std::nullopt;
    }
    if (!same_file(memory.get(), region.file())) {
        gone_.store(true, std::memory_order_relaxed);
        SMCD_LOG(error, "fabric '%s': its server has another region now", options.path.c_str());
        return std::nullopt;
    }
    return *std::move(link);
}

/// Peers that have heard of the new server ring us by the new id from now on; who has not, looks
/// into our entry and finds an id that it does not know: we look for its signals ourselves.
void IvshmemDevice::Impl::go_on_with(ivshmem::ServerLink link) {
    server_->adopt(std::move(link));
    server_fd_.store(server_->socket(), std::memory_order_release);
    if (own_group_ == LinkGroupId()) {
        return; // the entry is written when we join
    }
    server_client_ = server_->own_id();
    ivshmem::PeerEntry& entry = region.slot(own_.slot).peer;
    if (listen_ == Listen::eventfd) {
        entry.doorbell_id.store(server_->own_id(), std::memory_order_relaxed);
    }
    entry.rings_ids.store(1, std::memory_order_relaxed);
    entry.server_client.store(server_->own_id() + 1, std::memory_order_release);
    recheck_polling();
}

void IvshmemDevice::Impl::reconnect() {
    const std::uint64_t now = monotonic_ns();
    if (now < next_try_ns_) {
        return;
    }
    auto link = reach_server(); // without the lock: it may take a while
    if (!link) {
        try_again_ns_ = std::clamp(try_again_ns_ * 2, kTryAgainMinNs, kTryAgainMaxNs);
        next_try_ns_ = now + try_again_ns_;
        return;
    }
    try_again_ns_ = 0;
    const std::lock_guard guard(mutex_);
    go_on_with(*std::move(link));
}

void IvshmemDevice::Impl::look_after() {
    bool lost = false;
    {
        const std::lock_guard guard(mutex_);
        lost = server_ != nullptr && !take_news();
        recheck_polling();
    }
    if (lost && !is_region_gone()) {
        reconnect();
    }
    // What was rung by a peer that had just looked up our last id.
    forwarder->forward();
}

/// Which peers can ring us changes when they or we have reached another server.
void IvshmemDevice::Impl::recheck_polling() {
    if (own_group_ == LinkGroupId()) {
        return;
    }
    for (auto& [token, dmb] : local_) {
        const Peer peer = ivshmem::read_peer(region, dmb.peer_slot);
        // For what we inherited, peers ring the parent.
        if (dmb.slot != own_.slot || peer.epoch != dmb.peer_epoch) {
            continue;
        }
        const bool polls = !can_ring_us(peer);
        if (polls != dmb.peer_polls) {
            dmb.peer_polls = polls;
            polled_dmbs_ = polls ? polled_dmbs_ + 1 : polled_dmbs_ - 1;
        }
    }
    update_polling();
}

} // namespace smcd::dev
