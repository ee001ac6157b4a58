// Plan: what one sample measures; the driver hands it to its two workers on their command lines.
// Floor 4.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace smcd::bench {

enum class Mode { pingpong, stream, rate, connect, request, many, load, mixed };
enum class Path { tcp, unix_socket, shim, library, zerocopy };
enum class Role { server, client };

[[nodiscard]] std::string_view name_of(Mode mode) noexcept;
[[nodiscard]] std::string_view name_of(Path path) noexcept;
[[nodiscard]] std::optional<Mode> parse_mode(std::string_view name) noexcept;
[[nodiscard]] std::optional<Path> parse_path(std::string_view name) noexcept;

/// Whether the path is one of ours, which --require-smc holds to its word.
[[nodiscard]] constexpr bool is_subject(Path path) noexcept {
    return path == Path::shim || path == Path::library || path == Path::zerocopy;
}

struct Plan {
    Mode mode = Mode::pingpong;
    Path path = Path::tcp;
    std::uint64_t message_bytes = 14;
    double seconds = 1;
    std::uint64_t count = 0; ///< messages instead of seconds; 0: seconds
    double warmup_s = 0.1;
    std::uint32_t connections = 1; ///< streams; many: all connections
    std::uint32_t active = 1;      ///< many: how many have a request under way
    std::uint32_t batch = 1;       ///< rate: messages per publication, where the path has one
    double rate = 0;               ///< load: requests per second
    bool nodelay = true;
    std::string congestion = "cubic";
    std::string profile;
    int client_cpu = -1; ///< -1: not pinned
    int server_cpu = -1;

    /// One word per field; what parse_plan() reads.
    [[nodiscard]] std::vector<std::string> words() const;
};

/// Nothing: the words are not those of words().
[[nodiscard]] std::optional<Plan> parse_plan(const std::vector<std::string>& words);

} // namespace smcd::bench
