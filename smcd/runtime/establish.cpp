// The switch to shared memory: both DMBs are there, the verdict is SMC. Floor 3.
#include <sys/socket.h>
#include <sys/utsname.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "smcd/base/error.hpp"
#include "smcd/core/direction_lock.hpp"
#include "smcd/runtime/handshake_roles.hpp"
#include "smcd/runtime/handshake_state.hpp"
#include "smcd/runtime/ip_prefix.hpp"
#include "smcd/runtime/process.hpp"
#include "smcd/runtime/stream.hpp"
#include "smcd/runtime/settle.hpp"
#include "smcd/runtime/system_eid.hpp"

namespace smcd {
namespace {

/// A pre-buffer that is full has room in its ring.
constexpr SizeClass kSizeClassMin{2};

SizeClass wanted_size_class(const Process& process, const Socket& socket) {
    const std::uint8_t configured = process.config().size_class;
    if (socket.receive_buffer_wish == 0) {
        return SizeClass(configured);
    }
    return SizeClass(size_class_for(socket.receive_buffer_wish));
}

/// The peer has closed before what waited reached its ring: the application sees that end, and no reset beside it.
void forget_reset_by_flush(ConnBlock& block) noexcept {
    const bool aborted = (block.rx.peer_flags.load(std::memory_order_relaxed) & kPeerConnAbort) != 0;
    if (!aborted && (block.flags.load(std::memory_order_acquire) & kFlagReset) != 0) {
        block.so_error.store(0, std::memory_order_relaxed);
        block.flags.fetch_and(~kFlagReset, std::memory_order_acq_rel);
    }
}

}  // namespace

Reason make_offer(Process& process, const Socket& socket, clc::LocalOffer& offer, bool as_client) {
    LinkGroupId group;
    Reason failure = Reason::no_resources;
    for (const auto& device : process.devices().all()) {
        if (group != LinkGroupId()) {
            device->prefer_group(group);
        }
        const auto own = device->link_group_id();
        if (!own && own.error() == Errc::fabric_gone) {
            failure = Reason::fabric_unavailable;
        } else if (!own && own.error() == std::errc::no_such_device) {
            failure = Reason::device_lost;
        }
        // A Proposal has room for one link group id.
        if (!own || (as_client && group != LinkGroupId() && *own != group)) {
            continue;
        }
        group = group == LinkGroupId() ? *own : group;
        offer.devices.add({device->gid(), device->fabric_id()});
    }
    process.progress().watch_devices();
    for (const std::string& text : process.config().ueids) {
        if (const auto ueid = clc::make_ueid(text); ueid) {
            offer.ueids.add(*ueid);
        }
    }
    if (offer.ueids.count == 0) {
        offer.ueids.add(clc::default_ueid());
    }
    if (const auto seid = clc::make_ueid(system_eid()); process.config().offers_seid && seid) {
        offer.has_seid = true;
        offer.seid = *seid;
    }
    utsname system{};
    if (::uname(&system) == 0) {
        offer.host.fill(' ');
        const std::string_view name(system.nodename);
        std::copy_n(name.begin(), std::min(name.size(), offer.host.size()), offer.host.begin());
    }
    offer.vendor = {true, clc::kFeatureBells, group};
    if (process.config().versions != Versions::two) {
        offer.v1.offered = read_prefixes(socket.fd, offer.v1);
        offer.v1.alone = process.config().versions == Versions::one;
        const bool native = offer.devices.count > 0 && !is_emulated(offer.devices.items[0].chid);
        if (as_client && !offer.v1.vlan_known) {
            offer.v1.offered = false;
            if (offer.v1.alone) {
                return Reason::vlan_lookup;
            }
        }
        if (offer.v1.alone && !(native && offer.v1.offered)) {
            return Reason::configuration_error;  // as the kernel: no usable prefix, and no offer by version 2
        }
    }
    return offer.devices.count > 0 ? Reason::none : failure;
}

Result<dev::Dmb> register_dmb_for(const Process& process, const Socket& socket,
                                  dev::LinkedDevice& device, Gid gid, LinkGroupId group) {
    SizeClass wanted = wanted_size_class(process, socket);
    auto dmb = device.register_dmb({gid, group, wanted});
    while (!dmb && dmb.error() == std::errc::not_enough_memory && wanted > kSizeClassMin) {
        wanted = SizeClass(static_cast<std::uint8_t>(wanted.value() - 1));
        dmb = device.register_dmb({gid, group, wanted});
    }
    return dmb;
}

Reason why_no_dmb(std::error_code error) noexcept {
    if (error == std::errc::permission_denied) {
        return Reason::peer_uid;
    }
    if (error == Errc::switched_off) {
        return Reason::device_drained;
    }
    if (error == Errc::fabric_gone) {
        return Reason::fabric_unavailable;
    }
    if (error == std::errc::no_such_device) {
        return Reason::device_lost;
    }
    if (error == std::errc::no_space_on_device) {
        return Reason::max_dmbs;
    }
    if (error == std::errc::connection_refused) {
        return Reason::link_refused;
    }
    if (error == std::errc::too_many_files_open ||
        error == std::errc::too_many_files_open_in_system ||
        error.value() == ETOOMANYREFS || // processes of this user that do not read
        error == std::errc::resource_unavailable_try_again) { // a peer that does not read
        return Reason::no_resources;
    }
    return Reason::out_of_memory;
}

bool prepare_channel(Socket& socket,
                     const dev::Dmb& own,
                     const dev::RemoteDmb& remote) {
    ConnBlock& block = *socket.block;
    Channel& channel = socket.channel;
    if (!socket.device->supports_attach()) {
        auto buffer = Mapping::map_anonymous_shared(send_buffer_bytes(remote.size_class));
        if (!buffer) {
            return false;
        }
        socket.send_buffer = *std::move(buffer);
    }
    channel.block = &block;
    channel.device = socket.device;
    channel.dmb = own;
    channel.remote = remote;
    channel.remote.user = &socket;
    channel.own = view_dmb(own.memory);
    channel.own_bells = own.bells;
    if (socket.device->supports_attach()) {
        channel.peer = view_dmb(remote.memory);
        channel.peer_bells = remote.bells;
    } else {
        use_send_buffer(channel, socket.send_buffer.bytes());
        socket.device->name_holder(remote.token, &socket);
    }
    block.local_token = own.token.value();
    block.remote_token = remote.token.value();
    block.size_class_local = own.size_class.value();
    block.size_class_remote = remote.size_class.value();
    block.device = dev::DeviceId{socket.device->kind(), socket.device->fabric_id()}.word();
    open_channel(channel);
    return true;
}

void establish(Process& process,
               Socket& socket,
               const dev::Dmb& /*own*/,
               const dev::RemoteDmb& /*remote*/) {
    ConnBlock& block = *socket.block;
    // Without an entry the sets look at it all the time.
    static_cast<void>(
        process.dmb_owners().put(*socket.device, socket.channel.dmb.index, &socket));
    process.note_verdict(socket, Phase::smc, Reason::none);
    block.reason.store(static_cast<std::uint32_t>(Reason::none), std::memory_order_relaxed);
    {
        // Application threads append to the pre-buffer under this lock: none comes between flush and switch.
        const DirectionGuard guard(block.tx.lock);
        // What waits was sent before the shutdown that may come from another thread at any moment of this.
        bool wants_shutdown = false;
        bool flushed = false;
        do {
            wants_shutdown |= (block.flags.fetch_and(~kFlagShutWrite) & kFlagShutWrite) != 0;
            flushed = flush_to_ring(process, socket);
        } while (!flushed && (block.flags.load(std::memory_order_acquire) & kFlagShutWrite) != 0);
        forget_reset_by_flush(block);
        // sync: phase. A shutdown either sees the phase, or we see its flag.
        block.phase.store(Phase::smc, std::memory_order_seq_cst);
        wants_shutdown |= (block.flags.load(std::memory_order_seq_cst) & kFlagShutWrite) != 0;
        if (wants_shutdown) {
            block.flags.fetch_or(kFlagShutWrite, std::memory_order_acq_rel);
            stream_tell_ends(socket);
        }
    }
    process.pin_if_wanted(socket);
    process.on_new_phase(socket);
    process.progress().watch(socket);
}

}  // namespace smcd
