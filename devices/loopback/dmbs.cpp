// DMBs of the loopback device: ours and those of peers. Floor 2, docs/shared-memory.md "DMB".
#include <poll.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "devices/loopback/impl.hpp"
#include "smcd/base/clock.hpp"
#include "smcd/base/error.hpp"
#include "smcd/base/limits.hpp"
#include "smcd/base/memfd.hpp"
#include "smcd/base/random.hpp"
#include "smcd/base/raw_syscall.hpp"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace smcd::dev {
namespace {

/// The peer has not read what it was sent.
bool is_full(const Result<Dmb>& dmb) noexcept {
    return !dmb && dmb.error() == std::errc::resource_unavailable_try_again;
}

/// That, or between all processes of this user as many descriptors are on their way as this one may have open. The latter
/// does not befall the privileged, and no descriptor tells when it is over.
bool may_pass(const Result<Dmb>& dmb) noexcept {
    return is_full(dmb) || (!dmb && dmb.error().value() == ETOOMANYREFS);
}

std::span<std::byte> dmb_of(const Mapping& file) noexcept {
    return file.bytes().subspan(kDmbPageBytes);
}

} // namespace

Result<void> LoopbackDevice::Impl::check_budget(SizeClass size_class) const {
    if (local_.size() >= options.max_dmbs) {
        return Error(std::errc::no_space_on_device);
    }
    if (dmb_size_bytes(size_class) > options.max_bytes - local_bytes_) {
        return Error(std::errc::not_enough_memory);
    }
    return {};
}

Result<Dmb> LoopbackDevice::Impl::register_dmb(const DmbRequest& request) {
    if (request.size_class.value() > kSizeClassWireMax || request.remote_group.value() == 0) {
        return Error(std::errc::invalid_argument);
    }
    if (request.remote_gid != gid) {
        return Error(std::errc::network_unreachable);
    }
    const std::lock_guard guard(mutex_);
    SMCD_TRY_VOID(check_budget(request.size_class));
    // Twice: a link that we believed in may turn out to be dead while the peer still answers at its
    // rendezvous.
    for (int attempt = 0;; ++attempt) {
        SMCD_TRY(Link* const link, link_to(request.remote_group));
        auto dmb = announce_patiently(*link, request.size_class);
        const bool broken = !dmb && !link->connected();
        sweep();
        if (!broken || attempt == 1) {
            return dmb;
        }
    }
}

/// In a burst of handshakes the peer's progress thread may come too late for its queue: waits a little.
Result<Dmb> LoopbackDevice::Impl::announce_patiently(Link& link, SizeClass size_class) {
    auto dmb = announce_dmb(link, size_class);
    if (!may_pass(dmb) || monotonic_ns() < link.impatient_until_ns) {
        return dmb;
    }
    const std::uint64_t end = monotonic_ns() + options.queue_wait_ns;
    while (may_pass(dmb) && monotonic_ns() < end) {
        fetch_from(link.peer); // it may be waiting for us in the same way
        if (!link.connected()) {
            return dmb;
        }
        pollfd room{link.socket.get(), static_cast<short>(is_full(dmb) ? POLLOUT : 0), 0};
        raw::poll(&room, 1, 1);
        dmb = announce_dmb(link, size_class);
    }
    if (may_pass(dmb)) {
        link.impatient_until_ns = monotonic_ns() + 10 * options.queue_wait_ns;
    }
    return dmb;
}

Result<UniqueFd> LoopbackDevice::Impl::make_dmb_file(LocalDmb& dmb) const {
    const std::size_t bytes = dmb_file_bytes(dmb.size_class);
    SMCD_TRY(UniqueFd fd, create_sealed_memfd("smcd-dmb", bytes));
    SMCD_TRY(dmb.file, Mapping::map_shared(fd.get(), bytes, PROT_READ | PROT_WRITE));
    if (options.populate) {
        static_cast<void>(
            ::madvise(dmb.file.data(), bytes, MADV_POPULATE_WRITE)); // a matter of speed only
    }
    return fd;
}

DmbToken LoopbackDevice::Impl::fresh_token() const {
    for (;;) {
        const std::uint64_t token = random_u64() & options.bus.token_mask;
        if (token != 0 && !local_.contains(token) && !attached_.contains(token)) {
            return DmbToken(token);
        }
    }
}

/// Gives the DMB new memory and sends the descriptor; nothing is left on failure.
Result<void> LoopbackDevice::Impl::fill_new(LocalDmb& dmb, DmbToken token) {
    SMCD_TRY(const UniqueFd fd, make_dmb_file(dmb));
    const int raw_fd = fd.get();
    return send_message(
        dmb.link->socket.get(), dmb_message(token, dmb.index, dmb.size_class), {&raw_fd, 1});
}

