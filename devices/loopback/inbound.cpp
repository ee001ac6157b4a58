// What peers say over their links, and what we believe of it. Floor 2, docs/shared-memory.md
// "links".
#include <cerrno>
#include <utility>

#include "devices/loopback/impl.hpp"
#include "smcd/base/error.hpp"
#include "smcd/base/log.hpp"
#include "smcd/base/memfd.hpp"

namespace smcd::dev {
namespace {

/// Bound of one visit; what is left announces itself again.
constexpr int kMessagesMax = 1024;

} // namespace

void LoopbackDevice::Impl::drain(Link& link) {
    // An inherited socket is the parent's to read: each message must reach the process it is meant
    // for.
    for (int i = 0; i < kMessagesMax && link.connected() && !link.inherited; ++i) {
        auto received = receive_message(link.socket.get());
        const auto handled =
            received ? handle(link, *received) : Result<void>(Error(received.error()));
        if (!handled && handled.error() == std::errc::resource_unavailable_try_again) {
            return;
        }
        if (!handled) {
            end_link(link, handled.error());
        }
    }
}

void LoopbackDevice::Impl::end_link(Link& link, std::error_code reason) noexcept {
    if (reason != Errc::peer_gone) {
        counts.violations.fetch_add(1, std::memory_order_relaxed);
        SMCD_LOG_LIMITED(info, "loopback: link %08x broke the rules", link.peer.value());
    }
    disconnect(link);
}

Result<void> LoopbackDevice::Impl::handle(Link& link, ReceivedMessage& received) {
    if (link.greeted != (received.message.kind != MessageKind::hello)) {
        return engine_error(Errc::peer_violation);
    }
    switch (received.message.kind) {
    case MessageKind::hello:
        return on_hello(link, received);
    case MessageKind::dmb:
        return on_dmb(link, received);
    case MessageKind::doorbell:
        on_doorbell(link, received);
        return {};
    case MessageKind::retire:
        on_retire(link, DmbToken(received.message.token));
        return {};
    case MessageKind::reuse:
        return on_reuse(link, received.message);
    case MessageKind::status:
        return on_status(link, received);
    case MessageKind::event:
        return on_event_message(link, received.message);
    }
    return engine_error(Errc::peer_violation);
}

/// Whether somebody else listens at the name that a process which connected to us claims: nobody is
/// taken for another. A name without a listener is believed: its holder may have connected, said
/// all it had to say and gone.
bool LoopbackDevice::Impl::is_somebody_elses(const Link& link, LinkGroupId claimed) const {
    const auto probe = connect_to(claimed, options.bus.place);
    if (!probe) {
        return probe.error() != std::errc::connection_refused;
    }
    const auto holder = peer_identity(probe->get());
    return !holder || holder->pid != link.process.pid || holder->uid != link.process.uid;
}

Result<void> LoopbackDevice::Impl::on_hello(Link& link, ReceivedMessage& received) {
    const LinkGroupId peer(received.message.first);
    if (link.outgoing ? link.peer != peer : is_somebody_elses(link, peer)) {
        return engine_error(Errc::peer_violation);
    }
    const int area = received.descriptors[0].get();
    const int page = received.descriptors[1].get();
    SMCD_TRY_VOID(check_sealed_memfd(area, kSignalAreaBytes));
    SMCD_TRY_VOID(check_sealed_memfd(page, kDoorbellPageBytes));
    SMCD_TRY(link.peer_area_file,
             Mapping::map_shared(area, kSignalAreaBytes, PROT_READ | PROT_WRITE));
    SMCD_TRY(link.peer_page_file, Mapping::map_shared(page, kDoorbellPageBytes, PROT_READ));
    if (!link.outgoing) {
        by_peer_.emplace(peer.value(), &link);
        link.peer = peer;
        --silent_links_;
    }
    link.to_self = peer == own_group_;
    link.greeted = true;
    tell_doorbells(link);
    return {};
}

Result<void> LoopbackDevice::Impl::on_dmb(Link& link, ReceivedMessage& received) {
    const LinkMessage& message = received.message;
    const SizeClass size_class(static_cast<std::uint8_t>(message.second));
    const std::size_t bytes = dmb_file_bytes(size_class);
    if (link.pending.size() - link.retired.size() >= kPendingMax ||
        link.pending.contains(message.token)) {
        return engine_error(Errc::peer_violation);
    }
    if (attached_.size() + link.pending.size() >= options.max_peer_dmbs || !make_peer_room(bytes)) {
        return {}; // not attachable: the connection stays on TCP
    }
    SMCD_TRY_VOID(check_sealed_memfd(received.descriptors[0].get(), bytes));
    auto file = Mapping::map_shared(received.descriptors[0].get(), bytes, PROT_READ | PROT_WRITE);
    if (!file) {
        // Ours to suffer when memory or mappings ran out; else the file was made unwritable.
        const bool ours = file.error() == std::errc::not_enough_memory ||
                          file.error() == std::errc::too_many_files_open_in_system;
        return ours ? Result<void>() : engine_error(Errc::unsafe_memory);
    }
    link.pending.emplace(message.token,
                         PeerDmb{*std::move(file), SbaIndex(message.first), size_class});
    peer_bytes_ += bytes;
    return {};
}

void LoopbackDevice::Impl::on_retire(Link& link, DmbToken token) {
    drop_peer_spare(link, token);
    const auto found = link.pending.find(token.value());
    if (found == link.pending.end() || found->second.retired) {
        return;
    }
    link.retired.push_back(token.value());
    link.retired_bytes += found->second.file.size();
    found->second.retired = true;
    while (link.retired.size() > kRetiredMax || link.retired_bytes > kRetiredBytesMax) {
        const std::uint64_t oldest = link.retired.front();
        const std::size_t bytes = link.pending.at(oldest).file.size();
        link.retired.pop_front();
        link.retired_bytes -= bytes;
        peer_bytes_ -= bytes;
        link.pending.erase(oldest);
    }
}

} // namespace smcd::dev
