// Answers to management requests. Floor 4, docs/fabric.md "management".
#include "smcd/fabric/answers.hpp"

#include <unistd.h>

#include <array>
#include <cstdio>

#include "smcd/tools/text.hpp"

namespace smcd::fabric {

using dev::ivshmem::Listen;
using dev::ivshmem::PeerState;

namespace {

const char* state_word(const PeerView& view) noexcept {
    if (view.dead) {
        return "dead";
    }
    switch (view.peer.state) {
    case PeerState::free:
        return "free";
    case PeerState::joining:
        return "joining";
    case PeerState::live:
        return "live";
    case PeerState::left:
        return "left";
    }
    return "unknown"; // a peer's nonsense
}

const char* listen_word(Listen listen) noexcept {
    switch (listen) {
    case Listen::poll:
        return "poll";
    case Listen::futex:
        return "futex";
    case Listen::eventfd:
        return "eventfd";
    }
    return "unknown";
}

const char* word(Happening what) noexcept {
    switch (what) {
    case Happening::serving:
        return "serving";
    case Happening::client_connected:
        return "client_connected";
    case Happening::client_ended:
        return "client_ended";
    case Happening::client_dropped:
        return "client_dropped";
    case Happening::client_refused:
        return "client_refused";
    case Happening::drained:
        return "drained";
    case Happening::undrained:
        return "undrained";
    }
    return "unknown";
}

bool is_here(const PeerView& view) noexcept {
    return view.peer.state == PeerState::live && !view.dead;
}

} // namespace

pb::Reply Answers::answer(const pb::Request& request) {
    pb::Reply reply;
    switch (request.what_case()) {
    case pb::Request::kStatus:
        fill(*reply.mutable_status());
        return reply;
    case pb::Request::kPeers:
        fill(*reply.mutable_peers());
        return reply;
    case pb::Request::kEvents:
        fill(*reply.mutable_events());
        return reply;
    case pb::Request::kDrain:
        return drain(request.drain());
    case pb::Request::WHAT_NOT_SET:
        break;
    }
    reply.set_error("this server does not know the request");
    return reply;
}

void Answers::fill(pb::Status& status) const {
    const dev::ivshmem::Region& region = region_.region();
    const auto uptime = std::chrono::steady_clock::now() - start_;
    std::array<char, 33> gid{};
    std::snprintf(gid.data(),
                  gid.size(),
                  "%016llx%016llx",
                  static_cast<unsigned long long>(region.uuid().high),
                  static_cast<unsigned long long>(region.uuid().low));
    status.set_version(SMCD_VERSION);
    status.set_pid(static_cast<std::uint32_t>(::getpid()));
    status.set_uptime_ms(static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(uptime).count()));
    status.set_region(region_.path());
    status.set_socket(server_.options().path);
    status.set_gid(gid.data());
    status.set_region_bytes(region.geometry().bytes);
    status.set_slots(region.peers());
    std::uint32_t used = 0;
    for (const PeerView& view : region_.peers()) {
        if (is_here(view)) {
            ++used;
            status.set_dmbs(status.dmbs() + view.dmbs);
            status.set_dmb_bytes(status.dmb_bytes() + view.dmb_bytes);
            status.set_dmbs_opened(status.dmbs_opened() + view.opened);
        }
    }
    status.set_slots_used(used);
    status.set_clients(static_cast<std::uint32_t>(server_.connected()));
    status.set_vectors(server_.options().vectors);
    status.set_clients_served(server_.counters().served);
    status.set_clients_dropped(server_.counters().dropped);
    status.set_clients_refused(server_.counters().refused);
    status.set_runs(region_.runs());
    status.set_drained(region_.drained());
}

void Answers::fill(pb::Peers& peers) const {
    for (const PeerView& view : region_.peers()) {
        pb::Peer& peer = *peers.add_peers();
        peer.set_slot(view.peer.slot);
        peer.set_epoch(view.peer.epoch);
        peer.set_state(state_word(view));
        peer.set_group(view.peer.group.value());
        peer.set_pid(view.peer.pid);
        peer.set_name(tools::printable(view.name));
        peer.set_same_kernel(view.same_kernel);
        peer.set_hears_by(listen_word(view.peer.listen));
        if (view.peer.server_client) {
            peer.set_client(*view.peer.server_client);
            peer.set_connected(server_.is_connected(*view.peer.server_client));
        }
        peer.set_dmbs(view.dmbs);
        peer.set_dmb_bytes(view.dmb_bytes);
        peer.set_opened(view.opened);
        peer.set_drained(view.peer.drained);
        for (const ListenerView& listener : view.listeners) {
            pb::Listener& entry = *peer.add_listeners();
            entry.set_address(listener.address);
            entry.set_port(listener.port);
            entry.set_pnetid(tools::printable(listener.pnetid));
        }
    }
}

void Answers::fill(pb::Events& events) const {
    for (const FabricEvent& event : log_.events()) {
        pb::Event& entry = *events.add_events();
        entry.set_number(event.number);
        entry.set_unix_ms(static_cast<std::uint64_t>(
            std::chrono::duration_cast<std::chrono::milliseconds>(event.when.time_since_epoch())
                .count()));
        entry.set_what(word(event.what));
        if (event.client) {
            entry.set_client(*event.client);
        }
        if (event.peers) {
            entry.set_peers(*event.peers);
        }
    }
}

pb::Reply Answers::drain(const pb::DrainRequest& request) {
    pb::Reply reply;
    FabricRegion::Whom whom;
    switch (request.whom_case()) {
    case pb::DrainRequest::kEverybody:
        whom.everybody = request.everybody();
        break;
    case pb::DrainRequest::kPid:
        whom.pid = request.pid();
        break;
    case pb::DrainRequest::kSlot:
        whom.slot = request.slot();
        break;
    case pb::DrainRequest::WHOM_NOT_SET:
        reply.set_error("whom to drain is missing");
        return reply;
    }
    const std::uint32_t peers = region_.drain(whom, request.undo());
    log_.add(request.undo() ? Happening::undrained : Happening::drained, std::nullopt, peers);
    reply.mutable_drained()->set_peers(peers);
    return reply;
}

} // namespace smcd::fabric
