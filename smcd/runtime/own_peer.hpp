// OwnPeer: a connection whose two ends are in this process. Floor 3.
//
// A program that holds both ends knows when TCP is through with a call on one of them: at once. A handshake that waits for the
// progress thread would show it a connection without the bytes that it has just sent. So a call on the server's end brings both
// ends to the verdict.
#pragma once

#include "smcd/runtime/socket.hpp"

namespace smcd {

class Process;

/// Brings the handshake of a server whose client is in this process to its verdict, as far as the machines of both ends go
/// without waiting. Under Process::lifecycle_mutex().
void meet_own_peer(Process& process, Socket& socket);

/// handshake_drive() and meet_own_peer(), for a call of the application. Any thread, also in a signal handler: what another
/// call holds at the moment leaves the meeting to the progress thread. Not under Process::lifecycle_mutex().
void handshake_advance(Process& process, Socket& socket);

}  // namespace smcd
