// The IP subnets of a connection, which version 1 of SMC-D compares. Floor 3, docs/protocol.md
// "negotiation".
#pragma once

#include "clc/negotiate.hpp"

namespace smcd {

/// Subnet of the socket's own IPv4 address, and the IPv6 prefixes of the interface that has its
/// address, but for link-local ones; the VLAN of that interface. false: it has none, or the interfaces cannot be asked.
[[nodiscard]] bool read_prefixes(int fd, clc::Version1& v1);

} // namespace smcd
