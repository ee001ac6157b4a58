// The system enterprise id: equal for all processes under one kernel. Floor 3,
// docs/configuration.md "Enterprise ids".
#pragma once

#include <string_view>

namespace smcd {

/// "SMCD-SEID-" and 16 hexadecimal digits from the kernel's boot id; empty where that cannot be
/// read. Valid for ever: the progress thread asks for it while exit() runs destructors.
[[nodiscard]] std::string_view system_eid();

} // namespace smcd
