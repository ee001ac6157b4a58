// The two roles of the handshake driver; called by handshake.cpp under the handshake lock. Floor 3.
#pragma once

#include <system_error>

#include "clc/negotiate.hpp"
#include "smcd/base/reason.hpp"
#include "smcd/runtime/clc_inbound.hpp"
#include "smcd/runtime/socket.hpp"

namespace smcd {

class Process;

/// What we offer: the devices, EIDs and extensions of this process. A client leaves out a device that cannot be reached
/// under the link group id of the others. Reason::none, or why there is no device.
[[nodiscard]] Reason make_offer(Process& process, const Socket& socket, clc::LocalOffer& offer, bool as_client);

/// Sends the Proposal. Reason::none, or why nothing was sent.
[[nodiscard]] Reason client_propose(Process& process, Socket& socket);
/// Feeds the view to the machine; whether something was consumed or the phase changed.
[[nodiscard]] bool client_step(Process& process, Socket& socket, const InboundView& view);
/// Declines and settles on TCP. Always possible before Confirm: true.
bool client_give_up(Process& process, Socket& socket, Reason reason);

[[nodiscard]] bool server_step(Process& process, Socket& socket, const InboundView& view);
/// Settles on TCP; false once Accept is out.
bool server_give_up(Process& process, Socket& socket, Reason reason);

/// Registers the DMB that this socket receives into, of the size that it should have; of a smaller one where the device
/// has no more memory.
[[nodiscard]] Result<dev::Dmb> register_dmb_for(const Process& process, const Socket& socket,
                                                dev::LinkedDevice& device, Gid gid, LinkGroupId group);
/// What a failure of register_dmb() means to the connection.
[[nodiscard]] Reason why_no_dmb(std::error_code error) noexcept;
/// Flushes the pre-buffer into the ring and goes to Phase::smc.
void establish(Process& process, Socket& socket, const dev::Dmb& own, const dev::RemoteDmb& remote);
/// Fills the channel of socket.device from both DMBs, and the block with what `smcu ss` shows of them. false: no memory
/// for a send buffer.
[[nodiscard]] bool prepare_channel(Socket& socket, const dev::Dmb& own, const dev::RemoteDmb& remote);

}  // namespace smcd
