// Reads /proc: processes, their mappings and sockets. Every function answers "nothing" for a
// process that has vanished or may not be looked at. Floor 4, no protocol.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace smcd::tools {

/// One line of /proc/PID/maps.
struct MapsEntry {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    std::uint64_t device = 0; ///< major << 32 | minor
    std::uint64_t inode = 0;
    std::string_view name; ///< into the parsed line; empty for anonymous memory
};

/// Nothing when the line has another form.
[[nodiscard]] std::optional<MapsEntry> parse_maps_line(std::string_view line) noexcept;

/// Inode of a link such as "socket:[123]"; nothing when it names something else.
[[nodiscard]] std::optional<std::uint64_t> parse_inode_link(std::string_view link,
                                                            std::string_view kind) noexcept;

struct OpenSocket {
    int fd = -1;
    std::uint64_t inode = 0;
};

/// Ids of all processes that are visible here, ascending.
[[nodiscard]] std::vector<pid_t> list_pids();
/// /proc/PID/`name`, at most `bytes_max` bytes; nothing when it cannot be read.
[[nodiscard]] std::optional<std::string>
read_proc(pid_t pid, std::string_view name, std::size_t bytes_max);
/// Command name without control characters; empty when the process is gone.
[[nodiscard]] std::string command_of(pid_t pid);
/// The sockets that the process has open; a number may name a socket of any family.
[[nodiscard]] std::vector<OpenSocket> sockets_of(pid_t pid);
/// Inode of the process's network namespace; 0: unknown.
[[nodiscard]] std::uint64_t netns_of(pid_t pid);

} // namespace smcd::tools
