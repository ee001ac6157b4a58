// Memory that is kept for the next DMB between the same two processes. Floor 2,
// docs/shared-memory.md "spares".
//
// A new DMB costs a memory file, two mappings and a page fault per 4 KiB on both sides: more than
// the TCP connection that it is for. So the owner keeps the memory when it unregisters a DMB, the
// peer keeps its mapping when it detaches, and the next DMB of that size is one message (reuse)
// without a descriptor. Memory is never given to another peer, nor reused when a child of fork()
// on either side may still use it.
//
//   DmbPage::use (sync: dmb-use; -o: by the owner, -p: by the peer, CAS: compare and exchange)
//
//     none --attach-p--> attached --detach-p--> spare --CAS-o--> offered --attach-p--> attached
//                           |                     |
//                           +---detach-p--> gone <+--CAS-p
//
// Owner and peer may both want to end a spare; the exchange decides. What is offered stays with the
// peer until the owner's message is here, whatever else happens: that message names it. The peer's
// last access comes before `spare`, the owner's first after `offered`.
//
// DmbPage::dropped tells a peer that detaches later that the owner will not reuse the memory. Each
// side stores its own word and then looks at the other's, all seq_cst: at least one of them sees
// that the other is done.
#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

#include "devices/loopback/impl.hpp"
#include "smcd/base/error.hpp"

