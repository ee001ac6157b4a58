// The server: Proposal, Accept or Decline, then Confirm or Decline. Floor 3.
#include "smcd/runtime/handshake.hpp"
#include "smcd/runtime/handshake_roles.hpp"
#include "smcd/runtime/handshake_state.hpp"
#include "smcd/runtime/process.hpp"
#include "smcd/runtime/return_frame.hpp"
#include "smcd/runtime/settle.hpp"

namespace smcd {
namespace {

clc::ServerHandshake& machine(Socket& socket) {
    return std::get<clc::ServerHandshake>(socket.handshake->machine);
}

void drop_dmb(Socket& socket) {
    dev::Dmb& dmb = socket.handshake->dmb;
    if (dmb.token != DmbToken()) {
        static_cast<void>(socket.device->unregister_dmb(dmb.token));
        dmb = {};
    }
}

void to_tcp(Process& process, Socket& socket, Reason reason) {
    drop_dmb(socket);
    settle_begin(process, socket, reason, false);
}

/// The client waits for no answer: its Decline and its bytes, or the end, stand behind its Proposal. Asked right before each
/// answer, since one into a connection that it has closed would draw a reset.
bool has_given_up(Process& process, Socket& socket) {
    if (!has_inbound(socket.fd)) {
        return false;
    }
    drop_dmb(socket);
    settle_begin(process, socket, Reason::peer_declined, true);
    return true;
}

void decline(Process& process, Socket& socket, Reason reason) {
    if (has_given_up(process, socket)) {
        return;
    }
    const clc::Message message = machine(socket).decline(reason);
    static_cast<void>(write_outbound(socket, message.span()));
    drop_dmb(socket);
    // The client's own Decline may be crossing ours.
    settle_begin(process, socket, reason, true);
}

struct Prepared {
    LinkGroupId group; ///< ours, on the device
    bool first_contact = false;
};

/// Registers our DMB on the device of a match. Reason::none, or why the next match is to be tried.
Reason prepare(Process& process,
               Socket& socket,
               const clc::Match& match,
               const clc::VendorExtension& client,
               Prepared& prepared) {
    dev::LinkedDevice* const device = process.devices().on(match.remote.chid);
    if (device == nullptr || !client.present || !device->query_remote_gid(match.remote.gid)) {
        return Reason::no_smcd_v2_device;
    }
    const auto group = device->link_group_id();
    if (!group) {
        return why_no_dmb(group.error());
    }
    prepared = {*group, !device->has_link(client.group)};
    if (match.version == 1 && !socket.vlan.begin(*device, socket.handshake->vlan)) {
        return Reason::vlan_register;
    }
    const auto own = register_dmb_for(process, socket, *device, match.remote.gid, client.group);
    if (!own) {
        socket.vlan.end();
        return why_no_dmb(own.error());
    }
    socket.device = device;
    socket.handshake->dmb = *own;
    socket.handshake->peer_group = client.group;
    socket.handshake->own_client.store(client.group == *group, std::memory_order_release);
    return Reason::none;
}

void on_proposal(Process& process, Socket& socket, const clc::Step& step) {
    // In the client's order. The first device that works serves the connection; the first failure
    // that tells something is what we report.
    Reason failure = Reason::none;
    Prepared prepared;
    const clc::Match* chosen = nullptr;
    for (const clc::Match& match : step.matches.span()) {
        const Reason reason = prepare(process, socket, match, step.vendor, prepared);
        if (reason == Reason::none) {
            chosen = &match;
            break;
        }
        // A device on which we cannot meet anyway explains less than one that failed.
        const bool vague = failure == Reason::none || failure == Reason::no_smcd_v2_device;
        failure = vague ? reason : failure;
    }
    if (chosen == nullptr) {
        decline(process, socket, failure);
        return;
    }
    HandshakeState& state = *socket.handshake;
    const clc::Message message = machine(socket).accept(*chosen,
                                                        {state.dmb.token,
                                                         state.dmb.size_class,
                                                         prepared.group,
                                                         socket.device->gid(),
                                                         prepared.first_contact});
    if (has_given_up(process, socket)) {
        return;
    }
    if (!write_outbound(socket, message.span())) {
        // The client is gone; its Decline may stand behind its Proposal.
        drop_dmb(socket);
        state.expects_proposal = true;
        settle_begin(process, socket, Reason::peer_gone, true);
        return;
    }
    state.answered = true;
}

/// The client is live already, and its DMB is out of reach: a return to TCP of rings in which we have read and written
/// nothing. The client sends again what it has sent; all that we need of it is its frame.
void take_back(Process& process, Socket& socket, Reason reason) {
    drop_dmb(socket);
    if (!write_outbound(socket, encode(ReturnFrame{}))) {
        settle_reset(process, socket, reason);
        return;
    }
    socket.block->flags.fetch_or(kFlagFrameInbound, std::memory_order_acq_rel);
    settle_begin(process, socket, reason, true);
}

void on_confirm(Process& process, Socket& socket, const clc::DmbInfo& peer) {
    dev::LinkedDevice& device = *socket.device;
    if ((socket.block->flags.load(std::memory_order_acquire) & kFlagForked) != 0) {
        take_back(process, socket, Reason::fork_in_handshake);
        return;
    }
    auto remote = device.attach_dmb(peer.group, peer.token);
    if (!remote || remote->size_class != peer.size_class) {
        if (remote) {
            static_cast<void>(device.detach_dmb(peer.token));
        }
        take_back(process, socket, Reason::out_of_memory);
        return;
    }
    const dev::Dmb own = socket.handshake->dmb;
    if (!prepare_channel(socket, own, *remote)) {
        static_cast<void>(device.detach_dmb(peer.token));
        take_back(process, socket, Reason::out_of_memory);
        return;
    }
    if (!pre_buffer_fits(socket)) {
        socket.channel = Channel{};
        static_cast<void>(device.detach_dmb(peer.token));
        take_back(process, socket, Reason::peer_buffer_small);
        return;
    }
    socket.peer_gid = peer.gid;
    establish(process, socket, own, *remote);
}

}  // namespace

bool server_step(Process& process, Socket& socket, const InboundView& view) {
    if (view.count == 0) {
        to_tcp(process, socket, Reason::peer_gone);
        return true;
    }
    if (machine(socket).state() == clc::ServerHandshake::State::waiting) {
        clc::LocalOffer offer;
        if (make_offer(process, socket, offer, false) == Reason::none) {
            machine(socket).start(offer);
            socket.handshake->vlan = offer.v1.vlan;
        }
    }
    const Reason refusal = socket.handshake->refusal;
    const clc::Step step = machine(socket).feed(view.span());
    take_inbound(socket.fd, step.consumed);
    switch (step.event) {
        case clc::Event::need_more:
            if (view.ended) {
                to_tcp(process, socket, Reason::peer_gone);
            }
            return view.ended;
        case clc::Event::proposed:
            if (has_given_up(process, socket)) {
                return true;
            }
            if (refusal != Reason::none) {
                decline(process, socket, refusal);
            } else {
                on_proposal(process, socket, step);
            }
            return true;
        case clc::Event::refused:
            decline(process, socket, refusal != Reason::none ? refusal : step.reason);
            return true;
        case clc::Event::contradicts:
            // The client is live already and will not look at TCP again.
            drop_dmb(socket);
            settle_reset(process, socket, step.reason);
            return true;
        case clc::Event::confirmed:
            on_confirm(process, socket, step.peer);
            return true;
        case clc::Event::declined:
            socket.block->peer_reason.store(step.diagnosis, std::memory_order_relaxed);
            if (step.out_of_sync && socket.device != nullptr) {
                socket.device->forget_link(socket.handshake->peer_group);
            }
            to_tcp(process, socket, Reason::peer_declined);
            return true;
        case clc::Event::not_clc:
        case clc::Event::accepted:
            to_tcp(process, socket, Reason::peer_sent_data);
            return true;
    }
    return false;
}

bool server_give_up(Process& process, Socket& socket, Reason reason) {
    HandshakeState& state = *socket.handshake;
    if (state.answered) {
        return false;
    }
    state.expects_proposal = true;
    settle_begin(process, socket, reason, true);
    return true;
}

}  // namespace smcd
