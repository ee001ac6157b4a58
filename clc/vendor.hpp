// Our announcement in the vendor fields. Private to this room. Floor 1, docs/protocol.md "extensions".
//
//   Proposal: OUI "SDU", then 5 option bytes: version 1 and features in one byte, link group id (4 bytes);
//   behind them, in what is reserved: VLAN id (2 bytes).
//   First contact extension (v2.1): 4 option bytes: 'S', version and features, two zeros.
#pragma once

#include "clc/messages.hpp"
#include "smcd/base/bytes.hpp"

namespace smcd::clc {

[[nodiscard]] VendorExtension read_proposal_vendor(ByteReader& reader) noexcept;
void write_proposal_vendor(ByteWriter& writer, const VendorExtension& vendor) noexcept;
[[nodiscard]] VendorExtension read_contact_vendor(ByteReader& reader) noexcept;
void write_contact_vendor(ByteWriter& writer, const VendorExtension& vendor) noexcept;

}  // namespace smcd::clc
