#include "smcd/runtime/handshake.hpp"

#include <sys/socket.h>

#include <cerrno>

#include "smcd/base/clock.hpp"
#include "smcd/base/raw_syscall.hpp"
#include "smcd/core/direction_lock.hpp"
#include "smcd/runtime/clc_inbound.hpp"
#include "smcd/runtime/handshake_roles.hpp"
#include "smcd/runtime/handshake_state.hpp"
#include "smcd/runtime/inheritance.hpp"
#include "smcd/runtime/process.hpp"
#include "smcd/runtime/return_tcp.hpp"
#include "smcd/runtime/settle.hpp"

namespace smcd {
namespace {

/// A connection that never began a handshake: straight to TCP.
void leave_to_tcp(Process& process, Socket& socket, Reason reason) {
    process.set_phase(socket, Phase::tcp, reason);
}

bool is_established(int fd) noexcept {
    sockaddr_storage address{};
    socklen_t length = sizeof(address);
    return raw::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &length) == 0;
}

bool connect_failed(int fd) noexcept {
    pollfd state{fd, POLLOUT, 0};
    return raw::poll(&state, 1, 0) > 0;
}

/// Phase::connecting: the TCP handshake may be over by now.
void drive_connecting(Process& process, Socket& socket) {
    if (!is_established(socket.fd)) {
        if (connect_failed(socket.fd)) {
            process.discovery().unmark(socket.fd, socket.mark);
            leave_to_tcp(process, socket, Reason::peer_gone);
        }
        return;
    }
    process.discovery().unmark(socket.fd, socket.mark);
    if (const Reason reason = process.discovery().confirm(socket.fd, socket.beyond); reason != Reason::none) {
        leave_to_tcp(process, socket, reason);
        return;
    }
    if (const Reason reason = client_propose(process, socket); reason != Reason::none) {
        leave_to_tcp(process, socket, reason);
        return;
    }
    process.set_phase(socket, Phase::handshake, Reason::none);
}

/// No Proposal was sent, and none will be: the server finds application data, or hears nothing.
void give_up_connecting(Process& process, Socket& socket, Reason reason) {
    const DirectionGuard guard(socket.live_block().handshake_lock);
    if (!guard.nested() && socket.phase() == Phase::connecting) {
        process.discovery().unmark(socket.fd, socket.mark);
        leave_to_tcp(process, socket, reason);
    }
}

/// A server's handshake begins with the first call on the socket (inheritance.hpp). false: it cannot begin, or must not
/// as long as relatives have it open. Under the handshake lock.
bool touch(Process& process, Socket& socket) {
    HandshakeState& state = *socket.handshake;
    if (socket.live_block().role == Role::client || state.touched) {
        return true;
    }
    if (is_left_to_relatives(process, socket)) {
        return false;
    }
    socket.inherited.store(false, std::memory_order_release);
    state.touched = true;
    if (!process.progress().watch(socket) || !process.ready_for_smc()) {
        state.refusal = Reason::no_resources;
    }
    return true;
}

/// Phase::handshake: feeds what has arrived to the machine until it wants more.
void drive_handshake(Process& process, Socket& socket) {
    InboundView view;
    while (socket.phase() == Phase::handshake) {
        peek_inbound(socket, view);
        if (view.count == 0 && !view.ended) {
            return;
        }
        const bool advanced = socket.live_block().role == Role::client
                                  ? client_step(process, socket, view)
                                  : server_step(process, socket, view);
        if (!advanced) {
            return;
        }
    }
}

/// A server's connection that no call touches for so long is served by the progress thread, if that runs already.
constexpr std::uint64_t kUntouchedLimitNs = 5 * kNsPerMs;

void drive_until_decided(Process& process, Socket& socket, std::uint64_t limit_ns) {
    const std::uint64_t end = monotonic_ns() + limit_ns;
    const auto undecided = [&socket] {
        const Phase phase = socket.phase();
        return phase == Phase::handshake || phase == Phase::connecting;
    };
    while (undecided() && monotonic_ns() < end) {
        pollfd wait{socket.fd, static_cast<short>(socket.phase() == Phase::handshake ? POLLIN : POLLOUT), 0};
        raw::poll(&wait, 1, 1);
        handshake_drive(process, socket);
    }
}

}  // namespace

HandshakePointer::~HandshakePointer() {
    delete memory_;
}

void HandshakePointer::begin() {
    if (memory_ == nullptr) {
        memory_ = new HandshakeState();
    } else {
        std::destroy_at(memory_);
        std::construct_at(memory_);
    }
    current_.store(memory_, std::memory_order_release);
}

