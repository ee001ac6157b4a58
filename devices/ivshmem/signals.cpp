// The paths without a lock: signal, wake, harvest; and how a sleeping peer is rung. HOT. Floor 2,
// docs/shared-memory.md "regions".
#include <bit>

#include "devices/ivshmem/impl.hpp"
#include "smcd/base/raw_syscall.hpp"

namespace smcd::dev {

using ivshmem::kDirectorySize;
using ivshmem::kWordBits;

void IvshmemDevice::Impl::signal(const RemoteDmb& dmb, unsigned door) noexcept {
    Route& route = *static_cast<Route*>(dmb.route);
    ivshmem::SlotTables& tables = region.slot(route.slot);
    const std::size_t index = dmb.index.value() % kDirectorySize;
    const std::size_t word = index / kWordBits;
    // sync: signal-bit. From the bottom up; the summary is looked at even when the bit was set
    // before: whoever set it may have been stopped in between.
    tables.signals.bits[door][word].fetch_or(1ULL << (index % kWordBits),
                                             std::memory_order_seq_cst);
    auto& summary = tables.signals.summary[door].words;
    if ((summary.load(std::memory_order_seq_cst) & 1ULL << word) == 0) {
        summary.fetch_or(1ULL << word, std::memory_order_seq_cst);
    }
    // sync: door-sleep. Raise, full fence, look at the epoch; the owner announces its sleep,
    // fences, looks for bits.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    const std::uint32_t epoch = tables.doors[door].epoch.load(std::memory_order_relaxed);
    std::uint32_t last = route.rung[door].load(std::memory_order_relaxed);
    if ((epoch & 1U) != 0 && last != epoch &&
        route.rung[door].compare_exchange_strong(last, epoch, std::memory_order_relaxed)) {
        tables.doors[door].rung.store(1, std::memory_order_seq_cst); // sync: region-ring
        if (!ring(route)) {
            ring_otherwise(dmb, route);
        }
    }
}

/// False: the peer sleeps on an eventfd that we do not have.
bool IvshmemDevice::Impl::ring(const Route& route) noexcept {
    const ivshmem::Peer peer = ivshmem::read_peer(region, route.slot);
    if (peer.listen == ivshmem::Listen::eventfd) {
        if (server_ != nullptr && server_->ring(peer.doorbell_id)) {
            return true;
        }
        if (point_.registers) {
            ivshmem::ring_register(point_.registers, peer.doorbell_id);
        }
        return static_cast<bool>(point_.registers);
    }
    if (peer.listen == ivshmem::Listen::futex && shares_futexes(peer)) {
        std::atomic<std::uint32_t>& bell = region.slot(route.slot).peer.bell;
        bell.fetch_add(1, std::memory_order_seq_cst); // sync: region-bell
        raw::futex_wake(bell);
    }
    return true; // whoever else is there looks by itself
}

/// The server tells us of newcomers before it tells them of us, but we may not have read that yet.
void IvshmemDevice::Impl::ring_otherwise(const RemoteDmb& dmb, const Route& route) noexcept {
    bool rung = false;
    // A signal handler may have interrupted a call of this device.
    if (std::unique_lock guard(mutex_, std::try_to_lock); guard.owns_lock()) {
        static_cast<void>(take_news());
        rung = ring(route);
    }
    if (!rung && last_resort) {
        last_resort(dmb);
    }
}

std::size_t IvshmemDevice::Impl::harvest(unsigned door,
                                         const std::function<void(SbaIndex)>& on_signal) {
    std::size_t count = 0;
    const std::size_t members =
        members_count_.load(std::memory_order_acquire); // sync: region-member
    for (std::size_t i = 0; i < members; ++i) {
        const std::uint32_t slot = members_[i].slot;
        ivshmem::SignalBits& signals = region.slot(slot).signals;
        auto& summary = signals.summary[door].words;
        if (summary.load(std::memory_order_relaxed) == 0) {
            continue;
        }
        // sync: signal-bit. Bits beyond the tables are a peer's nonsense.
        std::uint64_t words = summary.exchange(0, std::memory_order_seq_cst);
        words &= (1ULL << ivshmem::kIndexWords) - 1;
        for (; words != 0; words &= words - 1) {
            const auto word = static_cast<std::size_t>(std::countr_zero(words));
            std::uint64_t bits = signals.bits[door][word].exchange(0, std::memory_order_seq_cst);
            for (; bits != 0; bits &= bits - 1) {
                const std::size_t index =
                    word * kWordBits + static_cast<std::size_t>(std::countr_zero(bits));
                // Any peer may raise any bit; only what is registered counts.
                if (index_slot_[index].load(std::memory_order_acquire) == slot + 1) {
                    ++count;
                    on_signal(SbaIndex(static_cast<std::uint32_t>(index)));
                }
            }
        }
    }
    return count;
}

bool IvshmemDevice::Impl::has_signal(unsigned door) const noexcept {
    constexpr std::uint64_t kWords = (1ULL << ivshmem::kIndexWords) - 1;
    const std::size_t members = members_count_.load(std::memory_order_acquire);
    for (std::size_t i = 0; i < members; ++i) {
        const auto& summary = region.slot(members_[i].slot).signals.summary[door].words;
        if ((summary.load(std::memory_order_seq_cst) & kWords) != 0) {
            return true;
        }
    }
    return false;
}

/// A mark from before this sleep costs one needless ring.
bool IvshmemDevice::Impl::take_ring(unsigned door) const noexcept {
    bool taken = false;
    const std::size_t members = members_count_.load(std::memory_order_acquire);
    for (std::size_t i = 0; i < members; ++i) {
        auto& rung = region.slot(members_[i].slot).doors[door].rung;
        taken = (rung.load(std::memory_order_seq_cst) != 0 && rung.exchange(0) != 0) || taken;
    }
    return taken;
}

void IvshmemDevice::Impl::on_epoch(unsigned door, std::uint32_t epoch) noexcept {
    const std::size_t members = members_count_.load(std::memory_order_acquire);
    for (std::size_t i = 0; i < members; ++i) {
        region.slot(members_[i].slot).doors[door].epoch.store(epoch, std::memory_order_relaxed);
    }
    if ((epoch & 1U) != 0) {
        forwarder->on_sleep();
    }
}

} // namespace smcd::dev
