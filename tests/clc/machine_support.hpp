// Two sides of a handshake for the machine tests. Floor 4.
#pragma once

#include <optional>
#include <string>

#include "clc/handshake.hpp"
#include "tests/clc/support.hpp"

namespace smcd::test {

inline constexpr Gid kHostGid{0x3f1c2a907b4d4e55, 0x9c010a1b2c3d4e5f};

/// Loopback, one UEID, our extension.
[[nodiscard]] clc::LocalOffer loopback_offer(std::string_view ueid = "SMCD-DEMO-EID");
[[nodiscard]] clc::DmbInfo dmb_info(std::uint64_t token,
                                    bool first_contact = true,
                                    Gid gid = kHostGid);

[[nodiscard]] std::string_view event_name(clc::Event event);

/// A client and a server with the messages of their handshake, as far as it was driven.
struct Pair {
    clc::ClientHandshake client;
    clc::ServerHandshake server;
    Bytes proposal;
    Bytes accept;
    Bytes confirm;
    clc::Step proposed; ///< the server's answer to the Proposal
};

/// Client has proposed.
void propose(Pair& pair, const clc::LocalOffer& offer);
/// Server has read the Proposal and taken the first match.
void answer(Pair& pair, const clc::LocalOffer& offer, const clc::DmbInfo& dmb);
/// Client has read the Accept and confirmed it.
void finish(Pair& pair, const clc::DmbInfo& dmb);

} // namespace smcd::test
