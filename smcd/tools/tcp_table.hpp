// The kernel's TCP sockets of one network namespace, from /proc/PID/net/tcp and tcp6. Floor 4, no
// protocol.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

namespace smcd::tools {

/// The kernel's TCP state numbers that matter here.
inline constexpr std::uint8_t kTcpEstablished = 1;
inline constexpr std::uint8_t kTcpListen = 10;

struct TcpSocket {
    std::string local; ///< "127.0.0.1:80", "[::1]:80"
    std::string peer;
    std::uint8_t state = 0;
    std::uint32_t uid = 0;
    std::uint64_t inode = 0;     ///< 0: no process has it open any more
    std::uint32_t interface = 0; ///< index of the device that it is bound to; 0: none, or not known
    std::uint64_t rx_bytes = 0;  ///< 0 where the source does not tell (/proc)
    std::uint64_t tx_bytes = 0;  ///< acknowledged by the peer
};

/// Socket inode -> socket.
using TcpTable = std::unordered_map<std::uint64_t, TcpSocket>;

/// Nothing for the heading and for lines of another form.
[[nodiscard]] std::optional<TcpSocket> parse_tcp_line(std::string_view line, bool is_v6);

/// "0100007F:0050" as the kernel prints it -> "127.0.0.1:80"; empty when it is no such text.
[[nodiscard]] std::string parse_tcp_address(std::string_view text, bool is_v6);

/// "127.0.0.1:80", "[::1]:80" of an address of 1 or 4 words in network byte order.
[[nodiscard]] std::string tcp_address_text(const void* address, std::uint16_t port, bool is_v6);

/// Word for a state as smcss prints it: ACTIVE for an established connection; the rest in TCP's
/// words.
[[nodiscard]] std::string_view tcp_state_word(std::uint8_t state) noexcept;

/// All TCP sockets of the namespace in which the process lives; empty when it cannot be read.
[[nodiscard]] TcpTable read_tcp_table(pid_t pid);

/// Inodes of the listeners of that namespace that have a beacon: clients under the library can find
/// them.
[[nodiscard]] std::unordered_set<std::uint64_t> read_beacons(pid_t pid);

/// Inode in a line of /proc/net/unix that shows a beacon ("@smcd/l/123", "@smcd/g/123").
[[nodiscard]] std::optional<std::uint64_t> parse_beacon_line(std::string_view line) noexcept;

} // namespace smcd::tools
