#include "smcd/runtime/own_peer.hpp"

#include <sched.h>

#include <mutex>

#include "smcd/base/clock.hpp"
#include "smcd/base/raw_syscall.hpp"
#include "smcd/runtime/handshake.hpp"
#include "smcd/runtime/handshake_state.hpp"
#include "smcd/runtime/process.hpp"
#include "smcd/runtime/sock_diag.hpp"

namespace smcd {
namespace {

/// The progress thread holds the lock for one step of a handshake, on a busy machine for some of its time slices more; a call
/// that a signal has interrupted holds it for good.
constexpr std::uint64_t kLockNs = 200 * kNsPerMs;

bool awaits_own_client(const Socket& socket) noexcept {
    return socket.kind.load(std::memory_order_acquire) == SocketKind::connection && socket.phase() == Phase::handshake &&
           socket.handshake != nullptr && socket.handshake->own_client.load(std::memory_order_acquire);
}

bool is_undecided_client(const Socket& socket) noexcept {
    if (socket.kind.load(std::memory_order_acquire) != SocketKind::connection) {
        return false;
    }
    const Phase phase = socket.phase();
    return (phase == Phase::handshake || phase == Phase::connecting) && socket.live_block().role == Role::client;
}

Socket* client_of(Process& process, const Socket& server) {
    const TcpAddress own = TcpAddress::of(server.fd, raw::getsockname);
    const TcpAddress peer = TcpAddress::of(server.fd, raw::getpeername);
    Socket* found = nullptr;
    process.try_each_socket([&](Socket& socket) {
        if (is_undecided_client(socket) && TcpAddress::of(socket.fd, raw::getsockname) == peer &&
            TcpAddress::of(socket.fd, raw::getpeername) == own) {
            found = &socket;
        }
    });
    return found;
}

bool try_lock(std::unique_lock<std::mutex>& lock) noexcept {
    const std::uint64_t end = monotonic_ns() + kLockNs;
    while (!lock.try_lock()) {
        if (monotonic_ns() >= end) {
            return false;
        }
        ::sched_yield();
    }
    return true;
}

}  // namespace

void meet_own_peer(Process& process, Socket& socket) {
    if (!awaits_own_client(socket)) {
        return;
    }
    if (Socket* const client = client_of(process, socket); client != nullptr) {
        handshake_drive(process, *client);  // Accept to Confirm
        process.wake_local(*client);
    }
    handshake_drive(process, socket);  // the Confirm, of the progress thread's making where we found no client
}

void handshake_advance(Process& process, Socket& socket) {
    handshake_drive(process, socket);
    if (!awaits_own_client(socket)) [[likely]] {
        return;
    }
    std::unique_lock lifecycle(process.lifecycle_mutex(), std::defer_lock);
    if (try_lock(lifecycle)) {
        meet_own_peer(process, socket);
    }
}

}  // namespace smcd
