#include "clc/negotiate.hpp"

#include <algorithm>

namespace smcd::clc {
namespace {

bool offers_smcd(Mode mode) noexcept {
    return mode == Mode::smcd || mode == Mode::both;
}

/// Why a Proposal without SMC-D version 2 is of no use to us.
Reason without_smcd_v2(const Proposal& proposal) noexcept {
    if (proposal.typev1 == Mode::none && proposal.typev2 == Mode::none) {
        return Reason::peer_no_smc;
    }
    return offers_smcd(proposal.typev1) ? Reason::no_smcd_device : Reason::no_smcr_device;
}

/// The device that version 1 can offer: the first, so that the order of preference holds. nullptr:
/// none.
const OfferedDevice* native_of(const LocalOffer& offer) noexcept {
    const bool there = offer.v1.offered && offer.devices.count > 0 &&
                       offer.devices.items[0].chid != Chid() &&
                       !is_emulated(offer.devices.items[0].chid);
    return there ? &offer.devices.items[0] : nullptr;
}

void offer_version1(const LocalOffer& offer,
                    const OfferedDevice& native,
                    Proposal& proposal) noexcept {
    proposal.typev1 = Mode::smcd;
    proposal.native = {native.gid.high, native.chid};
    proposal.ipv4_subnet = offer.v1.ipv4_subnet;
    proposal.ipv4_prefix_length = offer.v1.ipv4_prefix_length;
    proposal.ipv6_prefixes = offer.v1.ipv6_prefixes;
}

/// Whether both addresses of the connection are in one subnet.
bool same_subnet(const Version1& own, const Proposal& proposal) noexcept {
    if (own.ipv4_prefix_length != 0 && own.ipv4_prefix_length == proposal.ipv4_prefix_length &&
        own.ipv4_subnet == proposal.ipv4_subnet) {
        return true;
    }
    const auto ours = own.ipv6_prefixes.span();
    const auto theirs = proposal.ipv6_prefixes.span();
    return std::find_first_of(ours.begin(), ours.end(), theirs.begin(), theirs.end()) != ours.end();
}

Reason match_version1(const LocalOffer& server,
                      const Proposal& proposal,
                      FixedList<Match, kSlotsMax>& matches) noexcept {
    const OfferedDevice* native = native_of(server);
    if (native == nullptr || proposal.native.chid != native->chid) {
        return Reason::no_smcd_device;
    }
    if (!same_subnet(server.v1, proposal)) {
        return Reason::prefix_mismatch;
    }
    if (!server.v1.vlan_known) {
        return Reason::vlan_lookup;
    }
    if (server.v1.vlan != proposal.vendor.vlan) {
        return Reason::no_smcd_device; // one device does not reach the other
    }
    matches.add({
        0, {{proposal.native.gid, 0}, native->chid},
         1
    });
    return Reason::none;
}

} // namespace

Proposal make_proposal(const LocalOffer& offer) noexcept {
    Proposal proposal;
    proposal.vendor = offer.vendor;
    FixedList<Chid, kSlotsMax> chids;
    if (const OfferedDevice* native = native_of(offer); native != nullptr) {
        offer_version1(offer, *native, proposal);
        chids.add(native->chid);
        if (offer.v1.alone) {
            proposal.typev2 = Mode::none;
            proposal.has_v2_extension = false;
            proposal.has_smcd_v2_extension = false;
            proposal.release = 0;
            proposal.features = 0;
            return proposal;
        }
    }
    proposal.ueids = offer.ueids;
    proposal.has_seid = offer.has_seid;
    proposal.seid = offer.seid;
    for (const OfferedDevice& device : offer.devices.span()) {
        const auto used = chids.span();
        const std::size_t slots = is_emulated(device.chid) ? 2 : 1;
        if (device.chid == Chid() ||
            std::find(used.begin(), used.end(), device.chid) != used.end() ||
            proposal.slots.count + slots > kSlotsMax) {
            continue;
        }
        chids.add(device.chid);
        proposal.slots.add({device.gid.high, device.chid});
        if (slots == 2) {
            proposal.slots.add({device.gid.low, device.chid});
        }
    }
    return proposal;
}

FixedList<OfferedDevice, kSlotsMax + 1> devices_of(const Proposal& proposal) noexcept {
    FixedList<OfferedDevice, kSlotsMax + 1> devices;
    if (proposal.native.chid != Chid()) {
        devices.add({
            {proposal.native.gid, 0},
            proposal.native.chid
        });
    }
    const auto slots = proposal.slots.span();
    for (std::size_t i = 0; i < slots.size(); ++i) {
        if (slots[i].chid == Chid()) {
            continue; // an empty slot
        }
        if (!is_emulated(slots[i].chid)) {
            devices.add({
                {slots[i].gid, 0},
                slots[i].chid
            });
        } else if (i + 1 < slots.size() && slots[i + 1].chid == slots[i].chid) {
            devices.add({
                {slots[i].gid, slots[i + 1].gid},
                slots[i].chid
            });
            ++i;
        }
    }
    return devices;
}

bool choose_eid(const LocalOffer& server, const Proposal& proposal, Eid& eid) noexcept {
    if (server.has_seid && proposal.has_seid && server.seid == proposal.seid) {
        eid = server.seid;
        return true;
    }
    const auto known = server.ueids.span();
    for (const Eid& candidate : proposal.ueids.span()) {
        if (std::find(known.begin(), known.end(), candidate) != known.end()) {
            eid = candidate;
            return true;
        }
    }
    return false;
}

namespace {

Reason match_version2(const LocalOffer& server,
                      const Proposal& proposal,
                      FixedList<Match, kSlotsMax>& matches,
                      Eid& eid) noexcept {
    if (!offers_smcd(proposal.typev2)) {
        return without_smcd_v2(proposal);
    }
    if (!proposal.has_v2_extension) {
        return Reason::no_v2_extension;
    }
    if (!proposal.has_smcd_v2_extension) {
        return Reason::no_smcd_v2_extension;
    }
    if (proposal.ueids.count == 0 && !proposal.has_seid) {
        return Reason::no_ueid;
    }
    std::array<bool, kSlotsMax> used{};
    const auto offered = devices_of(proposal);
    for (const OfferedDevice& remote : offered.span()) {
        for (std::size_t i = 0; i < server.devices.count; ++i) {
            if (!used[i] && server.devices.items[i].chid == remote.chid) {
                used[i] = true;
                matches.add({i, remote});
                break;
            }
        }
    }
    if (matches.count == 0) {
        return Reason::no_smcd_v2_device;
    }
    return choose_eid(server, proposal, eid) ? Reason::none : Reason::no_smcd_device;
}

} // namespace

Reason match_devices(const LocalOffer& server,
                     const Proposal& proposal,
                     FixedList<Match, kSlotsMax>& matches,
                     Eid& eid) noexcept {
    const bool taken = !server.v1.alone || !offers_smcd(proposal.typev2);
    const Reason v2 = taken ? match_version2(server, proposal, matches, eid) : Reason::no_ism_v2;
    if (v2 == Reason::none) {
        return v2;
    }
    matches = {};
    if (!server.v1.offered || !offers_smcd(proposal.typev1) || proposal.native.chid == Chid()) {
        return v2;
    }
    const Reason v1 = match_version1(server, proposal, matches);
    // The first failure is the one that is told.
    return v1 == Reason::none || !offers_smcd(proposal.typev2) ? v1 : v2;
}

std::uint32_t wire_code(Reason reason) noexcept {
    const auto code = static_cast<std::uint32_t>(reason);
    constexpr std::uint32_t kPrivateMask = 0xFFFF'0000U;
    if ((code & kPrivateMask) != kPrivateReasons) {
        return code;
    }
    if (reason == Reason::peer_uid || reason == Reason::not_local ||
        reason == Reason::device_drained || reason == Reason::fabric_unavailable ||
        reason == Reason::device_lost) {
        return static_cast<std::uint32_t>(Reason::no_smcd_v2_device);
    }
    if (reason == Reason::no_resources) {
        return static_cast<std::uint32_t>(Reason::out_of_memory);
    }
    return static_cast<std::uint32_t>(Reason::configuration_error);
}

} // namespace smcd::clc
