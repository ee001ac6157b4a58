// Two sides of a handshake for the machine tests. Floor 4.
#include "tests/clc/machine_support.hpp"

#include <gtest/gtest.h>

namespace smcd::test {

using namespace clc;

LocalOffer loopback_offer(std::string_view ueid) {
    LocalOffer offer;
    offer.devices.add({kHostGid, kLoopbackChid});
    offer.ueids.add(eid_of(ueid));
    offer.host.fill(' ');
    offer.host[0] = 'h';
    offer.vendor = {true, kFeatureBells, LinkGroupId(0xC11E)};
    return offer;
}

DmbInfo dmb_info(std::uint64_t token, bool first_contact, Gid gid) {
    return {DmbToken(token), SizeClass(4), LinkGroupId(0x5E57), gid, first_contact};
}

std::string_view event_name(Event event) {
    switch (event) {
        case Event::need_more:
            return "need_more";
        case Event::proposed:
            return "proposed";
        case Event::refused:
            return "refused";
        case Event::accepted:
            return "accepted";
        case Event::confirmed:
            return "confirmed";
        case Event::declined:
            return "declined";
        case Event::not_clc:
            return "not_clc";
        case Event::contradicts:
            return "contradicts";
    }
    return "?";
}

void propose(Pair& pair, const LocalOffer& offer) {
    pair.proposal = to_bytes(pair.client.start(offer));
}

void answer(Pair& pair, const LocalOffer& offer, const DmbInfo& dmb) {
    pair.server.start(offer);
    pair.proposed = pair.server.feed(pair.proposal);
    ASSERT_EQ(pair.proposed.event, Event::proposed) << reason_name(pair.proposed.reason);
    pair.accept = to_bytes(pair.server.accept(pair.proposed.matches.items[0], dmb));
}

void finish(Pair& pair, const DmbInfo& dmb) {
    const Step step = pair.client.feed(pair.accept);
    ASSERT_EQ(step.event, Event::accepted);
    pair.confirm = to_bytes(pair.client.confirm(dmb));
}

} // namespace smcd::test
