// Lingering: a server's connection that was closed before the client's Proposal came. Floor 3.
//
// A client that has announced SMC sends its Proposal as soon as its connect() is done. A server that accepts and closes in
// one breath is gone by then, and the kernel would answer the Proposal with a reset, where plain TCP shows the client an
// orderly end. So the FIN goes out at once, and the connection stays open behind a descriptor of ours until the Proposal
// has been taken, the client has ended, or a moment has passed.
#pragma once

#include <cstdint>

#include "smcd/base/clock.hpp"

namespace smcd {

class Process;
class Socket;

/// How long close() may wait for a client's Confirm, so that bytes already sent are delivered.
inline constexpr std::uint64_t kCloseLimitNs = 500 * kNsPerMs;

/// Before the last close: finishes the handshake and, where the Proposal is still expected, leaves the connection to the
/// progress thread by a hold (sleep_guard.hpp).
void linger_for_proposal(Process& process, Socket& socket);

/// At exit, where nobody is left who could linger: waits a moment.
void await_proposal_at_exit(Process& process, Socket& socket);

/// Progress thread, after each event and deadline of the socket, without Process::lifecycle_mutex().
void end_linger_if_due(Process& process, Socket& socket);

}  // namespace smcd
