// Negotiation: what a side offers, and how a server chooses. Pure. Floor 1, docs/protocol.md "negotiation".
#pragma once

#include "clc/messages.hpp"
#include "smcd/base/reason.hpp"

namespace smcd::clc {

struct OfferedDevice {
    Gid gid; ///< low is 0 unless the CHID is emulated
    Chid chid;
    friend bool operator==(const OfferedDevice&, const OfferedDevice&) = default;
};

/// SMC-D version 1: one native device, between two sides in one IP subnet; no EIDs.
struct Version1 {
    bool offered = false; ///< the first device, if it is a native one, is offered by version 1, too
    bool alone = false;   ///< ... and version 2 is neither offered nor taken
    std::uint32_t ipv4_subnet = 0; ///< host order; of the connection's own address
    std::uint8_t ipv4_prefix_length = 0;
    FixedList<Ipv6Prefix, kIpv6PrefixesMax> ipv6_prefixes;
    bool vlan_known = true;
    std::uint16_t vlan = 0; ///< of the interface that has the connection's own address; 0: none
};

/// What one side has.
struct LocalOffer {
    FixedList<OfferedDevice, kSlotsMax> devices; ///< in order of preference
    Version1 v1;
    FixedList<Eid, kEidsMax> ueids;
    bool has_seid = false;
    Eid seid;
    std::array<char, 32> host{};
    VendorExtension vendor;
};

/// The Proposal that offers it, SMC-D v2.1, and by version 1 as the offer says. Skipped: a device that does not fit into the eight slots,
/// one whose CHID is offered already, and CHID 0, which would read as an empty slot.
[[nodiscard]] Proposal make_proposal(const LocalOffer& offer) noexcept;

/// The devices of a Proposal: the native one first, then the slots in order; a lone emulated slot is ignored.
[[nodiscard]] FixedList<OfferedDevice, kSlotsMax + 1> devices_of(const Proposal& proposal) noexcept;

/// SEID if both sides have the same, else the client's first UEID that the server has too. false: none.
[[nodiscard]] bool choose_eid(const LocalOffer& server, const Proposal& proposal, Eid& eid) noexcept;

/// Index of the server's device for each of the client's that has the same CHID, in the client's order.
struct Match {
    std::size_t local = 0; ///< index into the server's devices
    OfferedDevice remote;
    std::uint8_t version = 2; ///< by which it is accepted
    friend bool operator==(const Match&, const Match&) = default;
};
/// Reason::none and at least one match, or why there is none. Version 1 only where version 2 fails.
[[nodiscard]] Reason match_devices(const LocalOffer& server,
                                   const Proposal& proposal,
                                   FixedList<Match, kSlotsMax>& matches,
                                   Eid& eid) noexcept;

/// Code that goes on the wire for a reason: kernel codes as they are, ours as the nearest of the kernel's.
[[nodiscard]] std::uint32_t wire_code(Reason reason) noexcept;

}  // namespace smcd::clc
