// The last words of an accelerated connection. Floor 3, docs/protocol.md "connection states".
#pragma once

#include "smcd/runtime/socket.hpp"

namespace smcd {

/// Phase::smc, the last holder closes: tells the peer what close() means to it, the end, or a reset
/// where TCP would send one. Both directions are locked. Does not block.
void say_goodbye(Socket& socket, Channel& channel);

} // namespace smcd
