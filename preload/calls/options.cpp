// getsockopt() and setsockopt() on TCP sockets that we follow. Floor 4.
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <cerrno>
#include <cstring>

#include "preload/calls/calls.hpp"
#include "preload/leaving.hpp"
#include "smcd/runtime/opening.hpp"
#include "smcd/base/raw_syscall.hpp"
#include "smcd/runtime/settle.hpp"
#include "smcd/runtime/stream.hpp"

namespace smcd::preload::calls {
namespace {

/// Our own option, in the level that Linux gives to SMC: the program asks for plain TCP. The value is ignored.
constexpr int kSolSmc = 286;
constexpr int kReturnToTcp = 0x0FE0;

/// Options whose effect lies in the kernel's stream of bytes.
bool kernel_alone_serves(int level, int name) noexcept {
    return (level == IPPROTO_TCP && (name == TCP_ULP || name == TCP_REPAIR)) ||
           (level == SOL_SOCKET && (name == SO_ZEROCOPY || name == SO_OOBINLINE));
}

}  // namespace

ssize_t set_option(
    Shim& shim, Socket& socket, int fd, int level, int name, const void* value, socklen_t length) {
    if (level == kSolSmc && name == kReturnToTcp) {
        return leave(shim, fd, Reason::returned_on_request) ? 0 : -ENOTCONN;
    }
    if (kernel_alone_serves(level, name)) {
        leave(shim, fd, Reason::unsupported_option);
    }
    const ssize_t rc = value_of(shim.real.setsockopt(fd, level, name, value, length));
    if (rc == 0 && level == SOL_SOCKET) {
        note_socket_option(socket, name, value, length);
        if (name == SO_RCVLOWAT && socket.accelerated()) {
            if ((stream_poll(socket) & POLLIN) != 0) {
                socket.tcp_events.fetch_add(1, std::memory_order_release);  // an edge: TCP looks at its data again
            }
            shim.process.wake_local(socket);  // what is there may be enough now
        }
    }
    return rc;
}

ssize_t get_option(
    Shim& shim, Socket& socket, int fd, int level, int name, void* value, socklen_t* length) {
    const bool ours = socket.kind.load(std::memory_order_acquire) == SocketKind::connection &&
                      Socket::is_ours(socket.phase());
    const bool error_wanted = level == SOL_SOCKET && name == SO_ERROR;
    const ssize_t rc = value_of(shim.real.getsockopt(fd, level, name, value, length));
    if (rc == 0 && ours && level == SOL_SOCKET && name == SO_RCVLOWAT && *length >= sizeof(int)) {
        const int mark = static_cast<int>(socket.low_water);
        std::memcpy(value, &mark, sizeof(mark));
    }
    if (rc != 0 || !error_wanted || *length < sizeof(int)) {
        return rc;
    }
    if (!socket.accelerated()) {
        if (const int met = take_settling_error(shim.process, socket, SettlingCall::other); met != 0) {
            std::memcpy(value, &met, sizeof(met));
        }
        return rc;
    }
    if (int pending = 0; stream_take_error(socket, pending)) {
        std::memcpy(value, &pending, sizeof(pending));
    }
    return rc;
}

}  // namespace smcd::preload::calls
