// The client: Proposal, then Accept or Decline, then Confirm. Floor 3.
#include <poll.h>

#include "smcd/base/clock.hpp"
#include "smcd/base/raw_syscall.hpp"
#include "smcd/runtime/handshake.hpp"
#include "smcd/runtime/handshake_roles.hpp"
#include "smcd/runtime/handshake_state.hpp"
#include "smcd/runtime/process.hpp"
#include "smcd/runtime/settle.hpp"

namespace smcd {
namespace {

clc::ClientHandshake& machine(Socket& socket) {
    return std::get<clc::ClientHandshake>(socket.handshake->machine);
}

bool has_ended(int fd) noexcept {
    pollfd ended{fd, POLLRDHUP, 0};
    return raw::poll(&ended, 1, 0) > 0;
}

/// Says Decline and goes to TCP; the server's answer may still be under way unless it has come.
void decline(Process& process, Socket& socket, Reason reason, bool may_swallow) {
    const clc::Message message = machine(socket).decline(reason, reason == Reason::sync_error);
    static_cast<void>(write_outbound(socket, message.span()));
    settle_begin(process, socket, reason, may_swallow);
}

/// Accept is here: both DMBs must be usable before Confirm goes out.
void on_accept(Process& process, Socket& socket, const clc::DmbInfo& peer, Chid chid, unsigned version) {
    socket.device = process.devices().on(chid);
    if (version >= 2) {
        socket.vlan.end();
    }
    dev::LinkedDevice& device = *socket.device;
    auto remote = device.attach_dmb(peer.group, peer.token);
    if (!remote && !peer.first_contact && !device.has_link(peer.group)) {
        decline(process, socket, Reason::sync_error, false);
        return;
    }
    if (!remote || remote->size_class != peer.size_class) {
        if (remote) {
            static_cast<void>(device.detach_dmb(peer.token));
        }
        decline(process, socket, Reason::out_of_memory, false);
        return;
    }
    auto group = device.link_group_id();
    auto own = register_dmb_for(process, socket, device, peer.gid, peer.group);
    if (!group || !own) {
        static_cast<void>(device.detach_dmb(peer.token));
        decline(process, socket, own ? Reason::no_resources : why_no_dmb(own.error()), false);
        return;
    }
    const auto undo = [&] {
        socket.channel = Channel{};
        static_cast<void>(device.unregister_dmb(own->token));
        static_cast<void>(device.detach_dmb(peer.token));
    };
    // The server may write as soon as it has read Confirm: our side must be open before.
    if (!prepare_channel(socket, *own, *remote)) {
        undo();
        decline(process, socket, Reason::out_of_memory, false);
        return;
    }
    if (!pre_buffer_fits(socket)) {
        undo();
        decline(process, socket, Reason::peer_buffer_small, false);
        return;
    }
    const clc::Message message = machine(socket).confirm(
        {own->token, own->size_class, *group, device.gid(), peer.first_contact});
    if (!write_outbound(socket, message.span())) {
        undo();
        settle_begin(process, socket, Reason::peer_gone, false);
        return;
    }
    socket.peer_gid = peer.gid;
    establish(process, socket, *own, *remote);
}

/// The device takes part in the connection's VLAN from now on; where it does not, version 1 is not offered.
Reason join_vlan(Process& process, Socket& socket, clc::LocalOffer& offer) {
    if (!offer.v1.offered || offer.v1.vlan == 0 || offer.devices.count == 0) {
        return Reason::none;
    }
    dev::LinkedDevice* const native = process.devices().on(offer.devices.items[0].chid);
    if (native != nullptr && socket.vlan.begin(*native, offer.v1.vlan)) {
        offer.vendor.vlan = offer.v1.vlan;
        return Reason::none;
    }
    offer.v1.offered = false;
    return offer.v1.alone ? Reason::vlan_register : Reason::none;
}

}  // namespace

Reason client_propose(Process& process, Socket& socket) {
    clc::LocalOffer offer;
    if (const Reason reason = make_offer(process, socket, offer, true); reason != Reason::none) {
        return reason;
    }
    if (const Reason reason = join_vlan(process, socket, offer); reason != Reason::none) {
        return reason;
    }
    // A server that has ended already does not wait for us, and a Proposal into a closed connection would draw a reset
    // in front of what it has said.
    if (has_ended(socket.fd)) {
        return Reason::peer_gone;
    }
    const clc::Message message = machine(socket).start(offer);
    return write_outbound(socket, message.span()) ? Reason::none : Reason::peer_gone;
}

bool client_step(Process& process, Socket& socket, const InboundView& view) {
    if (view.count == 0) {
        settle_begin(process, socket, Reason::peer_gone, false);
        return true;
    }
    const clc::Step step = machine(socket).feed(view.span());
    take_inbound(socket.fd, step.consumed);
    switch (step.event) {
        case clc::Event::need_more:
            if (view.ended) {
                settle_begin(process, socket, Reason::peer_gone, false);
            }
            return view.ended;
        case clc::Event::accepted:
            if (has_ended(socket.fd)) {  // a Confirm would draw a reset
                settle_begin(process, socket, Reason::peer_gone, false);
                return true;
            }
            on_accept(process, socket, step.peer, step.device.chid, step.version);
            return true;
        case clc::Event::declined:
            socket.block->peer_reason.store(step.diagnosis, std::memory_order_relaxed);
            settle_begin(process, socket, Reason::peer_declined, false);
            process.short_lived().on_end(socket.destination, false, monotonic_ns());
            return true;
        case clc::Event::contradicts:
            decline(process, socket, step.reason, false);
            return true;
        case clc::Event::not_clc:
        case clc::Event::proposed:
        case clc::Event::refused:
        case clc::Event::confirmed:
            // The server's application spoke before its handshake: these bytes are the application's.
            settle_begin(process, socket, Reason::peer_sent_data, false);
            return true;
    }
    return false;
}

bool client_give_up(Process& process, Socket& socket, Reason reason) {
    socket.handshake->expects_answer = true;
    decline(process, socket, reason, true);
    if (reason == Reason::closed_early) {  // as short as can be
        process.short_lived().on_end(socket.destination, false, monotonic_ns());
    }
    return true;
}

}  // namespace smcd
