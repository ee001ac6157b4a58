// The table of reasons. Floor 0, docs/reasons.md.
#include "smcd/base/reason.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <system_error>

namespace smcd {
namespace {

struct Entry {
    Reason reason;
    std::string_view name;
    std::string_view text;
    std::string_view advice;
};

constexpr std::string_view kRdmaOnly =
    "only SMC over RDMA sends this; look at the configuration of the peer's kernel";

// Ascending by code. The sentences of the first block are about this side or the peer alike: a peer
// sends them in a Decline, and then they are about the peer.
constexpr std::array kEntries{
    Entry{Reason::none,                  "none",           "the connection is accelerated",                                                            ""               },
    Entry{Reason::out_of_memory,
          "out_of_memory",                                 "there was no memory for the receive buffer, or the peer's buffer could not be attached",
          "look at free memory, /dev/shm limits and the descriptor limit (ulimit -n)"                                                                                   },
    Entry{Reason::confirm_link_timeout,
          "confirm_link_timeout",                          "an RDMA link was not confirmed in time",
          kRdmaOnly                                                                                                                                                     },
    Entry{Reason::add_link_timeout,
          "add_link_timeout",                              "a second RDMA link was not added in time",
          kRdmaOnly                                                                                                                                                     },
    Entry{Reason::configuration_error,
          "configuration_error",                           "the configuration leaves nothing that could be offered",
          "check the configured devices and enterprise ids with 'smcu info'"                                                                                            },
    Entry{Reason::peer_no_smc,
          "peer_no_smc",                                   "the other program does not speak SMC",
          "start the other program with 'smcu run' too"                                                                                                                 },
    Entry{Reason::ipsec,
          "ipsec",                                         "an IPsec policy applies to the connection, and shared memory would bypass it",
          "exempt the connection from the policy if that is acceptable"                                                                                                 },
    Entry{
          Reason::no_smc_device,         "no_smc_device",  "there is no SMC device at all",                                                            "see 'smcu info'"},
    Entry{Reason::no_smcd_device,
          "no_smcd_device",                                "there is no SMC-D device for this connection, or no enterprise id in common",
          "give both programs the same SMCD_UEID, or leave it unset on both"                                                                                            },
    Entry{Reason::no_smcr_device,
          "no_smcr_device",                                "the peer offers SMC over RDMA only, which needs a device that is not here",
          "let the peer offer SMC-D"                                                                                                                                    },
    Entry{Reason::no_ism_v2_support,
          "no_ism_v2_support",                             "no device here speaks version 2 of SMC-D",
          "see 'smcu info' for the devices in use"                                                                                                                      },
    Entry{Reason::no_v2_extension,
          "no_v2_extension",                               "the Proposal announces version 2 without its extension",
          "the peer's implementation is broken; report it"                                                                                                              },
    Entry{Reason::no_smcd_v2_extension,
          "no_smcd_v2_extension",                          "the Proposal announces SMC-D version 2 without its extension",
          "the peer's implementation is broken; report it"                                                                                                              },
    Entry{Reason::no_seid,               "no_seid",        "the peer sent no system enterprise id",                                                    ""               },
    Entry{Reason::no_smcd_v2_device,
          "no_smcd_v2_device",                             "none of the offered devices matches a device of the server",
          "run both programs on one fabric; for the loopback device: in one network namespace"                                                                          },
    Entry{Reason::no_ueid,
          "no_ueid",                                       "the Proposal names no enterprise id at all",
          "on a Linux kernel: add a user EID (smcd ueid add)"                                                                                                           },
    Entry{Reason::release_mismatch,
          "release_mismatch",                              "the Confirm names another protocol release than was agreed on",
          "the peer's implementation is broken; report it"                                                                                                              },
    Entry{Reason::max_connections_error,
          "max_connections_error",                         "the number of connections per link group could not be agreed on",
          kRdmaOnly                                                                                                                                                     },
    Entry{Reason::max_links_error,
          "max_links_error",                               "the number of links per link group could not be agreed on",
          kRdmaOnly                                                                                                                                                     },
    Entry{Reason::mode_unsupported,
          "mode_unsupported",                              "the Accept names a mode that was not proposed",
          "the peer's implementation is broken; report it"                                                                                                              },
    Entry{Reason::rmbe_eyecatcher,
          "rmbe_eyecatcher",                               "the evaluation of the link confirmation failed",
          kRdmaOnly                                                                                                                                                     },
    Entry{Reason::option_unsupported,
          "option_unsupported",                            "the program uses TCP fast open, whose data would travel before the handshake",
          "switch TCP fast open off in the program if acceleration matters more"                                                                                        },
    Entry{Reason::prefix_mismatch,
          "prefix_mismatch",                               "client and server are in different IP subnets, and only version 1 was offered",
          "offer version 2"                                                                                                                                             },
    Entry{Reason::vlan_lookup_failed,
          "vlan_lookup_failed",                            "the VLAN of the connection could not be found out",
          ""                                                                                                                                                            },
    Entry{Reason::ism_vlan_failed,
          "ism_vlan_failed",                               "the device refused the VLAN of the connection",
          "check the VLANs of the device"                                                                                                                               },
    Entry{Reason::no_active_link,        "no_active_link", "there is no active RDMA link",                                                             kRdmaOnly        },
    Entry{Reason::no_server_link,
          "no_server_link",                                "the RDMA link that the server chose is not known",
          kRdmaOnly                                                                                                                                                     },
    Entry{Reason::version_mismatch,
          "version_mismatch",                              "client and server speak different versions of the protocol",
          "update the older side"                                                                                                                                       },
    Entry{Reason::no_free_dmb,
          "no_free_dmb",                                   "the device has no room for another receive buffer",
          "use fewer or smaller buffers (SMCD_RCVBUF), or another device"                                                                                               },
    Entry{Reason::no_route,              "no_route",       "there is no RDMA route to the peer",                                                       kRdmaOnly        },
    Entry{Reason::no_indirect_path,
          "no_indirect_path",                              "one side wants a direct RDMA path and the other an indirect one",
          kRdmaOnly                                                                                                                                                     },
    Entry{Reason::sync_error,
          "sync_error",                                    "the server reused a link group that the client does not have any more",
          "nothing: the next connection makes a new one"                                                                                                                },
    Entry{Reason::peer_declined,
          "peer_declined",                                 "the peer declined; its own reason stands beside this one",
          "look at the peer's reason"                                                                                                                                   },
    Entry{Reason::internal_error,
          "internal_error",                                "something failed inside the implementation",
          "report it"                                                                                                                                                   },
    Entry{Reason::rtoken_error,          "rtoken_error",   "an RDMA memory key could not be used",                                                     kRdmaOnly        },
    Entry{Reason::link_ready_error,
          "link_ready_error",                              "an RDMA link did not become ready",
          kRdmaOnly                                                                                                                                                     },
    Entry{Reason::register_buffer_error,
          "register_buffer_error",                         "a buffer could not be registered for RDMA",
          kRdmaOnly                                                                                                                                                     },
    Entry{Reason::not_local,
          "not_local",                                     "the other end is on another host or in another network namespace",
          "the loopback device needs both programs in one network namespace"                                                                                            },
    Entry{Reason::discovery_unavailable,
          "discovery_unavailable",                         "it cannot be found out here whether the other program speaks SMC (NETLINK_SOCK_DIAG)",
          "allow NETLINK_SOCK_DIAG in the sandbox, and load the kernel modules inet_diag and "
          "tcp_diag"                                                                                                                                                    },
    Entry{Reason::listener_group_mixed,
          "listener_group_mixed",                          "several programs listen on the port (SO_REUSEPORT), and not all of them speak SMC",
          "start all programs that listen on the port with 'smcu run'"                                                                                                  },
    Entry{Reason::self_connect,          "self_connect",   "the socket is connected to itself",                                                        ""               },
    Entry{Reason::no_resources,
          "no_resources",                                  "this process lacks a descriptor, a thread or memory for the handshake",
          "raise the descriptor limit (ulimit -n) or the limit of processes (ulimit -u)"                                                                                },
    Entry{Reason::timed_out,
          "timed_out",                                     "bytes were waiting, and the peer did not answer the handshake in time",
          "look whether the peer is stopped or overloaded"                                                                                                              },
    Entry{Reason::peer_sent_data,
          "peer_sent_data",                                "the peer's application data came before the end of the handshake",
          ""                                                                                                                                                            },
    Entry{Reason::closed_early,
          "closed_early",                                  "the program closed the connection before the handshake was finished",
          ""                                                                                                                                                            },
    Entry{Reason::peer_gone,             "peer_gone",      "the peer ended or died during the handshake",                                              ""               },
    Entry{Reason::protocol_error,
          "protocol_error",                                "a message of the peer contradicts the protocol or what was agreed on",
          "use the same version on both sides; if it stays, report it"                                                                                                  },
    Entry{Reason::switched_off,
          "switched_off",                                  "acceleration is switched off here (SMCD_DISABLE, configuration, or a set-uid program)",
          "unset SMCD_DISABLE"                                                                                                                                          },
    Entry{Reason::peer_other_user,
          "peer_other_user",                               "the other program runs under another user, and memory is not shared between users",
          "run both as one user, or let the administrator allow the pair"                                                                                               },
    Entry{Reason::link_refused,
          "link_refused",                                  "the UNIX connection over which memory is passed could not be made",
          "look whether a sandbox forbids UNIX sockets, or the peer has run out of descriptors"                                                                         },
    Entry{Reason::over_budget,
          "over_budget",                                   "a limit of our own on memory, descriptors or connections is reached",
          "raise the limit in the configuration, or use smaller buffers (SMCD_RCVBUF)"                                                                                  },
    Entry{Reason::option_not_supported,
          "option_not_supported",                          "the program uses a socket option that works on TCP only",
          ""                                                                                                                                                            },
    Entry{Reason::call_not_supported,
          "call_not_supported",                            "the program uses the socket through a way that cannot be served: raw system calls, "
          "io_uring, stdio",                                                                                            ""               },
    Entry{Reason::fork_in_handshake,
          "fork_in_handshake",                             "the process forked during the handshake",
          ""                                                                                                                                                            },
    Entry{Reason::listener_not_capable,
          "listener_not_capable",                          "the listening socket cannot be accelerated (inherited, or its options forbid it)",
          ""                                                                                                                                                            },
    Entry{Reason::short_lived_listener,
          "short_lived_listener",                          "connections to this listener have been too short-lived to gain from acceleration",
          ""                                                                                                                                                            },
    Entry{Reason::static_program,
          "static_program",                                "the program is statically linked or does not use libc, so nothing can be preloaded",
          "link the program dynamically, or use the library of this project in it"                                                                                      },
    Entry{
          Reason::left_control,
          "left_control",                                  "the descriptor went where it cannot be followed: exec, descriptor passing, another table",
          ""                                                                                                                                                            },
};

constexpr bool ascending() {
    for (std::size_t i = 1; i < kEntries.size(); ++i) {
        if (kEntries[i - 1].reason >= kEntries[i].reason) {
            return false;
        }
    }
    return true;
}

static_assert(ascending(), "find_entry() searches by halves, and codes are unique");

constexpr auto kReasons = [] {
    std::array<Reason, kEntries.size()> reasons{};
    for (std::size_t i = 0; i < reasons.size(); ++i) {
        reasons[i] = kEntries[i].reason;
    }
    return reasons;
}();

constexpr Entry kUnknown{
    Reason::none, "unknown", "the peer gave a code that is not known here", ""};

const Entry* find_entry(Reason reason) noexcept {
    const auto* found = std::lower_bound(
        kEntries.begin(), kEntries.end(), reason, [](const Entry& entry, Reason wanted) {
            return entry.reason < wanted;
        });
    return found != kEntries.end() && found->reason == reason ? &*found : nullptr;
}

const Entry& entry_or_unknown(Reason reason) noexcept {
    const Entry* entry = find_entry(reason);
    return entry != nullptr ? *entry : kUnknown;
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
    if (error != std::errc() || stop != end || find_entry(static_cast<Reason>(code)) == nullptr) {
        return std::nullopt;
    }
    return static_cast<Reason>(code);
}

} // namespace

std::span<const Reason> all_reasons() noexcept {
    return kReasons;
}

std::string_view reason_name(Reason reason) noexcept {
    return entry_or_unknown(reason).name;
}

std::string_view reason_text(Reason reason) noexcept {
    return entry_or_unknown(reason).text;
}

std::string_view reason_advice(Reason reason) noexcept {
    return entry_or_unknown(reason).advice;
}

std::optional<Reason> parse_reason(std::string_view text) noexcept {
    for (const Entry& entry : kEntries) {
        if (same_name(entry.name, text)) {
            return entry.reason;
        }
    }
    return parse_code(text);
}

} // namespace smcd
