// HandshakeState: the pure machine of one handshake and what the driver remembers beside it. Floor 3.
#pragma once

#include <atomic>
#include <variant>

#include "clc/handshake.hpp"
#include "devices/api/dmb.hpp"
#include "smcd/core/conn_arena.hpp"
#include "smcd/runtime/socket.hpp"

namespace smcd {

/// Under the handshake lock, but for the atomic members, which are looked at without.
struct HandshakeState {
    std::variant<std::monostate, clc::ClientHandshake, clc::ServerHandshake> machine;
    dev::Dmb dmb;             ///< registered for this connection; token 0: not yet
    LinkGroupId peer_group;   ///< server: the client's, once we have a DMB for it
    std::atomic<bool> own_client{false}; ///< server: the Proposal is of this process (own_peer.hpp)
    std::uint16_t vlan = 0;   ///< server: of our end
    std::atomic<bool> touched{false}; ///< server: a call on the socket has begun the handshake
    Reason refusal = Reason::none; ///< server: why its answer will be a Decline, whatever the client offers
    std::atomic<std::uint64_t> give_up_ns{0}; ///< when the patience of waiting bytes ends; 0: none wait
    std::atomic<std::uint32_t> pre_limit{kPreBufferBytes}; ///< of the pre-buffer, once the peer's ring is known
    std::atomic<bool> answered{false}; ///< server: Accept is out, only the client can end the handshake now
    std::atomic<bool> expects_answer{false}; ///< settling client: its Proposal is out, and the server's answer may still come
    std::atomic<bool> expects_proposal{false}; ///< settling server: the client's Proposal may still come
    bool owes_answer = false; ///< ... and has come: the client's Decline follows when its patience ends
    std::uint64_t fragment_since_ns = 0; ///< settling: since when a beginning of a CLC message stands inbound
};

}  // namespace smcd
