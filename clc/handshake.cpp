#include "clc/handshake.hpp"

#include <algorithm>

#include "clc/framing_inbound.hpp"
#include "smcd/base/check.hpp"

namespace smcd::clc {
namespace {

Step declined(std::span<const std::byte> message) {
    Step step;
    const auto decline = decode_decline(message);
    if (!decline) {
        step.event = Event::not_clc;
        return step;
    }
    step.event = Event::declined;
    step.consumed = message.size();
    step.diagnosis = decline->diagnosis;
    step.out_of_sync = decline->out_of_sync;
    step.reason = Reason::peer_declined;
    return step;
}

Step only(Event event) {
    Step step;
    step.event = event;
    return step;
}

std::uint8_t decline_version(bool old) {
    return old ? 1 : 2;
}

DmbInfo info_of(const AcceptConfirm& message) {
    return {message.token, message.size_class, message.group, message.gid, message.first_contact};
}

}  // namespace

Front front_of(std::span<const std::byte> inbound, Header& header) noexcept {
    // A prefix of either eyecatcher may still become a message.
    const std::size_t prefix = std::min(inbound.size(), kEyecatcherR.size());
    const auto matches = [&](const Eyecatcher& eyecatcher) {
        return std::equal(inbound.begin(), inbound.begin() + static_cast<std::ptrdiff_t>(prefix),
                          eyecatcher.begin());
    };
    if (!matches(kEyecatcherR) && !matches(kEyecatcherD)) {
        return Front::not_clc;
    }
    if (inbound.size() < kHeaderBytes) {
        return Front::incomplete;
    }
    const auto decoded = decode_header(inbound.first(kHeaderBytes));
    if (!decoded) {
        return Front::not_clc;
    }
    header = *decoded;
    return inbound.size() < header.length ? Front::incomplete : Front::message;
}

Message ClientHandshake::start(const LocalOffer& offer) {
    SMCD_CHECK(state_ == State::idle);
    offer_ = offer;
    state_ = State::proposed;
    return encode(make_proposal(offer));
}

Step ClientHandshake::feed(std::span<const std::byte> inbound) {
    Header header;
    const Front front = front_of(inbound, header);
    if (front != Front::message || state_ != State::proposed) {
        return only(front == Front::incomplete ? Event::need_more : Event::not_clc);
    }
    const auto message = inbound.first(header.length);
    if (header.type == MessageType::decline) {
        const Step step = declined(message);
        state_ = step.event == Event::declined ? State::done : state_;
        return step;
    }
    const auto accept = decode_accept_confirm(message);
    if (!accept || accept->type != MessageType::accept) {
        return only(Event::not_clc);
    }
    return on_accept(*accept, message.size());
}

Step ClientHandshake::on_accept(const AcceptConfirm& accept, std::size_t consumed) {
    Step step;
    step.consumed = consumed;
    step.peer = info_of(accept);
    step.version = accept.version;
    step.vendor = accept.contact.vendor;
    accept_ = accept;
    state_ = State::choosing;
    // Not all of our devices need to have fitted into the Proposal.
    const Proposal proposal = make_proposal(offer_);
    if ((accept.version < 2 ? proposal.typev1 : proposal.typev2) != Mode::smcd) {
        step.event = Event::contradicts;
        step.reason = Reason::mode_unsupported;
        return step;
    }
    const auto offered = devices_of(proposal);
    const auto devices = offered.span();
    if (accept.version < 2) {
        const bool whole = accept.dmbe_idx == 0 && accept.token != DmbToken();
        step.device = devices.front(); // the native one
        step.event = whole ? Event::accepted : Event::contradicts;
        step.reason = whole ? Reason::none : Reason::protocol_error;
        return step;
    }
    const auto chosen =
        std::find_if(devices.begin(), devices.end(), [&](const OfferedDevice& device) {
            return device.chid == accept.chid;
        });
    const auto eids = offer_.ueids.span();
    const bool eid_is_ours = std::find(eids.begin(), eids.end(), accept.eid) != eids.end() ||
                             (offer_.has_seid && accept.eid == offer_.seid);
    // A CHID or EID that we never offered cannot be meant for us.
    if (chosen == devices.end() || accept.chid == Chid() || !eid_is_ours ||
        accept.dmbe_idx != 0 || accept.token == DmbToken()) {
        step.event = Event::contradicts;
        step.reason = Reason::protocol_error;
        return step;
    }
    step.device = *chosen;
    step.event = Event::accepted;
    return step;
}

Message ClientHandshake::confirm(const DmbInfo& dmb) {
    SMCD_CHECK(state_ == State::choosing);
    state_ = State::done;
    AcceptConfirm confirm = accept_;
    confirm.type = MessageType::confirm;
    confirm.version = accept_.version < 2 ? 1 : 2;
    confirm.first_contact = dmb.first_contact;
    confirm.gid = dmb.gid;
    confirm.token = dmb.token;
    confirm.dmbe_idx = 0;
    confirm.size_class = dmb.size_class;
    confirm.group = dmb.group;
    confirm.contact = {};
    confirm.contact.release = std::min(accept_.contact.release, kReleaseOurs);
    confirm.contact.host = offer_.host;
    confirm.contact.features = accept_.contact.features & kFeatureEmulatedIsm;
    confirm.contact.vendor = offer_.vendor;
    return encode(confirm);
}

Message ClientHandshake::decline(Reason reason, bool out_of_sync) {
    const bool answers_v1 = state_ == State::choosing && accept_.version == 1;
    state_ = State::done;
    return encode(Decline{decline_version(answers_v1), out_of_sync, wire_code(reason)});
}

Step ServerHandshake::feed(std::span<const std::byte> inbound) {
    Header header;
    const Front front = front_of(inbound, header);
    if (front != Front::message || (state_ != State::waiting && state_ != State::accepted)) {
        return only(front == Front::incomplete ? Event::need_more : Event::not_clc);
    }
    const auto message = inbound.first(header.length);
    if (header.type == MessageType::decline) {
        const Step step = declined(message);
        state_ = step.event == Event::declined ? State::done : state_;
        return step;
    }
    return state_ == State::waiting ? on_proposal(message) : on_confirm(message);
}

Step ServerHandshake::on_proposal(std::span<const std::byte> message) {
    const auto proposal = decode_proposal(message);
    if (!proposal) {
        return only(Event::not_clc);
    }
    proposal_ = *proposal;
    state_ = State::choosing;
    Step step;
    step.consumed = message.size();
    step.vendor = proposal_.vendor;
    step.peer.group = proposal_.vendor.group;
    step.reason = match_devices(offer_, proposal_, step.matches, eid_);
    step.event = step.reason == Reason::none ? Event::proposed : Event::refused;
    return step;
}

Message ServerHandshake::accept(const Match& match, const DmbInfo& dmb) {
    SMCD_CHECK(state_ == State::choosing);
    state_ = State::accepted;
    match_ = match;
    accept_ = {};
    accept_.type = MessageType::accept;
    accept_.version = match.version;
    accept_.first_contact = dmb.first_contact;
    accept_.gid = dmb.gid;
    accept_.token = dmb.token;
    accept_.size_class = dmb.size_class;
    accept_.group = dmb.group;
    accept_.chid = match.remote.chid;
    accept_.eid = eid_;
    accept_.contact.release = std::min(proposal_.release, kReleaseOurs);
    accept_.contact.host = offer_.host;
    accept_.contact.features = accept_.contact.release >= 1 ? kFeatureEmulatedIsm : std::uint16_t{0};
    accept_.contact.vendor = accept_.contact.release >= 1 ? offer_.vendor : VendorExtension{};
    return encode(accept_);
}

Step ServerHandshake::on_confirm(std::span<const std::byte> message) {
    const auto confirm = decode_accept_confirm(message);
    if (!confirm || confirm->type != MessageType::confirm) {
        return only(Event::not_clc);
    }
    Step step;
    step.consumed = message.size();
    step.peer = info_of(*confirm);
    state_ = State::done;
    if (accept_.version == 1) {
        const bool agrees = confirm->version == 1 && confirm->gid.high == match_.remote.gid.high &&
                            confirm->dmbe_idx == 0 && confirm->token != DmbToken();
        step.event = agrees ? Event::confirmed : Event::contradicts;
        step.reason = agrees ? Reason::none : Reason::protocol_error;
        return step;
    }
    const bool releases_agree = !confirm->first_contact || !accept_.first_contact ||
                                confirm->contact.release == accept_.contact.release;
    const bool agrees = confirm->version >= 2 && confirm->chid == accept_.chid &&
                        confirm->eid == accept_.eid && confirm->gid == match_.remote.gid &&
                        confirm->dmbe_idx == 0 && confirm->token != DmbToken();
    step.event = agrees && releases_agree ? Event::confirmed : Event::contradicts;
    if (step.event == Event::contradicts) {
        step.reason = agrees ? Reason::release_error : Reason::protocol_error;
    }
    return step;
}

Message ServerHandshake::decline(Reason reason) {
    // Before a Proposal was read nothing tells that the client understands the longer form.
    const bool old = state_ == State::waiting || proposal_.version == 1;
    state_ = State::done;
    return encode(Decline{decline_version(old), false, wire_code(reason)});
}

Message late_decline(Reason reason) {
    return encode(Decline{decline_version(false), false, wire_code(reason)});
}

SwallowVerdict swallow_late_message(std::span<const std::byte> inbound, bool expects_proposal) {
    Header header;
    const Front front = front_of(inbound, header);
    if (front == Front::incomplete) {
        return {true, 0, false};
    }
    if (front == Front::not_clc) {
        return {};
    }
    const auto message = inbound.first(header.length);
    if (!expects_proposal) {
        const auto accept = decode_accept_confirm(message);
        const bool late = (accept && accept->type == MessageType::accept) || decode_decline(message);
        return {false, late ? message.size() : 0, false};
    }
    if (decode_decline(message)) {
        return {false, message.size(), false};
    }
    if (!decode_proposal(message)) {
        return {};
    }
    const auto behind = inbound.subspan(message.size());
    if (behind.empty()) {
        return {false, message.size(), true};
    }
    Header next;
    const Front second = front_of(behind, next);
    if (second == Front::message && decode_decline(behind.first(next.length))) {
        return {false, message.size() + next.length, false};
    }
    return {second == Front::incomplete, message.size(), false};
}

}  // namespace smcd::clc
