// The server of `smcu check`: sends back what it gets. An ordinary poll() program, so that it shows
// what the library does with ordinary programs. Floor 4.
#pragma once

#include <cstdint>

namespace smcd::tools {

struct EchoOptions {
    std::uint16_t port = 0;     ///< 0: a free one
    bool all_addresses = false; ///< else 127.0.0.1 alone
};

/// Prints "port N" on stdout when it listens, then serves until it is killed. Returns an exit
/// status on failure.
int serve_echo(const EchoOptions& options);

} // namespace smcd::tools
