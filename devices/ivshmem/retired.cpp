// Memory of DMBs that are registered no more. Floor 2, docs/shared-memory.md "regions".
#include "devices/ivshmem/directory.hpp"
#include "devices/ivshmem/impl.hpp"

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

/// Whether nobody uses the memory any more. Thorough: asks for the death of the writer.
bool IvshmemDevice::Impl::is_through(const Retired& retired, bool thorough) const {
    const LocalDmb& dmb = retired.dmb;
    if (!retired.inherited && holders(dmb.slot, dmb.index).load(std::memory_order_acquire) != 0) {
        return false;
    }
    const DmbUse use = status_of(entry_of(dmb.slot, dmb.index)).state;
    if (use != DmbUse::offered && use != DmbUse::attached) {
        return true;
    }
    const Peer peer = ivshmem::read_peer(region, dmb.peer_slot);
    const bool left = peer.epoch != dmb.peer_epoch || peer.state == ivshmem::PeerState::left;
    return left || (thorough && is_gone(dmb.peer_slot, dmb.peer_epoch));
}

void IvshmemDevice::Impl::free_entry(const Retired& retired) {
    const LocalDmb& dmb = retired.dmb;
    DirEntry& entry = entry_of(dmb.slot, dmb.index);
    const Status before = status_of(entry);
    entry.status.store(Status{before.number, DmbUse::none}.word(), std::memory_order_release);
    index_used_.reset(dmb.index.value());
    if (!retired.inherited && before.state == DmbUse::detached && spares_.size() < kSparesMax) {
        spares_.push_back({dmb.offset, dmb.size_class, dmb.peer_slot, dmb.peer_epoch});
    } else {
        slice_.give_back(dmb.offset, block_bytes(dmb.size_class));
    }
}

void IvshmemDevice::Impl::sweep(bool thorough) {
    std::erase_if(retired_, [&](const Retired& retired) {
        if (!is_through(retired, thorough)) {
            return false;
        }
        free_entry(retired);
        return true;
    });
}

/// Takes back the oldest DMB that was retired and never attached. False: there is none.
bool IvshmemDevice::Impl::revoke_oldest_unclaimed() {
    for (auto it = retired_.begin(); it != retired_.end(); ++it) {
        DirEntry& entry = entry_of(it->dmb.slot, it->dmb.index);
        const std::uint32_t generation = status_of(entry).number;
        const bool held = !it->inherited &&
                          holders(it->dmb.slot, it->dmb.index).load(std::memory_order_acquire) != 0;
        if (!held && change(entry, generation, DmbUse::offered, DmbUse::revoked)) {
            free_entry(*it);
            retired_.erase(it);
            return true;
        }
    }
    return false;
}

/// What the last owner of our slot left: DMBs that a living peer has attached stay out of reach.
void IvshmemDevice::Impl::adopt_directory() {
    index_used_.reset();
    for (const auto& [token, dmb] : local_) {
        index_used_.set(dmb.index.value()); // inherited by fork(): the numbers are shared
    }
    for (std::uint32_t i = 0; i < kDirectorySize; ++i) {
        DirEntry& entry = entry_of(own_.slot, SbaIndex(i));
        Status status = status_of(entry);
        if (status.state == DmbUse::offered) {
            change(entry, status.number, DmbUse::offered, DmbUse::revoked);
            status = status_of(entry);
        }
        Retired left;
        left.inherited = true;
        left.dmb.slot = own_.slot;
        left.dmb.index = SbaIndex(i);
        left.dmb.size_class = class_of(entry.size_class.load(std::memory_order_relaxed));
        left.dmb.offset = entry.offset.load(std::memory_order_relaxed);
        left.dmb.peer_slot = entry.writer_slot.load(std::memory_order_relaxed);
        left.dmb.peer_epoch = entry.writer_epoch.load(std::memory_order_relaxed);
        const bool in_use =
            status.state == DmbUse::attached && !index_used_.test(i) &&
            left.dmb.peer_slot < region.peers() && !is_through(left, true) &&
            fits(left.dmb.offset, left.dmb.size_class, region.geometry().slice_bytes) &&
            slice_.take_at(left.dmb.offset, block_bytes(left.dmb.size_class));
        if (in_use) {
            index_used_.set(i);
            retired_.push_back(left);
        } else {
            entry.status.store(Status{status.number, DmbUse::none}.word(),
                               std::memory_order_release);
        }
    }
}

} // namespace smcd::dev
