// Settling: the verdict is TCP, and the connection is brought there without losing or adding a byte. Floor 3.
#pragma once

#include "smcd/base/reason.hpp"
#include "smcd/runtime/pending.hpp"
#include "smcd/runtime/socket.hpp"

namespace smcd {

enum class FlushStatus { done, blocked };

/// Writes the pre-buffer into the ring of a connection that is about to become accelerated. Before the phase changes.
bool flush_to_ring(Process& process, Socket& socket);
/// Writes what TCP takes of the pre-buffer at once.
FlushStatus flush_to_tcp(Process& process, Socket& socket);

/// Enters Phase::settling. may_swallow: one CLC message of the peer may still stand first in the inbound stream.
void settle_begin(Process& process, Socket& socket, Reason reason, bool may_swallow);
/// Ends the connection as a reset, for both sides, and settles: the peer went where it cannot be followed.
void settle_reset(Process& process, Socket& socket, Reason reason);
/// Flushes and swallows what is there; moves on to Phase::tcp when nothing is left to do. Under the handshake lock.
void settle_step(Process& process, Socket& socket);
enum class SettlingCall { receive, other };
/// The error that the pre-buffer's way out met, for the application's next call; 0: none. Until it is taken the connection
/// does not leave Phase::settling. receive: bytes that came before it go first.
[[nodiscard]] int take_settling_error(Process& process, Socket& socket, SettlingCall call);
/// Waits up to limit_ns for the CLC message that may still come; a Proposal that comes is declined. While no other thread
/// uses the socket: before an exec, and on the way to TCP.
void settle_await_clc(Process& process, Socket& socket, std::uint64_t limit_ns);
/// Before whoever knows nothing of CLC gets the connection: waits for the Proposal of a client that has marked its SYN and can
/// send one. It comes as soon as the client runs, on a busy machine after seconds; one that stays out for ten costs the
/// connection, which is reset. An application thread.
void settle_await_proposal(Process& process, Socket& socket);
/// Ends the TCP connection as a reset for both sides; the descriptor stays open.
void dissolve_tcp(int fd) noexcept;
/// Before the last close of a connection that is still settling: sends the FIN ahead, so that bytes of CLC that nobody will
/// read draw no reset at the peer in front of the application's bytes.
void settle_before_close(Process& process, Socket& socket) noexcept;

}  // namespace smcd
