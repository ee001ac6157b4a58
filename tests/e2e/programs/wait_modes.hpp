// The ways in which a program waits for its sockets: one loop for each.
// Room tests/e2e, no protocol section.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/e2e/programs/pump.hpp"

namespace smcd::e2e {

using Pumps = std::vector<std::unique_ptr<Pump>>;

/// True for the one mode whose sockets stay blocking.
[[nodiscard]] bool is_blocking_mode(const std::string& mode);

/// Runs every pump to its end. `mode`: blocking (two threads for each connection), poll, select,
/// epoll-level, epoll-edge, epoll-oneshot. `threads` > 1 needs an epoll mode; with `shared` all
/// threads wait on one set, otherwise each has its own set and its share of the connections.
void run_pumps(Pumps& pumps, const std::string& mode, unsigned threads, bool shared);

} // namespace smcd::e2e
