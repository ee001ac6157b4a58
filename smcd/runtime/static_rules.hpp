// Static rules: addresses that are known to speak SMC because the configuration says so. Floor 3,
// docs/discovery.md "static".
#pragma once

#include <string_view>
#include <vector>

#include "smcd/runtime/sock_diag.hpp"

namespace smcd {

/// A network and, unless 0, a port.
struct StaticRule {
    TcpAddress network;       ///< its port: 0 means any
    unsigned prefix_bits = 0; ///< of the address that must agree

    [[nodiscard]] bool covers(const TcpAddress& address) const noexcept;
};

/// "10.1.2.3:80,10.1.0.0/16,[fd00::1]:80,fd00::/64": the rules, and what is no rule is left out,
/// with a line in the log.
[[nodiscard]] std::vector<StaticRule> parse_static_rules(std::string_view text);

} // namespace smcd