namespace smcd::dev {
namespace {

/// The control area at the start of each DMB.
constexpr std::size_t kControlBytes = 32;

/// From one state to another, unless the other side was faster.
bool pass(const Mapping& file, PeerUse from, PeerUse to) noexcept {
    std::atomic<PeerUse>& use = page_of(file).use;
    return use.load(std::memory_order_relaxed) == from &&
           use.compare_exchange_strong(from, to, std::memory_order_seq_cst); // sync: dmb-use
}

/// As if registered for the first time, but for the ring.
void make_blank(const Mapping& file) noexcept {
    Bells& bells = page_of(file).bells;
    for (auto* word : {&bells.doors_in, &bells.doors_out, &bells.consumed}) {
        word->store(0, std::memory_order_relaxed);
    }
    for (auto* word : {&bells.futex_in, &bells.futex_out, &bells.cpu}) {
        word->store(0, std::memory_order_relaxed);
    }
    std::memset(file.data() + kDmbPageBytes, 0, kControlBytes);
}

std::vector<Spare>::iterator find_spare(std::vector<Spare>& spares, DmbToken token) {
    return std::find_if(
        spares.begin(), spares.end(), [token](const Spare& spare) { return spare.token == token; });
}

} // namespace

/// Takes the memory of a DMB that is being unregistered; false: not worth keeping, or in use.
bool LoopbackDevice::Impl::keep_own(DmbToken token, LocalDmb& dmb) {
    Link& link = *dmb.link;
    const PeerUse use = page_of(dmb.file).use.load(std::memory_order_seq_cst); // sync: dmb-use
    const bool reusable = use == PeerUse::attached || use == PeerUse::spare;
    const std::size_t bytes = dmb.file.size();
    if (!reusable || dmb.forked || link.inherited || !link.connected() ||
        !make_own_room(link, bytes)) {
        return false;
    }
    link.own_spares.push_back({std::move(dmb.file), dmb.size_class, token});
    own_spare_bytes_ += bytes;
    return true;
}

/// Room for a spare of ours, at the cost of older ones: of that link first, then of any.
bool LoopbackDevice::Impl::make_own_room(Link& link, std::size_t bytes) {
    if (bytes > options.max_spare_bytes) {
        return false;
    }
    const auto fits = [&] { return own_spare_bytes_ <= options.max_spare_bytes - bytes; };
    if (link.own_spares.size() >= kSparesMax || !fits()) {
        drop_ended_own_spares(link);
    }
    while (!link.own_spares.empty() && (link.own_spares.size() >= kSparesMax || !fits())) {
        drop_oldest_own_spare(link);
    }
    for (auto it = links_.begin(); it != links_.end() && !fits(); ++it) {
        while (!it->second->own_spares.empty() && !fits()) {
            drop_oldest_own_spare(*it->second);
        }
    }
    return fits();
}

/// Before memory of ours is unmapped: the peer need not keep it. Relatives of an inherited DMB may
/// still use it.
void LoopbackDevice::Impl::let_go(const Link& link, DmbToken token, const Mapping& file) {
    if (link.inherited) {
        return;
    }
    page_of(file).dropped.store(1, std::memory_order_seq_cst); // sync: dmb-use
    const PeerUse use = page_of(file).use.load(std::memory_order_seq_cst);
    // A peer that has it attached will see `dropped` when it detaches.
    if (use != PeerUse::attached && use != PeerUse::gone && link.connected()) {
        static_cast<void>(send_message(link.socket.get(), retire_message(token), {}));
    }
}

/// The peer has ended them: they will never be reused.
void LoopbackDevice::Impl::drop_ended_own_spares(Link& link) {
    std::erase_if(link.own_spares, [this](const Spare& spare) {
        const bool ended = page_of(spare.file).use.load(std::memory_order_relaxed) == PeerUse::gone;
        own_spare_bytes_ -= ended ? spare.file.size() : 0;
        return ended;
    });
}

void LoopbackDevice::Impl::drop_oldest_own_spare(Link& link) {
    const Spare& oldest = link.own_spares.front();
    let_go(link, oldest.token, oldest.file);
    own_spare_bytes_ -= oldest.file.size();
    link.own_spares.erase(link.own_spares.begin());
}

/// Memory of that class that the peer has mapped and does not use; the most recent first, it is in
/// the caches.
std::optional<Spare> LoopbackDevice::Impl::take_spare(Link& link, SizeClass size_class) {
    const auto usable = std::find_if(
        link.own_spares.rbegin(), link.own_spares.rend(), [size_class](const Spare& spare) {
            return spare.size_class == size_class &&
                   pass(spare.file, PeerUse::spare, PeerUse::offered);
        });
    if (usable == link.own_spares.rend()) {
        return std::nullopt;
    }
    Spare taken = std::move(*usable);
    link.own_spares.erase(std::next(usable).base());
    own_spare_bytes_ -= taken.file.size();
    return taken;
}

/// Gives the DMB the memory of an earlier one and tells the peer; nothing changes on failure.
Result<void> LoopbackDevice::Impl::fill_reused(LocalDmb& dmb, DmbToken token, Spare spare) {
    make_blank(spare.file);
    const LinkMessage message =
        reuse_message(dmb_message(token, dmb.index, dmb.size_class), spare.token);
    const auto sent = send_message(dmb.link->socket.get(), message, {});
    if (!sent) {
        put_back(*dmb.link, std::move(spare));
        return sent;
    }
    dmb.file = std::move(spare.file);
    counts.reused.fetch_add(1, std::memory_order_relaxed);
    return {};
}

void LoopbackDevice::Impl::put_back(Link& link, Spare spare) {
    static_cast<void>(pass(spare.file, PeerUse::offered, PeerUse::spare));
    own_spare_bytes_ += spare.file.size();
    link.own_spares.push_back(std::move(spare));
}

/// Takes the mapping of a peer's DMB that is being detached; false: it is to be unmapped.
bool LoopbackDevice::Impl::keep_peers(DmbToken token, Attachment& attachment) {
    Link& link = *attachment.link;
    if (link.inherited) {
        return false; // the state is the parent's to change
    }
    DmbPage& page = page_of(attachment.file);
    const auto full = [&] {
        return link.peer_spares.size() >= kSparesMax && !end_oldest_peer_spare(link);
    };
    if (attachment.forked || !link.connected() || options.max_spare_bytes == 0 ||
        page.dropped.load(std::memory_order_seq_cst) != 0 || full()) {
        page.use.store(PeerUse::gone, std::memory_order_seq_cst); // sync: dmb-use
        return false;
    }
    link.peer_spares.push_back({std::move(attachment.file), attachment.size_class, token});
    page.use.store(PeerUse::spare, std::memory_order_seq_cst); // sync: dmb-use
    if (page.dropped.load(std::memory_order_seq_cst) != 0 &&
        pass(link.peer_spares.back().file, PeerUse::spare, PeerUse::gone)) {
        peer_bytes_ -= link.peer_spares.back().file.size();
        link.peer_spares.pop_back();
    }
    return true;
}

/// Room in the address space for a peer's DMB; spares make way for it.
bool LoopbackDevice::Impl::make_peer_room(std::size_t bytes) {
    const auto fits = [&] { return bytes <= options.max_peer_bytes - peer_bytes_; };
    for (auto it = links_.begin(); it != links_.end() && !fits(); ++it) {
        while (!fits() && end_oldest_peer_spare(*it->second)) {
        }
    }
    return fits();
}

/// The oldest that is not being reused right now; false: there is none.
bool LoopbackDevice::Impl::end_oldest_peer_spare(Link& link) {
    const auto oldest =
        std::find_if(link.peer_spares.begin(), link.peer_spares.end(), [](const Spare& spare) {
            return pass(spare.file, PeerUse::spare, PeerUse::gone);
        });
    if (oldest == link.peer_spares.end()) {
        return false;
    }
    peer_bytes_ -= oldest->file.size();
    link.peer_spares.erase(oldest);
    return true;
}

/// The owner will not reuse it.
void LoopbackDevice::Impl::drop_peer_spare(Link& link, DmbToken token) {
    const auto found = find_spare(link.peer_spares, token);
    if (found != link.peer_spares.end()) {
        peer_bytes_ -= found->file.size();
        link.peer_spares.erase(found);
    }
}

/// The owner puts a new DMB into memory that we have kept.
Result<void> LoopbackDevice::Impl::on_reuse(Link& link, const LinkMessage& message) {
    const auto spare = find_spare(link.peer_spares, DmbToken(message.previous));
    if (spare == link.peer_spares.end() || spare->size_class.value() != message.second) {
        return engine_error(Errc::peer_violation);
    }
    const auto [next, inserted] = link.pending.try_emplace(message.token);
    if (!inserted) {
        return engine_error(Errc::peer_violation);
    }
    next->second.file = std::move(spare->file);
    next->second.size_class = spare->size_class;
    next->second.index = SbaIndex(message.first);
    link.peer_spares.erase(spare);
    return {};
}

/// Before fork(): what exists now may be used by the child, for how long nobody knows.
void LoopbackDevice::Impl::mark_shared_with_relatives() {
    for (auto& [token, dmb] : local_) {
        dmb.forked = true;
    }
    for (auto& [token, attachment] : attached_) {
        attachment.forked = true;
    }
    for (const auto& [serial, link] : links_) {
        for (auto& [token, dmb] : link->pending) {
            dmb.forked = true;
        }
    }
}

/// Unmaps all spares without a word: the link has ended, or they are the parent's.
void LoopbackDevice::Impl::forget_spares(Link& link) {
    for (const Spare& spare : link.own_spares) {
        own_spare_bytes_ -= spare.file.size();
    }
    for (const Spare& spare : link.peer_spares) {
        peer_bytes_ -= spare.file.size();
    }
    link.own_spares.clear();
    link.peer_spares.clear();
}

} // namespace smcd::dev
