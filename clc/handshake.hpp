// The handshake as a pure machine, one class per role: feed bytes, get a verdict and bytes to send. Floor 1.
//
//   client                                    server
//   idle --start()--> proposed                waiting --Proposal--> choosing --accept()--> accepted
//   proposed --Accept--> choosing                                   choosing --decline()-> done
//   choosing --confirm()--> done              accepted --Confirm or Decline--> done
//   proposed, choosing --decline()--> done    waiting --Decline--> done
//   proposed --Decline--> done
//
// No sockets, no clock, no devices. A machine consumes exactly one message at a time and nothing behind it.
#pragma once

#include "clc/messages.hpp"
#include "clc/negotiate.hpp"

namespace smcd::clc {

/// A DMB as its owner announces it.
struct DmbInfo {
    DmbToken token;
    SizeClass size_class;
    LinkGroupId group;
    Gid gid;
    bool first_contact = false;
};

enum class Event {
    need_more, ///< the message is not complete
    proposed,  ///< server: Step::matches tells the candidates; answer with accept() or decline()
    refused,   ///< server: no candidate; decline(Step::reason)
    accepted,  ///< client: Step::peer is the server's DMB; answer with confirm() or decline()
    confirmed, ///< server: Step::peer is the client's DMB; the connection is SMC
    declined,  ///< Step::diagnosis; the connection is TCP
    not_clc,   ///< these bytes are the application's; nothing was consumed
    contradicts, ///< a valid message that breaks what was agreed; consumed
};

struct Step {
    Event event = Event::need_more;
    std::size_t consumed = 0;
    DmbInfo peer;
    std::uint8_t version = 2;           ///< accepted: of the Accept
    OfferedDevice device;               ///< accepted: which of ours the server chose
    FixedList<Match, kSlotsMax> matches;
    VendorExtension vendor;
    Reason reason = Reason::none;
    std::uint32_t diagnosis = 0;
    bool out_of_sync = false;
};

class ClientHandshake {
public:
    enum class State { idle, proposed, choosing, done };

    [[nodiscard]] Message start(const LocalOffer& offer);
    [[nodiscard]] Step feed(std::span<const std::byte> inbound);
    [[nodiscard]] Message confirm(const DmbInfo& dmb);
    [[nodiscard]] Message decline(Reason reason, bool out_of_sync = false);
    [[nodiscard]] State state() const noexcept { return state_; }

private:
    Step on_accept(const AcceptConfirm& accept, std::size_t consumed);

    State state_ = State::idle;
    LocalOffer offer_;
    AcceptConfirm accept_;
};

class ServerHandshake {
public:
    enum class State { waiting, choosing, accepted, done };

    void start(const LocalOffer& offer) { offer_ = offer; }
    [[nodiscard]] Step feed(std::span<const std::byte> inbound);
    [[nodiscard]] Message accept(const Match& match, const DmbInfo& dmb);
    [[nodiscard]] Message decline(Reason reason);
    [[nodiscard]] State state() const noexcept { return state_; }

private:
    Step on_proposal(std::span<const std::byte> message);
    Step on_confirm(std::span<const std::byte> message);

    State state_ = State::waiting;
    LocalOffer offer_;
    Proposal proposal_;
    Eid eid_;
    AcceptConfirm accept_;
    Match match_;
};

/// For a side that has settled on TCP already: how many bytes of a CLC message that was under way stand first in the
/// inbound stream. A client takes one Accept or Decline; a server one Proposal and the Decline behind it.
struct SwallowVerdict {
    bool incomplete = false; ///< what stands there may be the beginning of such a message
    std::size_t consumed = 0;
    bool decline_may_follow = false; ///< a Proposal stands alone: a client that hears nothing sends a Decline later
};
[[nodiscard]] SwallowVerdict swallow_late_message(std::span<const std::byte> inbound, bool expects_proposal);
/// The answer to a Proposal that came when its server had settled on TCP.
[[nodiscard]] Message late_decline(Reason reason);

}  // namespace smcd::clc
