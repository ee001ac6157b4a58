// Opening, closing and tuning sockets. Floor 4.
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string_view>

#include "smcd/base/clock.hpp"
#include "smcd/base/raw_syscall.hpp"
#include "smcd/library/handles.hpp"
#include "smcd/runtime/handshake.hpp"
#include "smcd/runtime/opening.hpp"

namespace smcd::library {

smcd_sock* adopt(smcd_ctx& ctx, Socket& inner, int fd) noexcept {
    try {
        auto made = std::make_unique<smcd_sock>(ctx, inner, fd);
        const std::lock_guard guard(ctx.mutex);
        ctx.socks.push_back(made.get());
        return made.release();
    } catch (const std::bad_alloc&) {
        ctx.process.release_socket(inner);
        raw::close(fd);
        errno = ENOMEM;
        return nullptr;
    }
}

namespace {

bool is_kind(const smcd_sock& sock, SocketKind kind) noexcept {
    return sock.socket->kind.load(std::memory_order_acquire) == kind;
}

int set_flag(smcd_sock& sock, bool on, std::string_view name) noexcept {
    if (name == "nonblocking") {
        const int flags = raw::fcntl(sock.fd, F_GETFL);
        const int wanted = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
        if (flags < 0 || raw::fcntl(sock.fd, F_SETFL, wanted) != 0) {
            return -1;
        }
        sock.socket->set_non_blocking(on);
        return 0;
    }
    const int value = on ? 1 : 0;
    return smcd_setsockopt(&sock, IPPROTO_TCP, TCP_NODELAY, &value, sizeof(value));
}

/// SO_ERROR of an accelerated connection: a reset that the ring knows of.
int take_pending(Socket& socket) noexcept {
    RxPath rx(socket.channel);
    static_cast<void>(rx.readable());
    ConnBlock& block = *socket.block;
    if ((block.rx.peer_flags.load(std::memory_order_relaxed) & kPeerConnAbort) != 0) {
        mark_reset(block, reset_error(block));
    }
    return take_so_error(block);
}

} // namespace
} // namespace smcd::library

using namespace smcd;          // NOLINT(google-build-using-namespace): a skin of C functions
using namespace smcd::library; // NOLINT(google-build-using-namespace)

smcd_sock* smcd_socket(smcd_ctx* ctx, int domain, int type_flags) {
    if (ctx == nullptr || (type_flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) != 0) {
        errno = EINVAL;
        return nullptr;
    }
    if (domain != AF_INET && domain != AF_INET6) {
        errno = EAFNOSUPPORT;
        return nullptr;
    }
    const int fd = raw::socket(domain, SOCK_STREAM | SOCK_CLOEXEC | type_flags, IPPROTO_TCP);
    if (fd < 0) {
        return nullptr;
    }
    Socket* socket = ctx->process.acquire_socket(fd, SocketKind::candidate);
    socket->non_blocking.store((type_flags & SOCK_NONBLOCK) != 0, std::memory_order_relaxed);
    return adopt(*ctx, *socket, fd);
}

int smcd_bind(smcd_sock* sock, const sockaddr* address, socklen_t length) {
    return raw::bind(sock->fd, address, length);
}

int smcd_listen(smcd_sock* sock, int backlog) {
    if (!is_kind(*sock, SocketKind::candidate)) {
        return raw::listen(sock->fd, backlog);
    }
    // The beacon first: the very first client finds it.
    auto beacon = sock->process().discovery().announce(sock->fd);
    UniqueFd lease = sock->process().discovery().announce_beyond(sock->fd);
    if (raw::listen(sock->fd, backlog) != 0) {
        return -1;
    }
    if (beacon) {
        sock->socket->beacon = *std::move(beacon);
        // listen() may have chosen the port.
        sock->socket->lease =
            lease.valid() ? std::move(lease) : sock->process().discovery().announce_beyond(sock->fd);
    }
    sock->socket->kind.store(SocketKind::listener, std::memory_order_release);
    sock->process().statistics().page().listeners.fetch_add(1, std::memory_order_relaxed);
    return 0;
}

