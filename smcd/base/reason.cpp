// The table of reasons. Floor 0, docs/reasons.md.
#include "smcd/base/reason.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <system_error>

namespace smcd {
namespace {

constexpr std::string_view kRdmaOnly =
    "only SMC over RDMA sends this; look at the configuration of the peer's kernel";

// Ascending by code. A peer sends some of these in its Decline; then the sentence is about the
// peer.
// clang-format off
constexpr auto kRows = std::to_array<ReasonRow>({
    {Reason::none, "none",
     "the connection is accelerated",
     ""},
    {Reason::out_of_memory, "out_of_memory",
     "there was no memory for a receive buffer, or the peer's buffer could not be attached",
     "look at the memory cgroup and the descriptor limit (ulimit -n) of both programs"},
    {Reason::timeout_confirm_link, "timeout_confirm_link",
     "an RDMA link was not confirmed in time",
     kRdmaOnly},
    {Reason::timeout_add_link, "timeout_add_link",
     "a second RDMA link was not added in time",
     kRdmaOnly},
    {Reason::configuration_error, "configuration_error",
     "the configuration leaves nothing that both sides could use",
     "compare 'smcu info' on both sides"},
    {Reason::peer_no_smc, "peer_no_smc",
     "the other program does not speak SMC",
     "start the other program with 'smcu run' too"},
    {Reason::ipsec, "ipsec",
     "an IPsec policy applies to the connection, and shared memory would bypass it",
     "exempt the connection from the policy if that is acceptable"},
    {Reason::no_device, "no_device",
     "there is no SMC device at all",
     "see 'smcu info' for the devices in use"},
    {Reason::no_smcd_device, "no_smcd_device",
     "there is no SMC-D device for the connection, or no enterprise id in common",
     "give both programs the same SMCD_UEID, or leave it unset on both"},
    {Reason::no_smcr_device, "no_smcr_device",
     "the peer offers SMC over RDMA only, which needs a device that is not here",
     "let the peer offer SMC-D"},
    {Reason::no_ism_v2, "no_ism_v2",
     "no device here speaks version 2 of SMC-D",
     "see 'smcu info' for the devices in use"},
    {Reason::no_v2_extension, "no_v2_extension",
     "the Proposal has no extension for version 2",
     "let the peer offer version 2 of SMC-D"},
    {Reason::no_smcd_v2_extension, "no_smcd_v2_extension",
     "the Proposal announces SMC-D version 2 without its extension",
     "report it to those who made the peer's implementation"},
    {Reason::no_seid, "no_seid",
     "the peer sent no system enterprise id",
     ""},
    {Reason::no_smcd_v2_device, "no_smcd_v2_device",
     "none of the devices that the client offers reaches the server",
     "run both programs on one fabric; for the loopback device: in one network namespace"},
    {Reason::no_ueid, "no_ueid",
     "the Proposal names no enterprise id at all",
     "on a Linux kernel, add a user EID (smcd ueid add)"},
    {Reason::release_error, "release_error",
     "the Confirm names another protocol release than was agreed on",
     "report it to those who made the peer's implementation"},
    {Reason::max_connections, "max_connections",
     "the number of connections per link group could not be agreed on",
     kRdmaOnly},
    {Reason::max_links, "max_links",
     "the number of links per link group could not be agreed on",
     kRdmaOnly},
    {Reason::mode_unsupported, "mode_unsupported",
     "the Accept names a mode that was not proposed",
     "report it to those who made the peer's implementation"},
    {Reason::rmbe_eyecatcher, "rmbe_eyecatcher",
     "the evaluation of a link confirmation failed",
     kRdmaOnly},
    {Reason::option_unsupported, "option_unsupported",
     "the program uses TCP fast open, whose data would travel before the handshake",
     "switch TCP fast open off in the program if acceleration matters more"},
    {Reason::prefix_mismatch, "prefix_mismatch",
     "client and server are in different IP subnets, and only version 1 was offered",
     "let the peer offer version 2 of SMC-D"},
    {Reason::vlan_lookup, "vlan_lookup",
     "the VLAN of the connection could not be found out",
     ""},
    {Reason::vlan_register, "vlan_register",
     "the device refused the VLAN of the connection",
     "check the VLANs of the device"},
    {Reason::no_active_link, "no_active_link",
     "there is no active RDMA link",
     kRdmaOnly},
    {Reason::no_server_link, "no_server_link",
     "the RDMA link that the server chose is not known",
     kRdmaOnly},
    {Reason::version_mismatch, "version_mismatch",
     "client and server speak different versions of the protocol",
     "update the older side"},
    {Reason::max_dmbs, "max_dmbs",
     "the device has no room for another receive buffer",
     "use fewer or smaller buffers (SMCD_RCVBUF), or another device"},
    {Reason::no_route, "no_route",
     "there is no RDMA route to the peer",
     kRdmaOnly},
    {Reason::no_indirect, "no_indirect",
     "one side wants a direct RDMA path and the other an indirect one",
     kRdmaOnly},
    {Reason::sync_error, "sync_error",
     "the server reused a link group that the client does not have any more",
     "nothing: the next connection makes a new one"},
    {Reason::peer_declined, "peer_declined",
     "the peer declined, and has given its own reason",
     "run 'smcu explain' on the peer's code"},
    {Reason::internal_error, "internal_error",
     "something failed inside the implementation",
     "report it"},
    {Reason::rtoken_error, "rtoken_error",
     "an RDMA memory key could not be used",
     kRdmaOnly},
    {Reason::ready_link_error, "ready_link_error",
     "an RDMA link did not become ready",
     kRdmaOnly},
    {Reason::register_buffer_error, "register_buffer_error",
     "a buffer could not be registered for RDMA",
     kRdmaOnly},
    {Reason::disabled, "disabled",
     "acceleration is switched off here: SMCD_DISABLE, configuration, or a set-uid program",
     "unset SMCD_DISABLE"},
    {Reason::not_local, "not_local",
     "the other end is on another host or in another network namespace",
     "the loopback device needs both programs in one network namespace"},
    {Reason::discovery_unavailable, "discovery_unavailable",
     "it cannot be found out here whether the other program speaks SMC",
     "allow NETLINK_SOCK_DIAG in the sandbox; load the modules inet_diag and tcp_diag"},
    {Reason::listener_group_mixed, "listener_group_mixed",
     "several programs listen on the port (SO_REUSEPORT), and not all of them speak SMC",
     "start all programs that listen on the port with 'smcu run'"},
    {Reason::self_connect, "self_connect",
     "the socket is connected to itself",
     ""},
    {Reason::no_resources, "no_resources",
     "the process lacks a descriptor, a thread or memory for the handshake",
     "raise the limits of descriptors (ulimit -n) and processes (ulimit -u)"},
    {Reason::timed_out, "timed_out",
     "bytes were waiting, and the peer did not answer the handshake in time",
     "look whether the peer is stopped or overloaded; the next connection tries again"},
    {Reason::peer_sent_data, "peer_sent_data",
     "application data of the peer came where a handshake message was due",
     ""},
    {Reason::closed_early, "closed_early",
     "the program closed the connection before the handshake was finished",
     ""},
    {Reason::peer_gone, "peer_gone",
     "the peer ended or died during the handshake",
     ""},
    {Reason::peer_uid, "peer_uid",
     "the other program runs under another user, and memory is not shared between users",
     "run both as one user, or name the other's user on both sides: smcu run --allow-user"},
    {Reason::client_not_marked, "client_not_marked",
     "the client did not announce SMC when it connected",
     "start the client with 'smcu run' too"},
    {Reason::unsupported_call, "unsupported_call",
     "the program uses the socket by raw system calls, io_uring or stdio",
     ""},
    {Reason::fork_in_handshake, "fork_in_handshake",
     "the process forked during the handshake",
     ""},
    {Reason::protocol_error, "protocol_error",
     "a message of the peer contradicts the protocol or what was agreed on",
     "use the same version on both sides; if it stays, report it"},
    {Reason::link_refused, "link_refused",
     "the UNIX connection over which memory is passed could not be made",
     "look whether a sandbox forbids UNIX sockets, or the peer has run out of descriptors"},
    {Reason::over_budget, "over_budget",
     "a limit of our own on memory, descriptors or connections is reached",
     "raise the limit in the configuration, or use smaller buffers (SMCD_RCVBUF)"},
    {Reason::unsupported_option, "unsupported_option",
     "the program uses a socket option that works on TCP only",
     ""},
    {Reason::listener_not_capable, "listener_not_capable",
     "the listening socket cannot be accelerated: inherited, or its options forbid it",
     ""},
    {Reason::short_lived_listener, "short_lived_listener",
     "connections to this listener have been too short to gain from acceleration",
     ""},
    {Reason::static_program, "static_program",
     "the program is statically linked or without libc, so nothing can be preloaded",
     "link the program dynamically, or use the library in it"},
    {Reason::left_control, "left_control",
     "the descriptor went where it cannot be followed: exec, descriptor passing, another table",
     ""},
    {Reason::returned_by_peer, "returned_by_peer",
     "the connection was accelerated until the peer took it back to TCP",
     "smcu ss on the peer's side tells why"},
    {Reason::returned_on_request, "returned_on_request",
     "the connection was accelerated until the program or the administrator took it back to TCP",
     ""},
    {Reason::other_network, "other_network",
     "the server has joined the same fabric, but for another IP network (PNETID)",
     "if both addresses are of one network, give both programs the same SMCD_PNETID"},
    {Reason::device_drained, "device_drained",
     "an administrator lets no connection use the device",
     "smcu device list; smcu device drain --undo"},
    {Reason::peer_buffer_small, "peer_buffer_small",
     "more bytes waited for the handshake than the peer's receive buffer holds",
     "let the peer receive into a larger buffer (SMCD_RCVBUF, or SO_RCVBUF of its program)"},
    {Reason::fabric_unavailable, "fabric_unavailable",
     "the fabric cannot be reached: its server is not there, or its region was removed or replaced",
     "smcu fabric status; start the fabric (smcu fabric serve); programs join it within seconds"},
    {Reason::device_lost, "device_lost",
     "the device of one side went away, or the peer ended the link group",
     "look why the device was disabled; new connections use another one, if both sides have one"},
    {Reason::peer_not_reading, "peer_not_reading",
     "the receive buffer was full for a second, in which the peer read nothing; TCP has more room",
     "read while you write, or give the receiver a larger buffer (SO_RCVBUF, SMCD_RCVBUF)"},
});

// clang-format on

constexpr bool ascending() {
    for (std::size_t i = 1; i < kRows.size(); ++i) {
        if (kRows[i - 1].reason >= kRows[i].reason) {
            return false;
        }
    }
    return true;
}

static_assert(ascending(), "find_row() searches by halves, and codes are unique");

constexpr ReasonRow kUnknown{
    Reason::none, "unknown", "the peer gave a code that is not known here", ""};

const ReasonRow* find_row(Reason reason) noexcept {
    const auto* found = std::lower_bound(
        kRows.begin(), kRows.end(), reason, [](const ReasonRow& row, Reason wanted) {
            return row.reason < wanted;
        });
    return found != kRows.end() && found->reason == reason ? &*found : nullptr;
}

const ReasonRow& row_of(Reason reason) noexcept {
    const ReasonRow* row = find_row(reason);
    return row != nullptr ? *row : kUnknown;
}

bool same_name(std::string_view name, std::string_view text) noexcept {
    return std::equal(name.begin(), name.end(), text.begin(), text.end(), [](char a, char b) {
        return a == b || (a == '_' && b == '-') || (b >= 'A' && b <= 'Z' && a == b - 'A' + 'a');
    });
}

std::optional<Reason> parse_code(std::string_view text) noexcept {
    const bool hex = text.starts_with("0x") || text.starts_with("0X");
    const std::string_view digits = hex ? text.substr(2) : text;
    std::uint32_t code = 0;
    const char* end = digits.data() + digits.size();
    const auto [stop, error] = std::from_chars(digits.data(), end, code, hex ? 16 : 10);
    if (error != std::errc() || stop != end || find_row(static_cast<Reason>(code)) == nullptr) {
        return std::nullopt;
    }
    return static_cast<Reason>(code);
}

} // namespace

std::span<const ReasonRow> reason_rows() noexcept {
    return kRows;
}

std::string_view reason_name(Reason reason) noexcept {
    return row_of(reason).name;
}

std::string_view reason_text(Reason reason) noexcept {
    return row_of(reason).text;
}

std::string_view reason_advice(Reason reason) noexcept {
    return row_of(reason).advice;
}

std::optional<Reason> parse_reason(std::string_view text) noexcept {
    for (const ReasonRow& row : kRows) {
        if (same_name(row.name, text)) {
            return row.reason;
        }
    }
    return parse_code(text);
}

} // namespace smcd
