#include "smcd/runtime/opening.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "smcd/base/clock.hpp"
#include "smcd/base/raw_syscall.hpp"
#include "smcd/runtime/process.hpp"
#include "smcd/runtime/settle.hpp"

namespace smcd {
namespace {

/// The connection stays on TCP for a reason found before any handshake. Of many in one second most are only counted.
void stay_on_tcp(Process& process, Socket& socket, Role role, Reason reason, std::uint32_t stands_for) {
    socket.stands_for = stands_for;
    if (socket.stands_for != 0 && process.make_connection(socket, role, Phase::tcp)) {
        process.set_phase(socket, Phase::tcp, reason);
    } else {
        process.pass_by(socket, reason);
    }
}

bool stays_on_tcp(Marked marked) noexcept {
    return marked == Marked::no || marked == Marked::other_network;
}

Reason reason_of(Marked marked) noexcept {
    return marked == Marked::other_network ? Reason::other_network : Reason::peer_no_smc;
}

bool still_connecting(ssize_t rc) noexcept {
    return rc == -EINPROGRESS || rc == -EINTR;
}

int int_of(const void* value, socklen_t length) noexcept {
    int number = 0;
    if (value != nullptr && length >= sizeof(number)) {
        std::memcpy(&number, value, sizeof(number));
    }
    return number;
}

/// The mark is ours alone while the connection is: TCP carries single doorbell bytes and short
/// frames then.
void note_low_water(Socket& socket) noexcept {
    int mark = 1;
    socklen_t length = sizeof(mark);
    raw::getsockopt(socket.fd, SOL_SOCKET, SO_RCVLOWAT, &mark, &length); // as TCP has bounded it
    socket.low_water = static_cast<std::uint32_t>(std::max(mark, 1));
    if (socket.kind.load(std::memory_order_acquire) == SocketKind::connection &&
        Socket::is_ours(socket.phase())) {
        const int none = 1;
        raw::setsockopt(socket.fd, SOL_SOCKET, SO_RCVLOWAT, &none, sizeof(none));
    }
}

/// TCP hands these on, too; what is not known here is asked for at the first need.
void inherit_timeouts(Socket& socket, const Socket& listener) noexcept {
    if (listener.receive_timeout_known.load(std::memory_order_acquire)) {
        socket.receive_timeout_ns = listener.receive_timeout_ns;
        socket.receive_timeout_known.store(true, std::memory_order_release);
    }
    if (listener.send_timeout_known.load(std::memory_order_acquire)) {
        socket.send_timeout_ns = listener.send_timeout_ns;
        socket.send_timeout_known.store(true, std::memory_order_release);
    }
}

} // namespace

Reason opening_client(Process& process, Socket& socket, const sockaddr* address, socklen_t length) {
    socket.destination = TcpAddress::from(address, length);
    if (socket.stays_on_tcp || process.sandboxed()) {
        return Reason::unsupported_call;
    }
    const bool skip =
        process.config().learns && process.short_lived().skip(socket.destination, coarse_ns());
    Reason reason =
        skip ? Reason::short_lived_listener : process.discovery().probe(address, length, socket.beyond);
    if (reason == Reason::none && !process.ready_for_smc()) {
        reason = Reason::no_resources;
    }
    if (reason == Reason::none) {
        socket.mark = process.discovery().mark(socket.fd, MarkKind::proposal);
        reason = socket.mark.set ? Reason::none : Reason::discovery_unavailable;
    } else if (reason == Reason::other_network) {
        // So that the server, too, can say why; the SYN has left when connect() returns.
        socket.mark = process.discovery().mark(socket.fd, MarkKind::other_network);
    }
    return reason;
}

bool opened_client(Process& process, Socket& socket, Reason reason, ssize_t rc) {
    const bool failed = rc != 0 && !still_connecting(rc);
    if (socket.mark.set && (failed || reason != Reason::none)) {
        process.discovery().unmark(socket.fd, socket.mark);
        socket.mark = {};
    }
    if (failed) {
        return false;
    }
    if (reason != Reason::none) {
        stay_on_tcp(process, socket, Role::client, reason, process.tcp_weight());
        return false;
    }
    if (!process.make_connection(socket, Role::client, Phase::connecting)) {
        process.discovery().unmark(socket.fd, socket.mark);
        return false;
    }
    return true;
}

Arrival look_at_arrival(Process& process, int accepted_fd) {
    Arrival arrival{process.discovery().is_marked(accepted_fd), 1};
    if (stays_on_tcp(arrival.marked)) {
        arrival.stands_for = process.tcp_weight();
        if (arrival.stands_for == 0) {
            process.statistics().count_tcp(reason_of(arrival.marked));
        }
    }
    return arrival;
}

OpenedServer opened_server(Process& process, Socket& socket, const Socket& listener, Arrival arrival) {
    socket.receive_buffer_wish = listener.receive_buffer_wish;
    socket.low_water = listener.low_water;
    socket.tells_inq_begun = listener.tells_inq();
    inherit_timeouts(socket, listener);
    if (const Profile* own = listener.profile.load(std::memory_order_acquire); own != nullptr) {
        process.set_profile(socket, *own);
    }
    const Marked marked = arrival.marked;
    if (stays_on_tcp(marked)) {
        socket.stands_for = arrival.stands_for;
        if (arrival.stands_for != 0) {
            stay_on_tcp(process, socket, Role::server, reason_of(marked), arrival.stands_for);
        }
        return {};
    }
    if (!process.make_connection(socket, Role::server, Phase::handshake)) {
        if (marked == Marked::yes) {
            dissolve_tcp(socket.fd); // nothing is left to keep its Proposal from the application with
        }
        return {};
    }
    if (marked == Marked::unknown) {
        return {ServerOpening::refused, Reason::client_not_marked};
    }
    if (process.sandboxed() || listener.stays_on_tcp) {
        return {ServerOpening::refused, process.sandboxed() ? Reason::unsupported_call : Reason::unsupported_option};
    }
    static_cast<void>(process.ready_for_smc()); // asked again by the handshake, which declines without
    return {ServerOpening::handshake, Reason::none};
}

void note_socket_option(Socket& socket, int name, const void* value, socklen_t length) noexcept {
    switch (name) {
    case SO_RCVTIMEO:
    case SO_RCVTIMEO_NEW:
        socket.receive_timeout_known.store(false, std::memory_order_release);
        break;
    case SO_SNDTIMEO:
    case SO_SNDTIMEO_NEW:
        socket.send_timeout_known.store(false, std::memory_order_release);
        break;
    case SO_RCVBUF:
        socket.receive_buffer_wish = static_cast<std::uint32_t>(std::max(int_of(value, length), 0));
        break;
    case SO_RCVLOWAT:
        note_low_water(socket);
        break;
    case SO_LINGER:
        if (value != nullptr && length >= sizeof(linger)) {
            linger setting{};
            std::memcpy(&setting, value, sizeof(setting));
            socket.linger_reset = setting.l_onoff != 0 && setting.l_linger == 0;
        }
        break;
    default:
        break;
    }
}

} // namespace smcd
