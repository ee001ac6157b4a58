// The system enterprise id: equal for all processes under one kernel. Floor 3,
// docs/configuration.md "Enterprise ids".
#pragma once

#include <string>

namespace smcd {

/// "SMCD-SEID-" and 16 hexadecimal digits from the kernel's boot id; empty where that cannot be
/// read.
[[nodiscard]] const std::string& system_eid();

} // namespace smcd
