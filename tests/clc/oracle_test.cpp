// An independent decoder, tshark, reads the messages of complete handshakes as we meant them.
// Needs tshark; fails without it.
#include <unistd.h>

#include <algorithm>
#include <iomanip>
#include <sstream>

#include <gtest/gtest.h>

#include "tests/clc/capture.hpp"
#include "tests/clc/machine_support.hpp"

namespace smcd::test {
namespace {

using namespace clc;

std::string hex(std::uint64_t value, int digits) {
    std::ostringstream text;
    text << "0x" << std::hex << std::setfill('0') << std::setw(digits) << value;
    return text.str();
}

std::string join(const std::vector<std::string>& parts) {
    std::string text;
    for (const std::string& part : parts) {
        text += (text.empty() ? "" : ",") + part;
    }
    return text;
}

std::string text_of(const Eid& eid) {
    return {eid.text.data(), eid.text.size()};
}

struct Column {
    std::string field; ///< tshark's name
    std::string value; ///< as tshark prints it
};

using Row = std::vector<Column>;

/// What tshark must say about a Proposal.
Row expected(const Proposal& p) {
    std::vector<std::string> gids{hex(p.native.gid, 16)};
    std::vector<std::string> chids{hex(p.native.chid.value(), 4)};
    std::vector<std::string> eids;
    for (const Slot& slot : p.slots.span()) {
        gids.push_back(hex(slot.gid, 16));
        chids.push_back(hex(slot.chid.value(), 4));
    }
    for (const Eid& eid : p.ueids.span()) {
        eids.push_back(text_of(eid));
    }
    Row row{{"smc.clc_msg", "1"},
            {"smc.proposal.smc.version", std::to_string(p.version)},
            {"smc.proposal.smc.type", std::to_string(static_cast<int>(p.typev1))},
            {"smc.proposal.ism.gid", join(gids)}};
    if (p.version == 1) {
        return row;
    }
    row.push_back({"smc.proposal.smcv2.type", std::to_string(static_cast<int>(p.typev2))});
    if (p.typev1 != Mode::none) {
        row.push_back({"smc.outgoing.interface.subnet.mask.number.of.significant.bits",
                       std::to_string(p.ipv4_prefix_length)});
    }
    if (p.has_v2_extension) {
        row.push_back({"smc.proposal.smc.chid", join(chids)});
        row.push_back({"smc.proposal.eid.count", std::to_string(p.ueids.count)});
        row.push_back({"smc.proposal.ismv2_gid_count", std::to_string(p.slots.count)});
        row.push_back({"smc.proposal.smc.version.relnum", std::to_string(p.release)});
        row.push_back({"smc.proposal.smc.seid", p.has_seid ? "1" : "0"});
        row.push_back({"smc.proposal.eid", join(eids)});
    }
    if (p.has_seid) {
        row.push_back({"smc.proposal.system.eid", text_of(p.seid)});
    }
    return row;
}

Row expected(const AcceptConfirm& m) {
    const bool is_accept = m.type == MessageType::accept;
    const std::string base = is_accept ? "smc.accept." : "smc.confirm.";
    Row row{{"smc.clc_msg", is_accept ? "2" : "3"},
            {base + "smc.type", "1"},
            {base + "first.contact", m.first_contact ? "1" : "0"},
            {base + (is_accept ? "sender.server.ism.gid" : "sender.client.ism.gid"),
             hex(m.gid.high, 16)},
            {base + "dmb.token", hex(m.token.value(), 16)},
            {base + "dmbe.conn.index", "0"},
            {base + "dmbe.buffer.size", std::to_string(m.size_class.value())},
            {base + (is_accept ? "server.linkid" : "client.linkid"), hex(m.group.value(), 8)}};
    if (m.version >= 2) {
        row.push_back({base + "smc.chid", hex(m.chid.value(), 4)});
        row.push_back({base + "eid", text_of(m.eid)});
        if (m.first_contact) {
            row.push_back({base + "os.type", std::to_string(m.contact.os)});
            row.push_back({base + "smc.version.relnum", std::to_string(m.contact.release)});
            row.push_back({base + "peer.host.name", {m.contact.host.data(), 32}});
        }
    }
    return row;
}

Row expected(const Decline& d) {
    return {{"smc.clc_msg", "4"},
            {"smc.decline.smc.version", std::to_string(d.version)},
            {"smc.decline.osync", d.out_of_sync ? "1" : "0"},
            {"smc.peer.diag.info", hex(d.diagnosis, 8)}};
}

Row expected(const Bytes& bytes) {
    Row row;
    if (const auto proposal = decode_proposal(bytes)) {
        row = expected(*proposal);
    } else if (const auto message = decode_accept_confirm(bytes)) {
        row = expected(*message);
    } else if (const auto decline = decode_decline(bytes)) {
        row = expected(*decline);
    }
    row.push_back({"smc.length", std::to_string(bytes.size())});
    return row;
}

LocalOffer offer_with(std::initializer_list<OfferedDevice> devices,
                      std::initializer_list<std::string_view> ueids,
                      bool seid) {
    LocalOffer offer = loopback_offer();
    offer.devices = {};
    offer.ueids = {};
    for (const OfferedDevice& device : devices) {
        offer.devices.add(device);
    }
    for (const std::string_view ueid : ueids) {
        offer.ueids.add(eid_of(ueid));
    }
    offer.has_seid = seid;
    offer.seid = eid_of("IBM-SYSZ-ISMSEID000000001A2B3931");
    return offer;
}

/// A complete handshake between our machines.
Conversation handshake(const LocalOffer& client, const LocalOffer& server, bool first_contact) {
    Pair pair;
    propose(pair, client);
    answer(pair, server, dmb_info(0x1122334455667788, first_contact, server.devices.items[0].gid));
    finish(pair, dmb_info(0x99AABBCCDDEEFF01, first_contact, client.devices.items[0].gid));
    EXPECT_EQ(pair.server.feed(pair.confirm).event, Event::confirmed);
    return {{true, pair.proposal}, {false, pair.accept}, {true, pair.confirm}};
}

/// The same between a client of release 0 and our server.
Conversation older_release(const LocalOffer& offer) {
    Proposal proposal = make_proposal(offer);
    proposal.release = 0;
    proposal.features = 0;
    proposal.vendor = {};
    Pair pair;
    propose(pair, offer);
    pair.proposal = to_bytes(encode(proposal));
    answer(pair, offer, dmb_info(1, true, offer.devices.items[0].gid));
    finish(pair, dmb_info(2, true, offer.devices.items[0].gid));
    EXPECT_EQ(pair.accept.size(), 114U);
    EXPECT_EQ(pair.confirm.size(), 114U);
    return {{true, pair.proposal}, {false, pair.accept}, {true, pair.confirm}};
}

/// SMC-D version 1: our machines do not speak it; the codec does.
Conversation version_one() {
    Proposal proposal;
    proposal.typev1 = Mode::smcd;
    proposal.typev2 = Mode::none;
    proposal.native = {0x1A2B3C4D5E6F7081, Chid()};
    proposal.ipv4_subnet = 0xC0A80700;
    proposal.ipv4_prefix_length = 24;
    AcceptConfirm accept = *decode_accept_confirm(golden("accept_v1_first"));
    AcceptConfirm confirm = accept;
    confirm.type = MessageType::confirm;
    confirm.token = DmbToken(7);
    return {{true, to_bytes(encode(proposal))},
            {false, to_bytes(encode(accept))},
            {true, to_bytes(encode(confirm))}};
}

Conversation declined_by_server(const Bytes& proposal, Reason reason) {
    ServerHandshake server;
    server.start(loopback_offer());
    static_cast<void>(server.feed(proposal));
    return {{true, proposal}, {false, to_bytes(server.decline(reason))}};
}

Conversation declined_by_client(const Bytes& accept, Reason reason, bool out_of_sync) {
    Pair pair;
    propose(pair, loopback_offer());
    static_cast<void>(pair.client.feed(accept));
    return {{true, pair.proposal},
            {false, accept},
            {true, to_bytes(pair.client.decline(reason, out_of_sync))}};
}

std::vector<Conversation> all_conversations() {
    const OfferedDevice loopback{kHostGid, kLoopbackChid};
    const OfferedDevice ism{{0x1A2B3C4D5E6F7081, 0}, Chid(0x01C0)};
    const OfferedDevice other{{0x2B3C4D5E6F708192, 0}, Chid(0x01C4)};
    const LocalOffer plain = loopback_offer();
    const LocalOffer two = offer_with({ism, loopback, other}, {"LOCATION-WEST", "SMCD-DEMO-EID"},
                                      false);
    const LocalOffer system = offer_with({ism}, {"SMCD-DEMO-EID"}, true);
    std::vector<Conversation> all{handshake(plain, plain, true), handshake(plain, plain, false),
                                  handshake(two, two, true),     handshake(system, system, true),
                                  older_release(system),         version_one()};
    const Bytes proposal = all[0][0].bytes;
    const Bytes accept = all[0][1].bytes;
    for (const ReasonRow& row : reason_rows()) {
        if (row.reason != Reason::none) {
            all.push_back(declined_by_server(proposal, row.reason));
        }
    }
    all.push_back(declined_by_server(all[5][0].bytes, Reason::no_smcd_device));
    all.push_back(declined_by_client(accept, Reason::out_of_memory, false));
    all.push_back(declined_by_client(accept, Reason::sync_error, true));
    all.push_back(declined_by_client(golden("accept_v1_first"), Reason::mode_unsupported, false));
    ClientHandshake instead;
    all.push_back({{true, to_bytes(instead.decline(Reason::no_device))}});
    for (const auto& [name, bytes] : golden_messages()) {
        all.push_back({{!name.starts_with("accept"), bytes}});
    }
    return all;
}

class Oracle : public ::testing::Test {
protected:
    void SetUp() override {
        path_ = ::testing::TempDir() + "smcd-oracle-" + std::to_string(::getpid()) + ".pcap";
    }

