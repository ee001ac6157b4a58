// The client of `smcu check`: connects, waits for the verdict without sending a byte, and tells
// what the library in its own process says. Floor 4, docs/smcu.md "smcu check".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace smcd::tools {

enum class Verdict { accelerated, on_tcp, undecided, no_connection };

struct ProbeReport {
    Verdict verdict = Verdict::no_connection;
    std::string local;
    std::string peer;
    std::string device;
    std::string problem; ///< what no reason code says: errors of the system, library not loaded
    std::uint32_t reason = 0;
    std::uint32_t peer_reason = 0;
    std::uint64_t rx_bytes = 0; ///< through the DMBs
    std::uint64_t tx_bytes = 0;
};

struct Target {
    std::string host;
    std::string port;
};

/// "host:port", "[::1]:port", "127.0.0.1:port"; nothing when there is no port.
[[nodiscard]] std::optional<Target> parse_target(std::string_view text);

struct ProbeOptions {
    int connect_ms = 5000;
    int verdict_ms = 2000;
    bool echo = false; ///< the server is ours: send some bytes and expect them back
};

/// Blocks up to the given times. Runs in a process that has the library preloaded; without, the
/// report says so.
[[nodiscard]] ProbeReport probe(const Target& target, const ProbeOptions& options);

/// One line of JSON, for the process that started the probe, and back; nothing when the line is
/// something else.
[[nodiscard]] std::string encode(const ProbeReport& report);
[[nodiscard]] std::optional<ProbeReport> decode_report(const std::string& line);

} // namespace smcd::tools
