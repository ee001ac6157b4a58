// Reason: why a connection is not accelerated, as a code, a name, a sentence and an advice. Floor
// 0. Codes of the Linux kernel's SMC mean the same here; ours are 0x0FE0xxxx. docs/reasons.md lists
// all, docs/protocol.md "Decline" says which of them go over the wire.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace smcd {

enum class Reason : std::uint32_t {
    none = 0, ///< accelerated, or no verdict yet

    // The kernel's codes.
    out_of_memory = 0x01010000,
    confirm_link_timeout = 0x02010000,
    add_link_timeout = 0x02020000,
    configuration_error = 0x03000000,
    peer_no_smc = 0x03010000,
    ipsec = 0x03020000,
    no_smc_device = 0x03030000,
    no_smcd_device = 0x03030001,
    no_smcr_device = 0x03030002,
    no_ism_v2_support = 0x03030003,
    no_v2_extension = 0x03030004,
    no_smcd_v2_extension = 0x03030005,
    no_seid = 0x03030006,
    no_smcd_v2_device = 0x03030007,
    no_ueid = 0x03030008,
    release_mismatch = 0x03030009,
    max_connections_error = 0x0303000A,
    max_links_error = 0x0303000B,
    mode_unsupported = 0x03040000,
    rmbe_eyecatcher = 0x03050000,
    option_unsupported = 0x03060000,
    prefix_mismatch = 0x03070000,
    vlan_lookup_failed = 0x03080000,
    ism_vlan_failed = 0x03090000,
    no_active_link = 0x030A0000,
    no_server_link = 0x030B0000,
    version_mismatch = 0x030C0000,
    no_free_dmb = 0x030D0000,
    no_route = 0x030E0000,
    no_indirect_path = 0x030F0000,
    sync_error = 0x04000000,
    peer_declined = 0x05000000,
    internal_error = 0x09990000,
    rtoken_error = 0x09990001,
    link_ready_error = 0x09990002,
    register_buffer_error = 0x09990003,

    // Ours: discovery.
    not_local = 0x0FE00001,
    discovery_unavailable = 0x0FE00002,
    listener_group_mixed = 0x0FE00003,
    self_connect = 0x0FE00004,
    // Ours: the handshake.
    no_resources = 0x0FE00005,
    timed_out = 0x0FE00006,
    peer_sent_data = 0x0FE00007,
    closed_early = 0x0FE00008,
    peer_gone = 0x0FE00009,
    protocol_error = 0x0FE0000A,
    // Ours: policy and limits.
    switched_off = 0x0FE0000B,
    peer_other_user = 0x0FE0000C,
    link_refused = 0x0FE0000D,
    over_budget = 0x0FE0000E,
    // Ours: what programs do.
    option_not_supported = 0x0FE0000F,
    call_not_supported = 0x0FE00010,
    fork_in_handshake = 0x0FE00011,
    listener_not_capable = 0x0FE00012,
    short_lived_listener = 0x0FE00013,
    static_program = 0x0FE00014,
    left_control = 0x0FE00015,
};

/// Bits that tell our own codes from the kernel's.
inline constexpr std::uint32_t kPrivateReasonMask = 0xFFFF0000;
inline constexpr std::uint32_t kPrivateReasonBase = 0x0FE00000;

/// A code that only this project knows.
[[nodiscard]] constexpr bool is_private(Reason reason) noexcept {
    return (static_cast<std::uint32_t>(reason) & kPrivateReasonMask) == kPrivateReasonBase;
}

/// Every reason, none included, in ascending order of their codes.
[[nodiscard]] std::span<const Reason> all_reasons() noexcept;

// The three texts live for ever. Thread: any. Async-signal-safe.

/// The enumerator's name; "unknown" for a code that is not in the table (a peer may send any).
[[nodiscard]] std::string_view reason_name(Reason reason) noexcept;
/// One sentence in words, without a full stop.
[[nodiscard]] std::string_view reason_text(Reason reason) noexcept;
/// What a user can do about it; empty when there is nothing to do.
[[nodiscard]] std::string_view reason_advice(Reason reason) noexcept;

/// The reason that a code ("0x03010000", "50397184") or a name ("peer_no_smc", "peer-no-smc")
/// means; nothing if it is not in the table.
[[nodiscard]] std::optional<Reason> parse_reason(std::string_view text) noexcept;

} // namespace smcd
