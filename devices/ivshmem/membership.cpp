// Joining the region, and fork. Floor 2, docs/shared-memory.md "regions".
#include <sys/stat.h>

#include <utility>

#include "devices/ivshmem/impl.hpp"
#include "smcd/base/error.hpp"
#include "smcd/base/random.hpp"
#include "smcd/base/raw_syscall.hpp"

namespace smcd::dev {

using ivshmem::Listen;
using ivshmem::Peer;

namespace {

/// Device memory has no pages that the kernel could key a futex on: EFAULT.
bool try_futex(const std::atomic<std::uint32_t>& word) noexcept {
    const timespec at_once{0, 1};
    const std::uint32_t other = word.load(std::memory_order_relaxed) + 1;
    return raw::futex_wait(word, other, &at_once) == 0 || errno != EFAULT;
}

} // namespace

IvshmemDevice::Impl::Impl(DoorbellTable& doorbell_table,
                          IvshmemOptions wanted,
                          ivshmem::AttachPoint attach_point,
                          ivshmem::Region opened)
    : doorbells(doorbell_table), options(std::move(wanted)), region(std::move(opened)),
      forwarder(std::make_unique<ivshmem::Forwarder>(
          doorbells, [this](unsigned door) { return take_ring(door); })),
      point_(std::move(attach_point)), named_(has_name(region.file())),
      routes_(std::make_unique<Route[]>(region.peers())) {
    futexes_work_ = !point_.device_memory && try_futex(region.header().next_slot);
    for (std::uint32_t slot = 0; slot < region.peers(); ++slot) {
        routes_[slot].slot = slot;
    }
    if (point_.server.connected()) {
        server_fd_.store(point_.server.socket(), std::memory_order_release);
        server_ = std::make_unique<ivshmem::ServerLink>(std::move(point_.server));
    }
}

IvshmemDevice::Impl::~Impl() {
    doorbells.remove_observer(*this);
    forwarder->stop();
    if (own_group_ != LinkGroupId()) {
        ivshmem::leave_slot(region, own_);
    }
}

bool IvshmemDevice::Impl::shares_futexes(const Peer& peer) const noexcept {
    return futexes_work_ && peer.kernel == ivshmem::own_kernel();
}

bool IvshmemDevice::Impl::can_ring_us(const Peer& peer) const noexcept {
    return (listen_ == Listen::futex && shares_futexes(peer)) ||
           (listen_ == Listen::eventfd && peer.rings_ids && has_our_server(peer));
}

/// How peers are to ring us.
ivshmem::Introduction IvshmemDevice::Impl::introduction() {
    ivshmem::Introduction own;
    own.group = LinkGroupId(preferred_group.exchange(0, std::memory_order_relaxed));
    while (own.group == LinkGroupId() || ivshmem::find_peer(region, own.group, true)) {
        own.group = LinkGroupId(random_u32());
    }
    const bool served = server_ != nullptr && server_->own_eventfd() >= 0;
    if (served) {
        own.listen = Listen::eventfd;
        own.doorbell_id = server_->own_id();
    } else if (futexes_work_) {
        own.listen = Listen::futex;
    }
    own.rings_ids = served || point_.registers;
    if (served) {
        own.server_client = server_->own_id();
    } else if (point_.registers) {
        own.server_client = ivshmem::read_own_id(point_.registers);
    }
    return own;
}

Result<void> IvshmemDevice::Impl::join() {
    if (own_group_ != LinkGroupId()) {
        return {};
    }
    if (!holders_) {
        SMCD_TRY(holders_,
                 Mapping::map_anonymous_shared(sizeof(Holders) * 2 * std::size_t{region.peers()}));
    }
    if (members_count_.load(std::memory_order_relaxed) == members_.size()) {
        return Error(std::errc::no_space_on_device);
    }
    if (is_region_gone()) {
        return engine_error(Errc::fabric_gone);
    }
    if (server_ != nullptr && server_->own_eventfd() < 0) {
        if (auto link = reach_server(); link) { // a child of fork()
            go_on_with(*std::move(link));
        }
    }
    const ivshmem::Introduction own = introduction();
    SMCD_TRY(own_, ivshmem::claim_slot(region, own));
    own_group_ = own.group;
    listen_ = own.listen;
    server_client_ = own.server_client;
    slice_ = ivshmem::SliceAllocator(region.geometry().slice_bytes);
    adopt_directory();
    if (members_count_.load(std::memory_order_relaxed) == 0) {
        doorbells.add_observer(*this);
    }
    add_member(own_.slot, own_.epoch);
    ivshmem::note_kernel(region);
    return {};
}

void IvshmemDevice::Impl::add_member(std::uint32_t slot, std::uint32_t epoch) noexcept {
    const std::size_t count = members_count_.load(std::memory_order_relaxed);
    members_[count] = {slot, epoch};
    members_count_.store(count + 1, std::memory_order_release); // sync: region-member
    auto& doors = region.slot(slot).doors;
    for (unsigned door = 0; door < kDoorbellCount; ++door) {
        // A sleeper may be writing both at this moment: until they agree.
        std::uint32_t now = 0;
        do {
            now = doorbells.epoch(door);
            doors[door].epoch.store(now, std::memory_order_seq_cst);
        } while (doorbells.epoch(door) != now);
    }
}

bool IvshmemDevice::Impl::is_mine(std::uint32_t slot) const noexcept {
    const std::size_t count = members_count_.load(std::memory_order_acquire);
    for (std::size_t i = 0; i < count; ++i) {
        if (members_[i].slot == slot) {
            return true;
        }
    }
    return false;
}

bool IvshmemDevice::Impl::is_gone(std::uint32_t slot, std::uint32_t epoch) const noexcept {
    if (is_mine(slot)) {
        return false; // our own lock does not stand in our way
    }
    if (ivshmem::is_gone(region, slot, epoch)) {
        return true;
    }
    // Of another machine only the server knows, by the end of its virtual machine.
    const Peer peer = ivshmem::read_peer(region, slot);
    return peer.kernel != ivshmem::own_kernel() && has_our_server(peer) && server_ != nullptr &&
           server_->connected() && server_->service() && !server_->knows(*peer.server_client);
}

Result<LinkGroupId> IvshmemDevice::Impl::link_group_id() {
    const std::lock_guard guard(mutex_);
    SMCD_TRY_VOID(join());
    if (is_region_gone()) {
        return engine_error(Errc::fabric_gone);
    }
    return own_group_;
}

bool IvshmemDevice::Impl::has_link(LinkGroupId remote) {
    const std::lock_guard guard(mutex_);
    const auto peer = ivshmem::find_peer(region, remote, false);
    return peer && met_.contains({peer->slot, peer->epoch});
}

void IvshmemDevice::Impl::forget_link(LinkGroupId remote) {
    const std::lock_guard guard(mutex_);
    if (const auto peer = ivshmem::find_peer(region, remote, false)) {
        met_.erase({peer->slot, peer->epoch});
    }
}

Result<void> IvshmemDevice::Impl::start_forwarder() {
    const std::lock_guard guard(mutex_);
    SMCD_TRY_VOID(join());
    return run_forwarder();
}

Result<void> IvshmemDevice::Impl::run_forwarder() {
    ivshmem::BellSource source;
    if (listen_ == Listen::eventfd && server_ != nullptr) {
        source.eventfd = server_->own_eventfd();
    } else if (listen_ == Listen::futex) {
        source.word = &region.slot(own_.slot).peer.bell;
    }
    source.beat = &region.slot(own_.slot).peer.beat;
    if (!forwarder->start(source)) {
        return Error(std::errc::resource_unavailable_try_again);
    }
    return {};
}

void IvshmemDevice::Impl::update_polling() noexcept {
    forwarder->set_polling(polled_dmbs_ > 0);
}

bool IvshmemDevice::Impl::drained() const noexcept {
    if (region.header().drained.load(std::memory_order_relaxed) != 0) {
        return true;
    }
    const std::size_t count = members_count_.load(std::memory_order_acquire);
    for (std::size_t i = 0; i < count; ++i) {
        if (region.slot(members_[i].slot).peer.drained.load(std::memory_order_relaxed) != 0) {
            return true;
        }
    }
    return false;
}

void IvshmemDevice::Impl::before_fork() {
    mutex_.lock();
    for (const auto& [token, dmb] : local_) {
        holders(dmb.slot, dmb.index).fetch_add(1, std::memory_order_relaxed);
    }
    for (const auto& [token, attachment] : attached_) {
        users(attachment.slot, attachment.index).fetch_add(1, std::memory_order_relaxed);
    }
    locked_for_fork_ = true;
}

void IvshmemDevice::Impl::after_fork_in_parent() {
    locked_for_fork_ = false;
    mutex_.unlock();
}

void IvshmemDevice::Impl::after_fork_in_child() {
    forwarder->after_fork_in_child();
    if (own_group_ != LinkGroupId()) {
        inherited_locks_.push_back(std::move(own_.lock)); // the slot lives as long as one of us
        own_ = {};
        own_group_ = {};
        listen_ = Listen::poll;
    }
    if (server_ != nullptr) {
        server_->abandon();
        server_fd_.store(-1, std::memory_order_release);
    }
    retired_.clear();
    spares_.clear();
    met_.clear();
    // Peers ring the parent for what we inherited: we look ourselves.
    polled_dmbs_ = 0;
    for (auto& [token, dmb] : local_) {
        dmb.peer_polls = true;
        ++polled_dmbs_;
    }
    update_polling();
    locked_for_fork_ = false;
    mutex_.unlock();
}

} // namespace smcd::dev