void handshake_start_client(Process& process, Socket& socket) {
    socket.handshake.begin();
    socket.handshake->machine.emplace<clc::ClientHandshake>();
    // The phase first: from watch() on the progress thread may be driving too.
    process.set_phase(socket, Phase::connecting, Reason::none);
    if (!process.progress().watch(socket)) {
        process.discovery().unmark(socket.fd, socket.mark);
        leave_to_tcp(process, socket, Reason::no_resources);
        return;
    }
    handshake_drive(process, socket);
}

void handshake_start_server(Process& process, Socket& socket) {
    socket.handshake.begin();
    socket.handshake->machine.emplace<clc::ServerHandshake>();
    process.progress().arm_deadline(socket, monotonic_ns() + kUntouchedLimitNs);
}

void handshake_refuse_server(Process& process, Socket& socket, Reason reason) {
    socket.handshake.begin();
    socket.handshake->expects_proposal = true;
    settle_begin(process, socket, reason, true);
}

void handshake_drive(Process& process, Socket& socket) {
    const Phase phase = socket.phase();
    if (phase == Phase::tcp) {
        process.follow_relative(socket);
        return;
    }
    if (!Socket::is_ours(phase) || phase == Phase::smc ||
        (socket.handshake == nullptr && phase != Phase::returning)) {
        return;
    }
    const int saved = errno;
    const DirectionGuard guard(socket.live_block().handshake_lock);
    if (guard.nested()) {
        return;  // we interrupted ourselves; the interrupted drive goes on
    }
    if (socket.phase() == Phase::connecting) {
        drive_connecting(process, socket);
    }
    if (socket.phase() == Phase::handshake && touch(process, socket)) {
        drive_handshake(process, socket);
    }
    if (socket.phase() == Phase::settling) {
        settle_step(process, socket);
    }
    if (socket.phase() == Phase::returning) {
        return_step(process, socket);
    }
    errno = saved;
}

void handshake_touch(Process& process, Socket& socket) {
    if (is_untouched(socket)) {
        handshake_drive(process, socket);
    }
}

bool handshake_give_up(Process& process, Socket& socket, Reason reason) {
    const DirectionGuard guard(socket.live_block().handshake_lock);
    if (guard.nested() || socket.phase() != Phase::handshake) {
        return socket.phase() != Phase::handshake;
    }
    return socket.live_block().role == Role::client ? client_give_up(process, socket, reason)
                                              : server_give_up(process, socket, reason);
}

void handshake_on_deadline(Process& process, Socket& socket, std::uint64_t now_ns) {
    if (is_untouched(socket) && process.arena().is_shared(socket.live_block())) {
        return;  // whoever uses it first has it
    }
    handshake_drive(process, socket);
    const HandshakeState* state = socket.handshake.get();
    const std::uint64_t give_up_ns = state == nullptr ? 0 : state->give_up_ns.load(std::memory_order_relaxed);
    if (socket.phase() == Phase::handshake && give_up_ns != 0 && now_ns >= give_up_ns) {
        handshake_give_up(process, socket, Reason::timed_out);
    }
}

void handshake_resolve(Process& process, Socket& socket, Reason reason, std::uint64_t limit_ns) {
    handshake_drive(process, socket);
    drive_until_decided(process, socket, limit_ns);
    if (socket.phase() == Phase::handshake) {
        handshake_give_up(process, socket, reason);
    } else if (socket.phase() == Phase::connecting) {
        give_up_connecting(process, socket, reason);
    }
}

bool handshake_has_bytes(const Socket& socket) noexcept {
    return socket.phase() == Phase::returning || !pre_buffer_empty(socket);
}

void handshake_finish(Process& process, Socket& socket, std::uint64_t limit_ns) {
    if (is_untouched(socket)) {
        handshake_give_up(process, socket, Reason::closed_early);
    }
    handshake_drive(process, socket);
    const std::uint64_t end = monotonic_ns() + limit_ns;
    if (socket.phase() == Phase::handshake && handshake_give_up(process, socket, Reason::closed_early)) {
        handshake_drive(process, socket);
    }
    // A server that has sent Accept: only the client can end the handshake, and it does so without its application.
    while (handshake_has_bytes(socket) && monotonic_ns() < end) {
        const bool inbound = socket.phase() == Phase::handshake;
        pollfd wait{socket.fd, static_cast<short>(inbound ? POLLIN : POLLOUT), 0};
        raw::poll(&wait, 1, 10);
        handshake_drive(process, socket);
        if (socket.phase() == Phase::smc || socket.phase() == Phase::tcp) {
            return;
        }
    }
}

void handshake_close(Process& process, Socket& socket, std::uint64_t limit_ns) {
    handshake_finish(process, socket, limit_ns);
    const DirectionGuard guard(socket.live_block().handshake_lock);
    settle_before_close(process, socket);
}

}  // namespace smcd