/// Makes the DMB known over the link; nothing of it is left on failure.
Result<Dmb> LoopbackDevice::Impl::announce_dmb(Link& link, SizeClass size_class) {
    const DmbToken token = fresh_token();
    const auto entry = local_.try_emplace(token.value()).first;
    const auto give_up = [&](std::error_code code) {
        local_.erase(entry);
        return Error(code);
    };
    const auto index = indices.take(
        std::min(options.bus.first_index + options.max_dmbs, kSignalIndexCount), link.place);
    if (!index) {
        return give_up(index.error());
    }
    LocalDmb& made = entry->second;
    made.size_class = size_class;
    made.link = &link;
    made.index = *index;
    link.own_spares.reserve(kSparesMax); // keeping one must not fail
    auto spare = take_spare(link, size_class);
    const auto filled = spare ? fill_reused(made, token, *std::move(spare)) : fill_new(made, token);
    if (!filled) {
        indices.give_back(*index);
        if (filled.error() == std::errc::broken_pipe ||
            filled.error() == std::errc::connection_reset) {
            drain(link); // what a dead peer has told us still counts
            disconnect(link);
            return give_up(std::make_error_code(std::errc::connection_refused));
        }
        return give_up(filled.error());
    }
    local_bytes_ += dmb_size_bytes(size_class);
    ++link.local_dmbs;
    return Dmb{token, *index, size_class, dmb_of(made.file), &page_of(made.file).bells};
}

Result<void> LoopbackDevice::Impl::unregister_dmb(DmbToken token) {
    Mapping file; // unmapped after the lock is gone
    const std::lock_guard guard(mutex_);
    const auto found = local_.find(token.value());
    if (found == local_.end()) {
        return Error(std::errc::invalid_argument);
    }
    LocalDmb& dmb = found->second;
    Link& link = *dmb.link;
    indices.give_back(dmb.index);
    local_bytes_ -= dmb_size_bytes(dmb.size_class);
    --link.local_dmbs;
    if (!keep_own(token, dmb)) {
        let_go(link, token, dmb.file);
        file = std::move(dmb.file);
    }
    local_.erase(found);
    remove_if_unused(link);
    return {};
}

Link* LoopbackDevice::Impl::find_pending(LinkGroupId owner, DmbToken token) {
    const auto [first, last] = by_peer_.equal_range(owner.value());
    for (auto it = first; it != last; ++it) {
        if (it->second->pending.contains(token.value())) {
            return it->second;
        }
    }
    return nullptr;
}

RemoteDmb LoopbackDevice::Impl::view_of(DmbToken token, const Attachment& attachment) {
    return {token,
            attachment.index,
            attachment.size_class,
            dmb_of(attachment.file),
            &page_of(attachment.file).bells,
            attachment.link};
}

Result<RemoteDmb> LoopbackDevice::Impl::attach_pending(Link& link, DmbToken token) {
    if (!may_share_with(link.process.uid)) {
        return Error(std::errc::permission_denied);
    }
    const auto [entry, inserted] = attached_.try_emplace(token.value());
    if (!inserted) {
        return Error(std::errc::invalid_argument); // another peer's: tokens are unique
    }
    link.peer_spares.reserve(kSparesMax); // keeping one must not fail
    const auto found = link.pending.find(token.value());
    Attachment& attachment = entry->second;
    attachment.file = std::move(found->second.file);
    attachment.index = found->second.index;
    attachment.size_class = found->second.size_class;
    attachment.link = &link;
    attachment.count = 1;
    attachment.forked = found->second.forked;
    if (found->second.retired) {
        std::erase(link.retired, token.value());
        link.retired_bytes -= attachment.file.size();
    }
    link.pending.erase(found);
    ++link.attachments;
    page_of(attachment.file).use.store(PeerUse::attached, std::memory_order_seq_cst);
    return view_of(token, attachment);
}

Result<RemoteDmb> LoopbackDevice::Impl::attach_dmb(LinkGroupId owner, DmbToken token) {
    const std::lock_guard guard(mutex_);
    const auto again = attached_.find(token.value());
    if (again != attached_.end() && again->second.link->peer == owner) {
        ++again->second.count;
        return view_of(token, again->second);
    }
    Link* link = find_pending(owner, token);
    if (link == nullptr) {
        fetch_from(owner);
        link = find_pending(owner, token);
    }
    if (link == nullptr) {
        sweep();
        return Error(std::errc::invalid_argument);
    }
    auto attached = attach_pending(*link, token);
    sweep();
    return attached;
}

Result<void> LoopbackDevice::Impl::detach_dmb(DmbToken token) {
    Mapping file; // unmapped after the lock is gone
    const std::lock_guard guard(mutex_);
    const auto found = attached_.find(token.value());
    if (found == attached_.end()) {
        return Error(std::errc::invalid_argument);
    }
    Attachment& attachment = found->second;
    if (--attachment.count > 0) {
        return {};
    }
    Link& link = *attachment.link;
    --link.attachments;
    if (!keep_peers(token, attachment)) {
        peer_bytes_ -= attachment.file.size();
        file = std::move(attachment.file);
    }
    attached_.erase(found);
    remove_if_unused(link);
    return {};
}

/// Returns the doorbells to be signalled.
Result<std::uint64_t> LoopbackDevice::Impl::move_data(DmbToken token,
                                                      bool signal_owner,
                                                      std::uint32_t offset,
                                                      std::span<const std::byte> data,
                                                      RemoteDmb& target) {
    // The mapping must not go while we copy; nor may its memory be reused before the last store.
    const std::lock_guard guard(mutex_);
    const auto found = attached_.find(token.value());
    if (found == attached_.end()) {
        return Error(std::errc::invalid_argument);
    }
    target = view_of(token, found->second);
    return move_into(target, signal_owner, offset, data);
}

} // namespace smcd::dev
