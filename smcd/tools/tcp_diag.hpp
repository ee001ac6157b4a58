// The TCP sockets of our own network namespace with their byte counts, from the kernel's sock_diag:
// one dump where /proc/net/tcp has no bytes and takes several times as long. Floor 4, no protocol.
#pragma once

#include <optional>

#include "smcd/tools/tcp_table.hpp"

namespace smcd::tools {

/// Nothing when sock_diag is not available here; then read_tcp_table() must do.
[[nodiscard]] std::optional<TcpTable> read_tcp_diag();

} // namespace smcd::tools
