// socket(), listen(), accept(), connect(). Floor 4.
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <cerrno>
#include <mutex>
#include <utility>

#include "preload/calls/calls.hpp"
#include "preload/leaving.hpp"
#include "smcd/base/raw_syscall.hpp"
#include "smcd/runtime/handshake.hpp"
#include "smcd/runtime/opening.hpp"

namespace smcd::preload::calls {
namespace {

bool is_tcp_stream(int domain, int type, int protocol) noexcept {
    constexpr int kTypeMask = 0xF;
    return (domain == AF_INET || domain == AF_INET6) && (type & kTypeMask) == SOCK_STREAM &&
           (protocol == 0 || protocol == IPPROTO_TCP);
}

bool is_tcp_stream(int fd) noexcept {
    const auto option = [fd](int name) noexcept {
        int value = -1;
        socklen_t length = sizeof(value);
        return raw::getsockopt(fd, SOL_SOCKET, name, &value, &length) == 0 ? value : -1;
    };
    return is_tcp_stream(option(SO_DOMAIN), option(SO_TYPE), option(SO_PROTOCOL));
}

/// A listener that came to us by inheritance (activation, exec): found at its first accept().
Socket* adopt_listener(Shim& shim, int fd) {
    int value = 0;
    socklen_t length = sizeof(value);
    if (raw::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &length) != 0 || value == 0) {
        return nullptr;
    }
    if (!is_tcp_stream(fd)) {
        return nullptr;
    }
    Socket* socket = shim.process.acquire_socket(fd, SocketKind::listener);
    shim.adopt(fd, socket, false);
    if (auto beacon = shim.process.discovery().announce(fd); beacon) {
        socket->beacon = *std::move(beacon);
        UniqueFd lease = shim.process.discovery().announce_beyond(fd);
        const std::lock_guard guard(shim.process.lifecycle_mutex()); // the progress thread may announce it, too
        socket->lease = std::move(lease);
    }
    return socket;
}

/// The number is new: whatever we know of it was closed behind our back. false: a vfork child's number is nobody's there, but may
/// be its parent's.
bool purged(Shim& shim, int fd) {
    if (!shim.table.known(fd)) {
        return true;
    }
    if (shim.in_vfork_child()) {
        return false;
    }
    shim.forget(fd);
    return true;
}

}  // namespace

Socket* follow_passed_by(Shim& shim, int fd) {
    if (!is_tcp_stream(fd) || shim.in_vfork_child()) {
        return nullptr;
    }
    const std::lock_guard guard(shim.process.lifecycle_mutex());
    if (shim.table.known(fd)) { // another thread was faster
        return shim.table.socket(fd);
    }
    shim.adopt(fd, shim.process.acquire_socket(fd, SocketKind::connection), false);
    return shim.table.socket(fd);
}

void on_socket(Shim& shim, int fd, int domain, int type, int protocol) {
    if (!purged(shim, fd) || !is_tcp_stream(domain, type, protocol)) {
        return;
    }
    Socket* socket = shim.process.acquire_socket(fd, SocketKind::candidate);
    socket->non_blocking.store((type & SOCK_NONBLOCK) != 0, std::memory_order_relaxed);
    socket->stays_on_tcp = is_standard_stream(fd);
    shim.adopt(fd, socket, false);
}

ssize_t listen(Shim& shim, Socket& socket, int fd, int backlog) {
    if (socket.kind.load(std::memory_order_acquire) != SocketKind::candidate) {
        return value_of(shim.real.listen(fd, backlog));
    }
    // The beacon first: the very first client finds it.
    auto beacon = shim.process.discovery().announce(fd);
    UniqueFd lease = shim.process.discovery().announce_beyond(fd);
    const ssize_t rc = value_of(shim.real.listen(fd, backlog));
    if (rc != 0) {
        return rc;
    }
    if (beacon) {
        socket.beacon = *std::move(beacon);
        // listen() may have chosen the port.
        socket.lease = lease.valid() ? std::move(lease) : shim.process.discovery().announce_beyond(fd);
    }
    socket.kind.store(SocketKind::listener, std::memory_order_release);
    shim.process.statistics().page().listeners.fetch_add(1, std::memory_order_relaxed);
    return rc;
}

void stop_announcing(Shim& shim, int fd) {
    Socket* const socket = shim.table.socket(fd);
    if (socket == nullptr || socket->kind.load(std::memory_order_acquire) != SocketKind::listener) {
        return;
    }
    const std::lock_guard guard(shim.process.lifecycle_mutex()); // the progress thread may announce it, too
    socket->stays_on_tcp = true;
    socket->beacon.reset();
    if (socket->lease.valid()) {
        socket->lease.reset();
        shim.process.discovery().withdraw();
    }
}

void on_accepted(Shim& shim, int listen_fd, int fd, bool non_blocking) {
    if (!purged(shim, fd)) {
        return;
    }
    Socket* listener = shim.table.socket(listen_fd);
    if (listener == nullptr) {
        listener = shim.in_vfork_child() ? nullptr : adopt_listener(shim, listen_fd);
        if (listener == nullptr) {
            return;  // not TCP
        }
    }
    const Arrival arrival = look_at_arrival(shim.process, fd);
    if (arrival.stands_for == 0 || shim.in_vfork_child()) {
        return;
    }
    Socket* socket = shim.process.acquire_socket(fd, SocketKind::connection);
    socket->non_blocking.store(non_blocking, std::memory_order_relaxed);
    shim.adopt(fd, socket, false);
    if (shim.table.socket(fd) != socket) {
        return;  // the number is beyond the table
    }
    const OpenedServer opened = opened_server(shim.process, *socket, *listener, arrival);
    if (opened.opening == ServerOpening::on_tcp) {
        return;
    }
    shim.table.put_socket(fd, socket, true);
    if (opened.opening == ServerOpening::handshake) {
        handshake_start_server(shim.process, *socket);
        if (is_standard_stream(fd)) {
            leave(shim, fd, Reason::unsupported_call);
        }
    } else {
        handshake_refuse_server(shim.process, *socket, opened.reason);
    }
}

ssize_t connect(Shim& shim, Socket& socket, int fd, const sockaddr* address, socklen_t length) {
    if (socket.kind.load(std::memory_order_acquire) == SocketKind::connection &&
        socket.phase() == Phase::connecting) {
        handshake_drive(shim.process, socket);
        return value_of(shim.real.connect(fd, address, length));
    }
    if (socket.kind.load(std::memory_order_acquire) != SocketKind::candidate) {
        const bool disconnects =
            address != nullptr && length >= sizeof(address->sa_family) && address->sa_family == AF_UNSPEC;
        const bool left = !disconnects || leave(shim, fd, Reason::unsupported_call);
        const ssize_t rc = value_of(shim.real.connect(fd, address, length));
        if (!left && rc == 0 && socket.accelerated()) {
            TxPath(socket.channel).send_state(kPeerConnAbort);
            shim.process.set_phase(socket, Phase::tcp, Reason::unsupported_call);
        }
        return rc;
    }
    const Reason reason = opening_client(shim.process, socket, address, length);
    const ssize_t rc = value_of(shim.real.connect(fd, address, length));
    if (!opened_client(shim.process, socket, reason, rc)) {
        return rc;
    }
    shim.table.put_socket(fd, &socket, true);
    handshake_start_client(shim.process, socket);
    return rc;
}

}  // namespace smcd::preload::calls
