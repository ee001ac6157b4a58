// One line on stderr for each verdict about a connection, for whoever asks with SMCD_DEBUG=3. Floor 3.
#pragma once

#include "smcd/base/reason.hpp"
#include "smcd/runtime/socket.hpp"

namespace smcd {

/// The connection has come into `phase`: smc, or plain TCP for `reason`. Thread: any; does not block, keeps errno.
void log_verdict(const Socket& socket, Phase phase, Reason reason) noexcept;

}  // namespace smcd
