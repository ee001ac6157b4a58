// Return to TCP: an accelerated connection becomes a plain one, at any moment, without losing a byte. Floor 3.
//
//   one side                                   the other (its progress thread)
//   freeze both rings, write frame        ->
//                                         <-   freeze both rings, write frame
//   what the other had not read, then          what the first had not read, then
//   new bytes, all plain                 <->   new bytes, all plain
//
// The frame says how far its sender has read and written. Each side then sends again over TCP what the other had not
// taken out of its ring: the sender still has that ring mapped. Both do the same, so crossing requests are no special
// case. docs/protocol.md "return to TCP".
#pragma once

#include "smcd/base/reason.hpp"
#include "smcd/runtime/socket.hpp"

namespace smcd {

class Process;

/// Brings a connection of any phase to plain TCP and waits for it: afterwards the descriptor serves any program.
/// Thread: any, not inside a call on the same connection. Blocks until the peer's library has answered, at most 60 s
/// (then the connection ends with ECONNRESET). false: there is no way back: the peer has closed and bytes of it are
/// unread, the peer has died, or a signal handler interrupted a call on the same connection.
bool return_to_tcp(Process& process, Socket& socket, Reason reason);

/// The same without waiting: the progress thread goes on with it. Nothing happens where the
/// connection is not accelerated, or there is no way back. Thread: any.
void return_begin(Process& process, Socket& socket, Reason reason);

/// Before the last holder closes an accelerated connection: from now on nobody takes it back. false: it is not, or no longer,
/// on its rings; a return that has begun must be finished first. Thread: any.
[[nodiscard]] bool end_on_rings(Socket& socket);

enum class TcpState { nothing, ended, broken };

struct TcpNews {
    TcpState state = TcpState::nothing;
    int error = 0; ///< what TCP tells when it is broken: ECONNRESET, ETIMEDOUT (keepalive), ...
};

/// Phase::smc: takes doorbell bytes and the peer's frame off the TCP connection.
[[nodiscard]] TcpNews return_look(Process& process, Socket& socket);

/// Phase::returning: advances without waiting. Under the handshake lock.
void return_step(Process& process, Socket& socket);

}  // namespace smcd
