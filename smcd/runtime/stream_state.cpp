// What an application sees of a connection's state, and how it ends its directions. Floor 3.
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>

#include "smcd/base/raw_syscall.hpp"
#include "smcd/core/direction_lock.hpp"
#include "smcd/runtime/device_loss.hpp"
#include "smcd/runtime/handshake.hpp"
#include "smcd/runtime/own_peer.hpp"
#include "smcd/runtime/pending.hpp"
#include "smcd/runtime/process.hpp"
#include "smcd/runtime/sleep_guard.hpp"
#include "smcd/runtime/sock_diag.hpp"
#include "smcd/runtime/stream.hpp"

namespace smcd {

bool stream_connected(Channel& channel) noexcept {
    static_cast<void>(RxPath(channel).readable());  // takes in the peer's flags
    const ConnBlock& block = *channel.block;
    const std::uint32_t flags = block.flags.load(std::memory_order_acquire);
    const std::uint32_t peer = block.rx.peer_flags.load(std::memory_order_relaxed);
    const bool both_ended =
        (flags & kFlagShutWrite) != 0 && (peer & (kPeerDoneWriting | kPeerConnClosed)) != 0;
    return (flags & kFlagReset) == 0 && (peer & kPeerConnAbort) == 0 && !both_ended;
}

void stream_tell_ends(Socket& socket) noexcept {
    constexpr std::uint32_t kBoth = kFlagShutWrite | kFlagShutRead;
    const std::uint32_t flags = socket.live_block().flags.load(std::memory_order_acquire);
    if ((flags & kFlagShutWrite) != 0) {
        const bool both = (flags & kBoth) == kBoth;
        const std::uint32_t unread = RxPath(socket.channel).readable();
        TxPath(socket.channel).send_state(both ? kPeerDoneWriting | kPeerConnClosed : kPeerDoneWriting);
        if (both && RxPath(socket.channel).readable() != unread) {
            mark_reset(socket.live_block(), ECONNRESET);  // sync: goodbye. They came while we said it
            TxPath(socket.channel).send_state(kPeerConnAbort);
        }
    }
}

namespace {

/// What TCP's own shutdown() would find; on a connection that is being set up it finds one.
bool is_connected(Socket& socket) noexcept {
    const Phase phase = socket.phase();
    if (phase == Phase::smc) {
        return stream_connected(socket.channel);
    }
    return phase == Phase::connecting || TcpAddress::of(socket.fd, raw::getpeername).family != AF_UNSPEC;
}

int shut_down(Process& process, Socket& socket, int how) {
    ConnBlock& block = socket.live_block();
    if (how != SHUT_RD) {
        leave_if_lost(process, socket);
    }
    handshake_advance(process, socket);
    const bool connected = is_connected(socket);
    const bool write = how == SHUT_WR || how == SHUT_RDWR;
    const bool read = how == SHUT_RD || how == SHUT_RDWR;
    if (read) {
        block.flags.fetch_or(kFlagShutRead, std::memory_order_acq_rel);
    }
    if (write) {
        block.flags.fetch_or(kFlagShutWrite, std::memory_order_acq_rel);
        if (socket.phase() != Phase::smc) {
            // The pre-buffer must leave before the FIN; the handshake's end shuts down whichever path was chosen.
            handshake_drive(process, socket);
        }
    }
    const bool reset = (block.flags.load(std::memory_order_acquire) & kFlagReset) != 0 ||
                       (block.rx.peer_flags.load(std::memory_order_relaxed) & kPeerConnAbort) != 0;
    if (socket.phase() == Phase::smc && !reset) {
        stream_tell_ends(socket);
    }
    socket.shutdowns.fetch_add(1, std::memory_order_release);  // an edge, as on TCP, even if no bit changes
    process.wake_local(socket);
    const std::uint32_t flags = block.flags.load(std::memory_order_acquire);
    const bool nothing_left =
        (flags & kFlagShutWrite) != 0 &&
        ((flags & kFlagShutRead) != 0 ||
         (block.rx.peer_flags.load(std::memory_order_relaxed) & kPeerConnClosed) != 0);
    if (nothing_left && socket.phase() == Phase::smc) {
        raw::shutdown(socket.fd, SHUT_RDWR);  // as it looks to getpeername() and TCP_INFO
    }
    if (!Socket::is_ours(socket.phase())) {
        raw::shutdown(socket.fd, how);  // it became plain TCP meanwhile, perhaps before it could see our flag
    }
    return connected ? 0 : -ENOTCONN;
}

}  // namespace

int stream_shutdown(Process& process, Socket& socket, int how) {
    // The last words go through memory that another thread's close() or dup2() would unmap.
    if (!hold_open(socket)) {
        return -ENOTCONN;
    }
    const int result = shut_down(process, socket, how);
    let_go(process, socket);
    return result;
}

bool stream_take_error(Socket& socket, int& error) noexcept {
    static_cast<void>(RxPath(socket.channel).readable());  // takes in the peer's flags
    ConnBlock& block = socket.live_block();
    if ((block.rx.peer_flags.load(std::memory_order_relaxed) & kPeerConnAbort) != 0) {
        mark_reset(block, reset_error(block));
    }
    // Once a reset is ours to report, what TCP itself remembers of it is old news.
    if ((block.flags.load(std::memory_order_acquire) & kFlagReset) == 0) {
        return false;
    }
    error = take_so_error(block);
    return true;
}

void stream_keep_error(Socket& socket, int error) noexcept {
    if ((socket.live_block().flags.load(std::memory_order_acquire) & kFlagReset) != 0) {
        socket.live_block().so_error.store(static_cast<std::uint32_t>(error), std::memory_order_relaxed);
    }
}

PollMask stream_poll(Socket& socket, PollMask wanted) noexcept {
    if (socket.phase() != Phase::smc) {
        return pending_poll(socket);
    }
    const ConnBlock& block = socket.live_block();
    RxPath rx(socket.channel);
    TxPath tx(socket.channel);
    PollMask mask = 0;
    const std::uint32_t unread = rx.readable();
    const bool writable = (wanted & (POLLOUT | POLLWRNORM)) != 0 && tx.writable();
    const std::uint32_t flags = block.flags.load(std::memory_order_acquire);
    const std::uint32_t peer = block.rx.peer_flags.load(std::memory_order_relaxed);
    const bool dead = (flags & kFlagReset) != 0 || (peer & kPeerConnAbort) != 0;
    const bool read_ended = rx.ended() || dead;
    const bool write_ended = (flags & kFlagShutWrite) != 0 || dead;
    if (unread >= socket.low_water || read_ended) {
        mask |= POLLIN | POLLRDNORM;
    }
    if (read_ended) {
        mask |= POLLRDHUP;
    }
    if (read_ended && write_ended) {
        mask |= POLLHUP;
    }
    if (writable || write_ended) {
        mask |= POLLOUT | POLLWRNORM;
    }
    if (dead && (block.so_error.load(std::memory_order_relaxed) != 0 ||
                 ((peer & kPeerConnAbort) != 0 && (flags & kFlagReset) == 0))) {
        mask |= POLLERR;
    }
    return mask;
}

bool stream_tells_of_data(Socket& socket) noexcept {
    if (socket.phase() != Phase::smc) {
        return false;
    }
    const std::uint32_t unread = RxPath(socket.channel).readable();
    const std::uint32_t peer = socket.live_block().rx.peer_flags.load(std::memory_order_relaxed);
    return (unread != 0 && unread >= socket.low_water) || (peer & (kPeerDoneWriting | kPeerConnClosed)) != 0;
}

void stream_arm(Process& process, Socket& socket, unsigned door, bool data, bool space) noexcept {
    const std::uint64_t bit = std::uint64_t{1} << door;
    // No locked instruction and no bounce for what is armed. sync: local-bell. A bit that is still set is seen by the next
    // wake_local(), or by the one that is about to clear it, and that one rings behind the caller's look.
    const auto set = [bit](std::atomic<std::uint64_t>& doors, std::memory_order order) {
        if ((doors.load(std::memory_order_relaxed) & bit) == 0) {
            doors.fetch_or(bit, order);
        }
    };
    set(socket.live_block().local.doors, std::memory_order_seq_cst);
    process.progress().ensure_watched(socket);
    dev::LinkedDevice* const device = socket.device;
    const DirectionGuard guard(socket.live_block().rx.lock);  // another thread may be closing it
    if (socket.phase() != Phase::smc || device == nullptr || socket.channel.own_bells == nullptr) {
        return;
    }
    // A failure leaves the last resort: a byte on the TCP connection.
    static_cast<void>(device->export_doorbell(socket.channel.remote, door));
    if (data) {
        set(socket.channel.own_bells->doors_in, std::memory_order_relaxed);
    }
    if (space) {
        set(socket.channel.own_bells->doors_out, std::memory_order_relaxed);
    }
}

std::uint32_t stream_unread(Process& process, Socket& socket) {
    if (socket.phase() != Phase::smc) {
        handshake_advance(process, socket);
    }
    if (socket.phase() == Phase::smc) {
        return RxPath(socket.channel).readable();
    }
    int waiting = 0;
    if (may_receive_from_tcp(socket)) {
        raw::ioctl(socket.fd, FIONREAD, &waiting);
    }
    return static_cast<std::uint32_t>(waiting);
}

int stream_inq(Process& process, Socket& socket) {
    const auto unread = static_cast<int>(stream_unread(process, socket));
    if (socket.phase() != Phase::smc) {
        return unread;
    }
    const unsigned peer = socket.live_block().rx.peer_flags.load(std::memory_order_relaxed);
    return unread + ((peer & (kPeerDoneWriting | kPeerConnClosed)) != 0 ? 1 : 0);
}

std::uint32_t stream_outstanding(Process& /*process*/, Socket& socket) {
    if (socket.phase() == Phase::smc) {
        return 0;  // what was sent is in the peer's memory: acknowledged, in TCP's terms
    }
    const ConnBlock& block = socket.live_block();
    return block.pre_end.load(std::memory_order_relaxed) -
           block.pre_begin.load(std::memory_order_relaxed);
}

}  // namespace smcd