    void TearDown() override { ::unlink(path_.c_str()); }

    [[nodiscard]] std::vector<std::string> read(const std::string& arguments) const {
        return tshark("-r " + path_ + " " + arguments);
    }

    static std::size_t count(const std::vector<std::string>& lines, std::string_view text) {
        return static_cast<std::size_t>(
            std::count_if(lines.begin(), lines.end(), [&](const std::string& line) {
                return line.find(text) != std::string::npos;
            }));
    }

    std::string path_;
};

TEST_F(Oracle, RecognisesEveryMessageAndFindsNothingMalformed) {
    const auto conversations = all_conversations();
    write_capture(path_, conversations);
    std::size_t messages = 0;
    std::vector<std::string> release_zero;
    for (const Conversation& one : conversations) {
        messages += one.size();
        for (const Segment& segment : one) {
            const auto accept = decode_accept_confirm(segment.bytes);
            if (segment.bytes.size() == 114 && accept->type == MessageType::accept) {
                release_zero.push_back(hex(accept->token.value(), 16));
            }
        }
    }
    const auto lines = read("-V");
    EXPECT_EQ(count(lines, "CLC Message: "), messages);
    EXPECT_EQ(count(lines, "TCP Option - Experimental: Shared Memory"), 2 * conversations.size());
    // This decoder expects the sixteen bytes of release 1 behind the host name of every Accept, a
    // Confirm excepted; an Accept of release 0 ends there, and all its fields have been read.
    EXPECT_EQ(read("-Y _ws.malformed -T fields -e smc.accept.dmb.token"), release_zero);
    EXPECT_EQ(release_zero.size(), 2U);
    EXPECT_EQ(read("-Y 'tcp.checksum.status != 1 || ip.checksum.status != 1'").size(), 0U);
}

TEST_F(Oracle, ReadsEveryFieldAsMeant) {
    const auto conversations = all_conversations();
    write_capture(path_, conversations);
    std::vector<Row> rows;
    std::vector<std::string> fields;
    for (const Conversation& one : conversations) {
        for (const Segment& segment : one) {
            rows.push_back(expected(segment.bytes));
            for (const Column& column : rows.back()) {
                if (std::find(fields.begin(), fields.end(), column.field) == fields.end()) {
                    fields.push_back(column.field);
                }
            }
        }
    }
    std::string arguments = "-Y 'tcp.len > 0' -T fields -E separator='|' -E occurrence=a";
    for (const std::string& field : fields) {
        arguments += " -e " + field;
    }
    const auto lines = read(arguments);
    ASSERT_EQ(lines.size(), rows.size());
    for (std::size_t i = 0; i < rows.size(); ++i) {
        std::istringstream line(lines[i] + "|");
        std::map<std::string, std::string> seen;
        for (const std::string& field : fields) {
            std::getline(line, seen[field], '|');
        }
        for (const Column& column : rows[i]) {
            // The spare diagnosis words of a Decline carry the same name.
            std::string value = seen[column.field];
            if (column.field == "smc.peer.diag.info") {
                value = value.substr(0, value.find(','));
            }
            EXPECT_EQ(value, column.value) << "message " << i << ' ' << column.field;
        }
    }
}

TEST_F(Oracle, CanaryIsReported) {
    // Eight EIDs announced, one there: an honest decoder runs off the end.
    Bytes broken = golden("proposal_v21_emulated");
    broken[80] = std::byte{8};
    write_capture(path_, {{{true, broken}}});
    EXPECT_GT(count(read("-V"), "alformed"), 0U);
}

} // namespace
} // namespace smcd::test
