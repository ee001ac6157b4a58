// Opening: what surrounds the kernel's connect() and accept() until the handshake takes over.
// Floor 3.
//
// The caller makes the system call itself and keeps its own books (the shim: a table by descriptor
// number); these steps decide whether the connection may be accelerated and give the Socket its
// block.
#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include "smcd/base/reason.hpp"
#include "smcd/runtime/socket.hpp"

namespace smcd {

/// Client, before connect(): asks discovery and marks the SYN. Reason::none: a handshake is to
/// follow. Does not wait.
[[nodiscard]] Reason
opening_client(Process& process, Socket& socket, const sockaddr* address, socklen_t length);

/// Client, after connect(); `rc` is its result (0 or -errno), `reason` that of opening_client().
/// true: the socket's calls are the engine's from now on; note that, then call
/// handshake_start_client(). false: it stays on TCP.
[[nodiscard]] bool opened_client(Process& process, Socket& socket, Reason reason, ssize_t rc);

enum class ServerOpening {
    on_tcp,    ///< plain TCP for good
    handshake, ///< call handshake_start_server()
    refused,   ///< call handshake_refuse_server() with `reason`
};

struct OpenedServer {
    ServerOpening opening = ServerOpening::on_tcp;
    Reason reason = Reason::none;
};

/// An accepted connection before it has a Socket.
struct Arrival {
    Marked marked = Marked::unknown;
    std::uint32_t stands_for = 1; ///< as Socket::stands_for; 0: it is TCP's, has been counted, and needs no Socket
};

/// Server, right after accept(): looks for the client's mark.
[[nodiscard]] Arrival look_at_arrival(Process& process, int accepted_fd);

/// Server: takes over the listener's settings and decides.
[[nodiscard]] OpenedServer
opened_server(Process& process, Socket& socket, const Socket& listener, Arrival arrival);

/// What setsockopt() has just set, as far as the engine must know it: timeouts, buffer, low water,
/// linger.
void note_socket_option(Socket& socket, int name, const void* value, socklen_t length) noexcept;

} // namespace smcd
