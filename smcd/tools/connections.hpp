// The table behind `smcu ss`: every TCP socket of the processes under the library, joined from the
// kernel's tables and the library's own blocks. Floor 4, docs/smcu.md "smcu ss".
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "smcd/tools/shim_memory.hpp"
#include "smcd/tools/tcp_table.hpp"

namespace smcd::tools {

enum class Mode { smcd, tcp, handshake, listen };

/// One socket. Several processes may have it open (fork): `pids` has all, `pid` is the one that the
/// row names.
struct Connection {
    pid_t pid = 0;
    std::vector<pid_t> pids;
    std::string command;
    int fd = -1;
    std::uint32_t uid = 0;
    std::uint64_t inode = 0;
    std::uint8_t tcp_state = 0; ///< the kernel's number; 0: its table does not show the socket
    std::string state;
    std::string local; ///< empty when tcp_state is 0
    std::string peer;
    std::uint32_t interface = 0;
    Mode mode = Mode::tcp;
    std::string device;
    std::uint64_t rx_bytes = 0;
    std::uint64_t tx_bytes = 0;
    std::optional<ConnView>
        block;               ///< the library's record; nothing: it does not follow this socket
    bool has_beacon = false; ///< listener: clients can find it
};

/// Joins snapshot, descriptor tables and the kernel's TCP tables. Sorted by pid, then inode.
[[nodiscard]] std::vector<Connection> list_connections(const ShimSnapshot& snapshot);

/// "SMCD", "TCP", "HANDSHAKE", "LISTEN".
[[nodiscard]] std::string_view mode_word(Mode mode) noexcept;

/// Mode of a socket with that record, and that state in the kernel's table.
[[nodiscard]] Mode mode_of(const std::optional<ConnView>& block, std::uint8_t tcp_state) noexcept;

/// Connection state in smcss's words: from the flags of an accelerated connection, else from TCP.
[[nodiscard]] std::string_view state_word(const std::optional<ConnView>& block,
                                          std::uint8_t tcp_state) noexcept;

/// Why it is not accelerated, in words; empty for an accelerated one.
[[nodiscard]] std::string why(const Connection& connection);

} // namespace smcd::tools
