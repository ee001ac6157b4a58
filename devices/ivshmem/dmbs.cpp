// DMBs in the region: ours and those of peers. Floor 2, docs/shared-memory.md "regions".
//
// The life of a directory entry; the owner writes fields and generation, the writer two states:
//
//   none --register--> offered --attach (writer)--> attached --detach (writer)--> detached
//                         |                                                          |
//                         +--owner takes it back--> revoked -----> none <------------+
//
// unregister_dmb() makes a DMB *retired*: its memory is free only when the writer is through with
// it, or gone.
#include <algorithm>
#include <cstring>
#include <utility>

#include "devices/ivshmem/directory.hpp"
#include "devices/ivshmem/impl.hpp"
#include "smcd/base/error.hpp"
#include "smcd/base/limits.hpp"
#include "smcd/base/random.hpp"

namespace smcd::dev {

using ivshmem::block_bytes;
using ivshmem::change;
using ivshmem::class_of;
using ivshmem::DirEntry;
using ivshmem::DmbUse;
using ivshmem::fits;
using ivshmem::kDirectorySize;
using ivshmem::Peer;
using ivshmem::status_of;
using Status = ivshmem::DmbStatus;

namespace {

constexpr std::size_t kControlBytes = 32;

} // namespace

std::span<std::byte> IvshmemDevice::Impl::memory_of(std::uint32_t slot,
                                                    std::uint64_t offset,
                                                    SizeClass size_class) const noexcept {
    return region.slice(slot).subspan(offset, block_bytes(size_class));
}

DmbToken IvshmemDevice::Impl::fresh_token() const {
    for (;;) {
        const std::uint64_t token = random_u64();
        if (!local_.contains(token) && !attached_.contains(token)) {
            return DmbToken(token);
        }
    }
}

Result<Peer> IvshmemDevice::Impl::find_writer(const DmbRequest& request) const {
    const auto peer = ivshmem::find_peer(region, request.remote_group, false);
    if (!peer || is_gone(peer->slot, peer->epoch)) {
        return Error(std::errc::connection_refused);
    }
    if (peer->drained || ivshmem::read_peer(region, own_.slot).drained ||
        region.header().drained.load(std::memory_order_relaxed) != 0) {
        return engine_error(Errc::switched_off);
    }
    return *peer;
}

Result<Dmb> IvshmemDevice::Impl::register_dmb(const DmbRequest& request) {
    if (request.size_class.value() > kSizeClassWireMax || request.remote_group == LinkGroupId()) {
        return Error(std::errc::invalid_argument);
    }
    if (request.remote_gid != region.uuid()) {
        return Error(std::errc::network_unreachable);
    }
    const std::lock_guard guard(mutex_);
    SMCD_TRY_VOID(join());
    if (is_region_gone()) {
        return engine_error(Errc::fabric_gone);
    }
    SMCD_TRY(const Peer peer, find_writer(request));
    if (local_.size() >= options.max_dmbs) {
        return Error(std::errc::no_space_on_device);
    }
    if (dmb_size_bytes(request.size_class) > options.max_bytes - local_bytes_) {
        return Error(std::errc::not_enough_memory);
    }
    sweep(false);
    LocalDmb dmb;
    dmb.slot = own_.slot;
    dmb.size_class = request.size_class;
    dmb.peer_slot = peer.slot;
    dmb.peer_epoch = peer.epoch;
    dmb.peer_polls = !can_ring_us(peer);
    SMCD_TRY(dmb.index, take_index());
    SMCD_TRY_VOID(take_memory(dmb));
    const DmbToken token = fresh_token();
    met_.insert({peer.slot, peer.epoch});
    local_.emplace(token.value(), dmb);
    publish_entry(dmb, token);
    local_bytes_ += dmb_size_bytes(dmb.size_class);
    polled_dmbs_ += dmb.peer_polls ? 1 : 0;
    update_polling();
    publish_usage(1);
    const auto memory = memory_of(dmb.slot, dmb.offset, dmb.size_class);
    return Dmb{token,
               dmb.index,
               dmb.size_class,
               memory.subspan(kPageBytes),
               reinterpret_cast<Bells*>(memory.data()),
               shares_futexes(peer)};
}

void IvshmemDevice::Impl::publish_entry(const LocalDmb& dmb, DmbToken token) noexcept {
    index_used_.set(dmb.index.value());
    index_slot_[dmb.index.value()].store(dmb.slot + 1, std::memory_order_release);
    holders(dmb.slot, dmb.index).store(1, std::memory_order_relaxed);
    DirEntry& entry = entry_of(dmb.slot, dmb.index);
    const std::uint32_t generation = status_of(entry).number + 1;
    entry.status.store(Status{generation, DmbUse::none}.word(), std::memory_order_release);
    entry.token.store(token.value(), std::memory_order_relaxed);
    entry.offset.store(dmb.offset, std::memory_order_relaxed);
    entry.size_class.store(dmb.size_class.value(), std::memory_order_relaxed);
    entry.writer_slot.store(dmb.peer_slot, std::memory_order_relaxed);
    entry.writer_epoch.store(dmb.peer_epoch, std::memory_order_relaxed);
    // sync: dmb-status. Whoever finds it offered finds the fields.
    entry.status.store(Status{generation, DmbUse::offered}.word(), std::memory_order_release);
    auto& used = region.slot(dmb.slot).peer.directory_used;
    if (used.load(std::memory_order_relaxed) <= dmb.index.value()) {
        used.store(dmb.index.value() + 1, std::memory_order_release);
    }
}

Result<SbaIndex> IvshmemDevice::Impl::take_index() {
    for (;;) {
        for (std::size_t index = 0; index < kDirectorySize; ++index) {
            if (!index_used_.test(index)) {
                return SbaIndex(static_cast<std::uint32_t>(index));
            }
        }
        if (!revoke_oldest_unclaimed()) {
            return Error(std::errc::no_space_on_device);
        }
    }
}

std::optional<std::uint64_t> IvshmemDevice::Impl::take_spare(const LocalDmb& dmb) {
    const auto fitting = std::find_if(spares_.begin(), spares_.end(), [&](const Spare& spare) {
        return spare.size_class == dmb.size_class && spare.peer_slot == dmb.peer_slot &&
               spare.peer_epoch == dmb.peer_epoch;
    });
    if (fitting == spares_.end()) {
        return std::nullopt;
    }
    const std::uint64_t offset = fitting->offset;
    spares_.erase(fitting);
    return offset;
}

/// A free range, and if there is none: from spares, from those who died, from what was never
/// attached.
std::optional<std::uint64_t> IvshmemDevice::Impl::take_range(std::uint64_t bytes) {
    bool swept = false;
    for (;;) {
        if (const auto offset = slice_.take(bytes); offset) {
            return offset;
        }
        if (!spares_.empty()) {
            slice_.give_back(spares_.front().offset, block_bytes(spares_.front().size_class));
            spares_.pop_front();
        } else if (!swept) {
            swept = true;
            sweep(true);
        } else if (!revoke_oldest_unclaimed()) {
            return std::nullopt;
        }
    }
}

Result<void> IvshmemDevice::Impl::take_memory(LocalDmb& dmb) {
    const std::uint64_t bytes = block_bytes(dmb.size_class);
    if (const auto spare = take_spare(dmb); spare) {
        dmb.offset = *spare;
        const auto memory = memory_of(dmb.slot, dmb.offset, dmb.size_class);
        std::memset(memory.data(), 0, kPageBytes + kControlBytes);
        return {};
    }
    const auto offset = take_range(bytes);
    if (!offset) {
        return Error(std::errc::not_enough_memory);
    }
    dmb.offset = *offset;
    const auto fresh = region.reserve(dmb.slot, dmb.offset, bytes);
    if (!fresh) {
        slice_.give_back(dmb.offset, bytes);
        return Error(fresh.error());
    }
    if (!*fresh) {
        std::memset(memory_of(dmb.slot, dmb.offset, dmb.size_class).data(), 0, bytes);
    }
    return {};
}

Result<void> IvshmemDevice::Impl::unregister_dmb(DmbToken token) {
    const std::lock_guard guard(mutex_);
    const auto found = local_.find(token.value());
    if (found == local_.end()) {
        return Error(std::errc::invalid_argument);
    }
    const LocalDmb dmb = found->second;
    local_.erase(found);
    index_slot_[dmb.index.value()].store(0, std::memory_order_release);
    holders(dmb.slot, dmb.index).fetch_sub(1, std::memory_order_acq_rel);
    local_bytes_ -= dmb_size_bytes(dmb.size_class);
    polled_dmbs_ -= dmb.peer_polls ? 1 : 0;
    update_polling();
    if (dmb.slot != own_.slot || own_group_ == LinkGroupId()) {
        return {}; // an ancestor's: it frees the memory, or who claims its slot next
    }
    retired_.push_back({dmb, false});
    sweep(false);
    const auto unclaimed = std::count_if(retired_.begin(), retired_.end(), [&](const Retired& one) {
        return status_of(entry_of(one.dmb.slot, one.dmb.index)).state == DmbUse::offered;
    });
    if (static_cast<std::size_t>(unclaimed) > kUnclaimedMax) {
        revoke_oldest_unclaimed();
    }
    publish_usage(0);
    return {};
}

void IvshmemDevice::Impl::publish_usage(std::uint32_t opened) noexcept {
    ivshmem::PeerEntry& entry = region.slot(own_.slot).peer;
    entry.dmbs.store(static_cast<std::uint32_t>(local_.size()), std::memory_order_relaxed);
    entry.dmb_bytes.store(local_bytes_, std::memory_order_relaxed);
    entry.opened.fetch_add(opened, std::memory_order_relaxed);
}

/// Looks the token up in the owner's directory and checks the copy.
Result<IvshmemDevice::Impl::Attachment> IvshmemDevice::Impl::read_directory(const Peer& owner,
                                                                            DmbToken token) const {
    const std::uint32_t used =
        region.slot(owner.slot).peer.directory_used.load(std::memory_order_acquire);
    for (std::uint32_t i = 0; i < std::min(used, kDirectorySize); ++i) {
        const DirEntry& entry = entry_of(owner.slot, SbaIndex(i));
        const Status status = status_of(entry);
        if (status.state != DmbUse::offered ||
            entry.token.load(std::memory_order_relaxed) != token.value()) {
            continue;
        }
        Attachment found;
        found.slot = owner.slot;
        found.index = SbaIndex(i);
        found.generation = status.number;
        found.offset = entry.offset.load(std::memory_order_relaxed);
        found.size_class = class_of(entry.size_class.load(std::memory_order_relaxed));
        const std::uint32_t writer = entry.writer_slot.load(std::memory_order_relaxed);
        const std::uint32_t epoch = entry.writer_epoch.load(std::memory_order_relaxed);
        if (own_group_ == LinkGroupId() || writer != own_.slot || epoch != own_.epoch) {
            return Error(std::errc::permission_denied);
        }
        if (!fits(found.offset, found.size_class, region.geometry().slice_bytes)) {
            return engine_error(Errc::peer_violation);
        }
        return found;
    }
    return Error(std::errc::invalid_argument);
}

RemoteDmb IvshmemDevice::Impl::view_of(DmbToken token,
                                       const Attachment& attachment) const noexcept {
    const auto memory = memory_of(attachment.slot, attachment.offset, attachment.size_class);
    return {token,
            attachment.index,
            attachment.size_class,
            memory.subspan(kPageBytes),
            reinterpret_cast<Bells*>(memory.data()),
            &routes_[attachment.slot]};
}

Result<RemoteDmb> IvshmemDevice::Impl::attach_dmb(LinkGroupId owner, DmbToken token) {
    const std::lock_guard guard(mutex_);
    SMCD_TRY_VOID(join());
    // A peer that has written, closed and left may still be attached to.
    const auto peer = ivshmem::find_peer(region, owner, true);
    if (!peer) {
        return Error(std::errc::invalid_argument);
    }
    const auto again = attached_.find(token.value());
    if (again != attached_.end()) {
        if (again->second.slot != peer->slot) {
            return Error(std::errc::invalid_argument); // another peer's: tokens are unique
        }
        ++again->second.count;
        return view_of(token, again->second);
    }
    SMCD_TRY(Attachment found, read_directory(*peer, token));
    DirEntry& entry = entry_of(found.slot, found.index);
    if (!change(entry, found.generation, DmbUse::offered, DmbUse::attached)) {
        return Error(std::errc::invalid_argument);
    }
    found.count = 1;
    users(found.slot, found.index).store(1, std::memory_order_relaxed);
    attached_.emplace(token.value(), found);
    met_.insert({peer->slot, peer->epoch});
    return view_of(token, found);
}

Result<void> IvshmemDevice::Impl::detach_dmb(DmbToken token) {
    const std::lock_guard guard(mutex_);
    const auto found = attached_.find(token.value());
    if (found == attached_.end()) {
        return Error(std::errc::invalid_argument);
    }
    Attachment& attachment = found->second;
    if (--attachment.count > 0) {
        return {};
    }
    if (users(attachment.slot, attachment.index).fetch_sub(1, std::memory_order_acq_rel) == 1) {
        change(entry_of(attachment.slot, attachment.index),
               attachment.generation,
               DmbUse::attached,
               DmbUse::detached);
    }
    attached_.erase(found);
    return {};
}

Result<std::uint64_t> IvshmemDevice::Impl::move_data(DmbToken token,
                                                     bool signal_owner,
                                                     std::uint32_t offset,
                                                     std::span<const std::byte> data,
                                                     RemoteDmb& target) {
    const std::lock_guard guard(mutex_);
    const auto found = attached_.find(token.value());
    if (found == attached_.end()) {
        return Error(std::errc::invalid_argument);
    }
    target = view_of(token, found->second);
    return move_into(target, signal_owner, offset, data);
}

IvshmemDevice::Usage IvshmemDevice::Impl::usage() {
    const std::lock_guard guard(mutex_);
    return {local_.size(), attached_.size(), retired_.size(), slice_.free_bytes(), polled_dmbs_};
}

} // namespace smcd::dev
