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
    timeout_confirm_link = 0x02010000,
    timeout_add_link = 0x02020000,
    configuration_error = 0x03000000,
    peer_no_smc = 0x03010000,
    ipsec = 0x03020000,
    no_device = 0x03030000,
    no_smcd_device = 0x03030001,
    no_smcr_device = 0x03030002,
    no_ism_v2 = 0x03030003,
    no_v2_extension = 0x03030004,
    no_smcd_v2_extension = 0x03030005,
    no_seid = 0x03030006,
    no_smcd_v2_device = 0x03030007,
    no_ueid = 0x03030008,
    release_error = 0x03030009,
    max_connections = 0x0303000A,
    max_links = 0x0303000B,
    mode_unsupported = 0x03040000,
    rmbe_eyecatcher = 0x03050000,
    option_unsupported = 0x03060000,
    prefix_mismatch = 0x03070000,
    vlan_lookup = 0x03080000,
    vlan_register = 0x03090000,
    no_active_link = 0x030A0000,
    no_server_link = 0x030B0000,
    version_mismatch = 0x030C0000,
    max_dmbs = 0x030D0000,
    no_route = 0x030E0000,
    no_indirect = 0x030F0000,
    sync_error = 0x04000000,
    peer_declined = 0x05000000,
    internal_error = 0x09990000,
    rtoken_error = 0x09990001,
    ready_link_error = 0x09990002,
    register_buffer_error = 0x09990003,

    // Ours.
    disabled = 0x0FE00001,
    not_local = 0x0FE00002,
    discovery_unavailable = 0x0FE00003,
    listener_group_mixed = 0x0FE00004,
    self_connect = 0x0FE00005,
    no_resources = 0x0FE00006,
    timed_out = 0x0FE00007,
    peer_sent_data = 0x0FE00008,
    closed_early = 0x0FE00009,
    peer_gone = 0x0FE0000A,
    peer_uid = 0x0FE0000B,
    client_not_marked = 0x0FE0000C,
    unsupported_call = 0x0FE0000D,
    fork_in_handshake = 0x0FE0000E,
    protocol_error = 0x0FE0000F,
    link_refused = 0x0FE00010,
    over_budget = 0x0FE00011,
    unsupported_option = 0x0FE00012,
    listener_not_capable = 0x0FE00013,
    short_lived_listener = 0x0FE00014,
    static_program = 0x0FE00015,
    left_control = 0x0FE00016,
    returned_by_peer = 0x0FE00017,
    returned_on_request = 0x0FE00018,
    other_network = 0x0FE00019,
    device_drained = 0x0FE0001A,
    peer_buffer_small = 0x0FE0001B,
    fabric_unavailable = 0x0FE0001C,
    device_lost = 0x0FE0001D,
    peer_not_reading = 0x0FE0001E,
};

/// Codes 0x0FE0xxxx are ours; on the wire they appear only between two sides that announced our
/// extension.
inline constexpr std::uint32_t kPrivateReasons = 0x0FE00000;
inline constexpr std::uint32_t kPrivateReasonMask = 0xFFFF0000;

[[nodiscard]] constexpr bool is_private(Reason reason) noexcept {
    return (static_cast<std::uint32_t>(reason) & kPrivateReasonMask) == kPrivateReasons;
}

struct ReasonRow {
    Reason reason;
    std::string_view name;   ///< stable identifier: the enumerator's name
    std::string_view text;   ///< one sentence in words
    std::string_view advice; ///< what a user can do about it; empty: nothing
};

/// Every reason, none included, in ascending order of code.
[[nodiscard]] std::span<const ReasonRow> reason_rows() noexcept;

// A peer may send any code: one that is not in the table has the name "unknown" and says so.
// The texts live for ever. Thread: any. Async-signal-safe.

[[nodiscard]] std::string_view reason_name(Reason reason) noexcept;
[[nodiscard]] std::string_view reason_text(Reason reason) noexcept;
[[nodiscard]] std::string_view reason_advice(Reason reason) noexcept;

/// The reason that a code ("0x03010000", "50397184") or a name ("peer_no_smc", "peer-no-smc")
/// means; nothing if it is not in the table.
[[nodiscard]] std::optional<Reason> parse_reason(std::string_view text) noexcept;

} // namespace smcd
