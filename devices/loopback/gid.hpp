// The loopback device's GID: equal exactly where descriptors can be passed. Floor 2,
// docs/protocol.md "devices".
#pragma once

#include <string>

#include "smcd/base/ids.hpp"

namespace smcd::dev {

/// 128 bits in the form of a UUIDv4, derived from the boot id and the network namespace (abstract
/// UNIX names reach exactly as far), or the folder in which the rendezvous are. Random where /proc
/// has never told them: then the process can talk to itself alone.
[[nodiscard]] Gid make_loopback_gid(const std::string& folder = {}) noexcept;

} // namespace smcd::dev
