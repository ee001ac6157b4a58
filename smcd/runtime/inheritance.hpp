// Handshakes that cross a fork() untouched. Floor 3.
//
// A server that forks for each connection uses it in the child only. So a server's handshake begins with the first call on
// the socket, and one that no call has touched when fork() comes is left alone: the process of the family that uses the
// connection first answers the client, from memory of its own, provided that no other process has it open any more. Where
// several processes keep it open, it stays on TCP. docs/architecture.md "life of a connection".
#pragma once

#include "smcd/runtime/socket.hpp"

namespace smcd {

class Process;

/// A server's connection whose handshake no call has touched yet.
[[nodiscard]] bool is_untouched(const Socket& socket) noexcept;

/// The first call on an inherited connection in this process. Waits a moment for relatives that are about to close it;
/// afterwards it is this process's alone, or on its way to TCP. Blocks for at most 20 ms.
void take_inherited(Process& process, Socket& socket);

/// For calls that were on their way when another thread forked.
inline void take_if_inherited(Process& process, Socket& socket) {
    if (socket.inherited.load(std::memory_order_relaxed)) {
        take_inherited(process, socket);
    }
}

/// Whether a socket that is closed here unused is left to other processes.
[[nodiscard]] bool is_left_to_relatives(Process& process, const Socket& socket) noexcept;
/// Closes this process's share of such a connection.
void drop_inherited(Process& process, Socket& socket);

}  // namespace smcd
