// Every state of both machines fed with every kind of message, against the reviewed golden file
// tests/golden/clc_matrix.txt. SMCD_UPDATE_GOLDEN=1 writes the file anew.
#include <cstdlib>
#include <fstream>
#include <iomanip>
#include <sstream>

#include <gtest/gtest.h>

#include "tests/clc/machine_support.hpp"

namespace smcd::test {
namespace {

using namespace clc;

constexpr const char* kFile = SMCD_SOURCE_DIR "/tests/golden/clc_matrix.txt";

std::string_view state_name(ClientHandshake::State state) {
    switch (state) {
        case ClientHandshake::State::idle:
            return "idle";
        case ClientHandshake::State::proposed:
            return "proposed";
        case ClientHandshake::State::choosing:
            return "choosing";
        case ClientHandshake::State::done:
            return "done";
    }
    return "?";
}

std::string_view state_name(ServerHandshake::State state) {
    switch (state) {
        case ServerHandshake::State::waiting:
            return "waiting";
        case ServerHandshake::State::choosing:
            return "choosing";
        case ServerHandshake::State::accepted:
            return "accepted";
        case ServerHandshake::State::done:
            return "done";
    }
    return "?";
}

Pair at_choosing_server() {
    Pair pair;
    propose(pair, loopback_offer());
    pair.server.start(loopback_offer());
    pair.proposed = pair.server.feed(pair.proposal);
    return pair;
}

Pair at_accepted() {
    Pair pair = at_choosing_server();
    pair.accept = to_bytes(pair.server.accept(pair.proposed.matches.items[0], dmb_info(11)));
    return pair;
}

Pair at_choosing_client() {
    Pair pair = at_accepted();
    EXPECT_EQ(pair.client.feed(pair.accept).event, Event::accepted);
    return pair;
}

Pair at_done() {
    Pair pair = at_choosing_client();
    pair.confirm = to_bytes(pair.client.confirm(dmb_info(22)));
    EXPECT_EQ(pair.server.feed(pair.confirm).event, Event::confirmed);
    return pair;
}

std::vector<ClientHandshake> clients() {
    Pair proposed;
    propose(proposed, loopback_offer());
    return {ClientHandshake(), proposed.client, at_choosing_client().client, at_done().client};
}

std::vector<ServerHandshake> servers() {
    ServerHandshake waiting;
    waiting.start(loopback_offer());
    return {waiting, at_choosing_server().server, at_accepted().server, at_done().server};
}

std::vector<std::pair<std::string, Bytes>> inputs() {
    const Pair complete = at_done();
    Pair foreign;
    propose(foreign, loopback_offer("ANOTHER-EID"));
    AcceptConfirm other_device = *decode_accept_confirm(complete.accept);
    other_device.chid = Chid(0xFF10);
    AcceptConfirm other_gid = *decode_accept_confirm(complete.confirm);
    ++other_gid.gid.high;
    Bytes cut = complete.proposal;
    cut.resize(40);
    Bytes bad_trailer = complete.accept;
    bad_trailer.back() = std::byte{0};
    return {
        {"nothing", {}},
        {"part of an eyecatcher", from_hex("e2d4")},
        {"part of a message", cut},
        {"Proposal", complete.proposal},
        {"Proposal, no common EID", foreign.proposal},
        {"Proposal, other device", golden("proposal_v21_emulated")},
        {"Proposal, native device", golden("proposal_v21_native_seid")},
        {"Accept", complete.accept},
        {"Accept, later contact", to_bytes(at_choosing_server().server.accept(
                                      complete.proposed.matches.items[0], dmb_info(11, false)))},
        {"Accept, other device", to_bytes(encode(other_device))},
        {"Accept, version 1", golden("accept_v1_first")},
        {"Accept, wrong trailer", bad_trailer},
        {"Confirm", complete.confirm},
        {"Confirm, other GID", to_bytes(encode(other_gid))},
        {"Decline, version 2", golden("decline_v2_no_ueid")},
        {"Decline, out of sync", golden("decline_v2_out_of_sync")},
        {"Decline, version 1", golden("decline_v1_no_device")},
        {"application bytes", from_hex("474554202f20485454502f312e310d0a")},
    };
}

template <typename Machine>
void describe(std::ostream& out, std::string_view role, const std::vector<Machine>& machines) {
    for (const Machine& fresh : machines) {
        for (const auto& [name, bytes] : inputs()) {
            Machine machine = fresh;
            const Step step = machine.feed(bytes);
            const bool whole = step.consumed == bytes.size();
            out << std::left << std::setw(7) << role << std::setw(9) << state_name(fresh.state())
                << "| " << std::setw(24) << name << "| " << std::setw(12)
                << event_name(step.event) << "| "
                << (step.consumed == 0 ? "nothing" : whole ? "message" : "WRONG") << " | "
                << std::setw(9) << state_name(machine.state()) << "| "
                << reason_name(step.reason) << '\n';
        }
        out << '\n';
    }
}

std::string matrix() {
    std::ostringstream out;
    out << "# What each state of the handshake machines makes of each message.\n"
           "# role, state | input | event | consumed | state afterwards | reason\n\n";
    describe(out, "client", clients());
    describe(out, "server", servers());
    return out.str();
}

std::string read_file() {
    std::ifstream file(kFile);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

TEST(Matrix, StatesTimesMessages) {
    const std::string now = matrix();
    if (std::getenv("SMCD_UPDATE_GOLDEN") != nullptr) {
        std::ofstream(kFile) << now;
    }
    EXPECT_EQ(now, read_file());
}

TEST(Matrix, NothingIsConsumedButWholeMessages) {
    EXPECT_EQ(matrix().find("WRONG"), std::string::npos);
    // With bytes behind, each whole message ends at the same place.
    for (const auto& machine : servers()) {
        for (const auto& [name, bytes] : inputs()) {
            ServerHandshake alone = machine;
            ServerHandshake followed = machine;
            const Step step = alone.feed(bytes);
            if (step.consumed != 0) {
                EXPECT_EQ(followed.feed(bytes + from_hex("e2d4c3d9")).consumed, step.consumed)
                    << name;
            }
        }
    }
}

} // namespace
} // namespace smcd::test