smcd_sock* smcd_accept(smcd_sock* listener, sockaddr* address, socklen_t* length, int flags) {
    const int fd = raw::accept4(listener->fd, address, length, flags | SOCK_CLOEXEC);
    if (fd < 0) {
        return nullptr;
    }
    Process& process = listener->process();
    const Arrival arrival = look_at_arrival(process, fd);
    Socket* socket = process.acquire_socket(fd, SocketKind::connection);
    socket->non_blocking.store((flags & SOCK_NONBLOCK) != 0, std::memory_order_relaxed);
    const OpenedServer opened = opened_server(process, *socket, *listener->socket, arrival);
    if (opened.opening == ServerOpening::handshake) {
        handshake_start_server(process, *socket);
    } else if (opened.opening == ServerOpening::refused) {
        handshake_refuse_server(process, *socket, opened.reason);
    }
    return adopt(*listener->ctx, *socket, fd);
}

int smcd_connect(smcd_sock* sock, const sockaddr* address, socklen_t length) {
    Socket& socket = *sock->socket;
    if (!is_kind(*sock, SocketKind::candidate)) {
        if (is_kind(*sock, SocketKind::connection) && socket.phase() == Phase::connecting) {
            handshake_drive(sock->process(), socket);
        }
        return raw::connect(sock->fd, address, length);
    }
    const Reason reason = opening_client(sock->process(), socket, address, length);
    const ssize_t rc = raw::connect(sock->fd, address, length) == 0 ? 0 : refuse(errno);
    if (opened_client(sock->process(), socket, reason, rc)) {
        handshake_start_client(sock->process(), socket);
    }
    return static_cast<int>(finish(rc));
}

int smcd_shutdown(smcd_sock* sock, int how) {
    if (how != SHUT_RD) {
        static_cast<void>(flush_deferred(*sock, 0));
    }
    if (is_kind(*sock, SocketKind::connection) && Socket::is_ours(sock->socket->phase())) {
        return static_cast<int>(finish(stream_shutdown(sock->process(), *sock->socket, how)));
    }
    return raw::shutdown(sock->fd, how);
}

int smcd_close(smcd_sock* sock) {
    if (sock == nullptr) {
        return 0;
    }
    const bool connected = is_kind(*sock, SocketKind::connection);
    // Not waiting for a peer that does not read: what cannot go is reported.
    const ssize_t flushed = connected ? flush_deferred(*sock, MSG_DONTWAIT) : 0;
    {
        const std::lock_guard guard(sock->ctx->mutex);
        std::erase(sock->ctx->socks, sock);
    }
    close_event_fd(*sock);
    sock->process().release_socket(*sock->socket);
    const int rc = raw::close(sock->fd);
    const int error = errno;
    delete sock;
    errno = error;
    return flushed < 0 ? static_cast<int>(finish(flushed)) : rc;
}

int smcd_setsockopt(smcd_sock* sock, int level, int name, const void* value, socklen_t length) {
    const int rc = raw::setsockopt(sock->fd, level, name, value, length);
    if (rc == 0 && level == SOL_SOCKET) {
        note_socket_option(*sock->socket, name, value, length);
    }
    return rc;
}

int smcd_getsockopt(smcd_sock* sock, int level, int name, void* value, socklen_t* length) {
    const int rc = raw::getsockopt(sock->fd, level, name, value, length);
    const bool wants_error = level == SOL_SOCKET && name == SO_ERROR && rc == 0;
    if (wants_error && *length >= sizeof(int) && sock->socket->accelerated()) {
        if (const int pending = take_pending(*sock->socket); pending != 0) {
            std::memcpy(value, &pending, sizeof(pending));
        }
    }
    return rc;
}

int smcd_setopt_str(smcd_sock* sock, const char* name, const char* value) {
    const std::string_view option(name == nullptr ? "" : name);
    const std::string_view text(value == nullptr ? "" : value);
    if ((option == "nonblocking" || option == "nodelay") && (text == "0" || text == "1")) {
        return set_flag(*sock, text == "1", option);
    }
    if (option == "receive_buffer") {
        const std::uint64_t bytes = value == nullptr ? 0 : parse_size(value);
        if (bytes != 0 && bytes <= INT32_MAX) {
            const int wish = static_cast<int>(bytes);
            return smcd_setsockopt(sock, SOL_SOCKET, SO_RCVBUF, &wish, sizeof(wish));
        }
    }
    if (option == "profile") {
        if (const Profile* profile = find_profile(text); profile != nullptr) {
            sock->process().set_profile(*sock->socket, *profile);
            return 0;
        }
    }
    if (option == "congestion" && !text.empty()) {
        return raw::setsockopt(
            sock->fd, IPPROTO_TCP, TCP_CONGESTION, value, static_cast<socklen_t>(text.size()));
    }
    errno = EINVAL;
    return -1;
}

int smcd_fd(const smcd_sock* sock) {
    return sock->fd;
}
