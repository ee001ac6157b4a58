// Lingering: a connection that its application has closed before the handshake was over. Floor 3.
//
// The kernel keeps a closed TCP connection until its bytes are delivered; close() does not wait for
// that. A handshake has four such moments:
//   * Bytes wait in the pre-buffer for the client's Confirm, or for room in TCP's own buffer.
//   * A client that has announced SMC sends its Proposal as soon as its connect() is done. A server
//   that accepts and closes in
//     one breath is gone by then, and the kernel would answer the Proposal with a reset, where
//     plain TCP shows the client an orderly end. So the FIN goes out at once.
//   * Behind its Accept a server gets a Confirm, which the client's library sends by itself; with
//   the same result.
//   * A client that closes behind its Proposal says Decline; an answer from another machine may cross it.
// A return to TCP that is under way is a fifth: the peer may lack bytes, and waits for our frame.
// In all of them the connection stays open behind a descriptor of ours, and the progress thread goes on
// with it until nothing is left to be done or its time is over.
#pragma once

#include <cstdint>

#include "smcd/base/clock.hpp"

namespace smcd {

class Process;
class Socket;

/// Before the last close of an accelerated connection, and at exit: it ends on its rings, or, where its device is lost, begins
/// its return to TCP, which is to be finished like a handshake. Nothing happens while a relative or another call has it.
void choose_end(Process& process, Socket& socket);

/// Before the last close: brings the handshake as far as it goes without waiting (with SO_LINGER:
/// within its time) and, where that is not to the end, leaves the connection to the progress thread
/// by a hold (sleep_guard.hpp).
void linger_if_unfinished(Process& process, Socket& socket);

/// How long the end of a connection that cannot linger may wait for its handshake.
[[nodiscard]] std::uint64_t end_limit_ns() noexcept;

/// In the child of fork(): the parent goes on with those that linger.
void leave_lingering_to_parent(Socket& socket) noexcept;

/// At exit, where nobody is left who could linger: waits a moment.
void await_client_at_exit(Process& process, Socket& socket);

/// Progress thread, after each event and deadline of the socket, without
/// Process::lifecycle_mutex().
void end_linger_if_due(Process& process, Socket& socket);

} // namespace smcd
