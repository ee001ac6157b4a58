// The handshake driver: sockets, devices and deadlines around the pure machines of clc/. Floor 3.
//
// It runs beside the application: connect() and accept() never wait for the peer's program. Whoever comes first advances
// it, an application thread in a call on the socket or the progress thread; none of the steps blocks. docs/architecture.md.
#pragma once

#include "smcd/base/reason.hpp"
#include "smcd/runtime/socket.hpp"

namespace smcd {

/// Client: the TCP connection is established (or under way: Phase::connecting) and probe() said yes.
void handshake_start_client(Process& process, Socket& socket);
/// Server: a marked connection was accepted; the Proposal is waited for.
void handshake_start_server(Process& process, Socket& socket);

/// Server: stays on TCP, but a Proposal that comes all the same is not the application's.
void handshake_refuse_server(Process& process, Socket& socket, Reason reason);

/// Advances as far as possible without waiting. Any thread.
void handshake_drive(Process& process, Socket& socket);

/// Begins a server's handshake that no call has touched yet (inheritance.hpp). Any thread.
void handshake_touch(Process& process, Socket& socket);

/// Ends the attempt where that is possible without losing a byte (a server that has sent Accept must go on waiting).
/// Returns whether the verdict is reached.
bool handshake_give_up(Process& process, Socket& socket, Reason reason);

/// The patience of the socket has run out; called by the progress thread.
void handshake_on_deadline(Process& process, Socket& socket, std::uint64_t now_ns);

/// Appends application bytes to the pre-buffer. Returns the number taken (0: full).
std::size_t pre_buffer_append(Process& process, Socket& socket, std::span<const iovec> buffers, std::size_t skip);
[[nodiscard]] std::size_t pre_buffer_room(Socket& socket);
/// The peer's ring is known: whether it takes what waits; from now on no more than it takes is accepted.
[[nodiscard]] bool pre_buffer_fits(Socket& socket);

/// Before fork() and exec(): drives the handshake to its verdict, or gives it up when limit_ns has passed. A server that has
/// sent Accept is left waiting for Confirm.
void handshake_resolve(Process& process, Socket& socket, Reason reason, std::uint64_t limit_ns);

/// Whether bytes of the application wait for the verdict, or for room in TCP's buffer.
[[nodiscard]] bool handshake_has_bytes(const Socket& socket) noexcept;
/// Brings waiting bytes on their way, for a server that waits for Confirm within limit_ns. Before exec().
void handshake_finish(Process& process, Socket& socket, std::uint64_t limit_ns);
/// The same at exit and before lingering; a settling connection sends its FIN ahead.
void handshake_close(Process& process, Socket& socket, std::uint64_t limit_ns);

}  // namespace smcd
