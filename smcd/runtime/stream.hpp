// Stream calls on a Socket: what send(), recv(), shutdown() and poll() mean in each phase. Floor 3.
//
// Every function returns what the system call of the same name would, as a value: n >= 0, or -errno. `kUseTcp` says that
// the connection is plain TCP by now and the caller must make the real call.
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <cstdint>
#include <limits>
#include <span>

#include "smcd/runtime/socket.hpp"

namespace smcd {

/// Sum of the buffers' lengths.
[[nodiscard]] inline std::size_t total_bytes(std::span<const iovec> buffers) noexcept {
    std::size_t total = 0;
    for (const iovec& buffer : buffers) {
        total += buffer.iov_len;
    }
    return total;
}

inline constexpr ssize_t kUseTcp = std::numeric_limits<ssize_t>::min();
/// Inside stream.cpp and sendfile.cpp: the connection left the rings in the middle of the call; go by its phase.
inline constexpr ssize_t kMoved = kUseTcp + 1;

/// Receives as recvmsg() on a TCP stream would; MSG_PEEK, MSG_WAITALL, MSG_DONTWAIT, MSG_TRUNC. Blocks as configured.
ssize_t stream_receive(Process& process, Socket& socket, std::span<const iovec> buffers, int flags);

/// Sends as sendmsg() would; MSG_DONTWAIT. A blocking call returns short only when it fails or is interrupted. Raising SIGPIPE is
/// the caller's business (-EPIPE).
ssize_t stream_send(Process& process, Socket& socket, std::span<const iovec> buffers, int flags);

/// The same for one buffer in one step, without waiting: what most calls are. 0: nothing was done, take the way above.
ssize_t stream_receive_short(Process& process, Socket& socket, void* data, std::size_t bytes);
ssize_t stream_send_short(Process& process, Socket& socket, const void* data, std::size_t bytes);

/// shutdown(how). 0 or -ENOTCONN (the directions are shut down all the same).
int stream_shutdown(Process& process, Socket& socket, int how);
/// Phase::smc: whether TCP's state would be any but CLOSE: no reset, and not both ends have been said.
[[nodiscard]] bool stream_connected(Channel& channel) noexcept;
/// Phase::smc: tells the peer which directions were shut down. Both: what it still sends draws a reset, as on TCP.
void stream_tell_ends(Socket& socket) noexcept;

/// Fetches and clears the pending error, as SO_ERROR does; false: the connection has none of its own, TCP's counts.
bool stream_take_error(Socket& socket, int& error) noexcept;
/// A call has told of an end by error, and reports the bytes before it: the error is the next call's again.
void stream_keep_error(Socket& socket, int error) noexcept;

/// poll() mask of a connection in a phase of ours. `wanted`: without POLLOUT and its relatives, space is not looked for.
/// Takes no step of a handshake; call handshake_drive() for that first.
PollMask stream_poll(Socket& socket, PollMask wanted = ~PollMask{}) noexcept;

/// Phase::smc: whether TCP would tell of its data again, as it does when SO_RCVLOWAT is set: as many bytes as that, or the
/// peer's end. A reset and an own shutdown() make readable, and are no data.
[[nodiscard]] bool stream_tells_of_data(Socket& socket) noexcept;

/// Asks the peer (Phase::smc), and this process, to ring the doorbell at news of data or space. Look again behind a full
/// fence. At least one of both, so that the peer's end and reset ring, too. What is armed is left alone.
void stream_arm(Process& process, Socket& socket, unsigned door, bool data, bool space) noexcept;

/// Unread bytes (FIONREAD) and unsent or unread-by-peer bytes (SIOCOUTQ).
std::uint32_t stream_unread(Process& process, Socket& socket);
std::uint32_t stream_outstanding(Process& process, Socket& socket);

/// What TCP_INQ tells behind a receive: unread bytes, and one more once the peer has ended its direction, so that nobody waits
/// for an edge in front of the end.
int stream_inq(Process& process, Socket& socket);

/// Reads a file into the ring without a bounce buffer; `offset` as for sendfile(). kUseTcp, n or -errno.
ssize_t stream_sendfile(Process& process, Socket& socket, int file_fd, off64_t* offset, std::size_t count);

}  // namespace smcd
