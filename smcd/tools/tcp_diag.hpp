// Byte counts of the TCP sockets of our own network namespace, from the kernel's sock_diag. Floor
// 4, no protocol.
#pragma once

#include <cstdint>
#include <unordered_map>

namespace smcd::tools {

struct TcpBytes {
    std::uint64_t rx = 0;
    std::uint64_t tx = 0;        ///< acknowledged by the peer
    std::uint32_t interface = 0; ///< index of the device that the socket is bound to; 0: none
};

/// Socket inode -> bytes, for all sockets but listeners. Empty when sock_diag is not available
/// here.
[[nodiscard]] std::unordered_map<std::uint64_t, TcpBytes> read_tcp_bytes();

} // namespace smcd::tools
