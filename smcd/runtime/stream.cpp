#include "smcd/runtime/stream.hpp"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "smcd/base/clock.hpp"
#include "smcd/base/raw_syscall.hpp"
#include "smcd/runtime/call_in_flight.hpp"
#include "smcd/runtime/handshake.hpp"
#include "smcd/runtime/held_up.hpp"
#include "smcd/runtime/inheritance.hpp"
#include "smcd/runtime/own_peer.hpp"
#include "smcd/runtime/pending.hpp"
#include "smcd/runtime/process.hpp"
#include "smcd/runtime/settle.hpp"

namespace smcd {
namespace {

/// The parts of a receive's buffers behind the first `done` bytes; at most kPartsMax of them at a time.
class RestOf {
public:
    RestOf(std::span<const iovec> buffers, std::size_t done) noexcept {
        for (const iovec& buffer : buffers) {
            if (done >= buffer.iov_len) {
                done -= buffer.iov_len;
                continue;
            }
            if (count_ == parts_.size()) {
                break;
            }
            parts_[count_++] = {static_cast<char*>(buffer.iov_base) + done, buffer.iov_len - done};
            done = 0;
        }
    }
    [[nodiscard]] std::span<const iovec> span() const noexcept { return {parts_.data(), count_}; }

private:
    static constexpr std::size_t kPartsMax = 16;
    std::array<iovec, kPartsMax> parts_;
    std::size_t count_ = 0;
};

ssize_t wait_error(WaitStatus status) noexcept {
    return fail(status == WaitStatus::timed_out ? EAGAIN : EINTR);
}

/// A call that has moved bytes already must end at a signal, even with SA_RESTART: a wait with a timeout does.
constexpr std::uint64_t kFarNs = 3'600 * kNsPerSecond;

std::uint64_t deadline_of(CallInFlight& call, bool has_progress) noexcept {
    const std::uint64_t deadline = call.deadline_ns();
    return deadline == kForever && has_progress ? monotonic_ns() + kFarNs : deadline;
}

/// A receive of zero bytes waits for data as any other, as on TCP, and takes none.
ssize_t receive_nothing(Process& process, Socket& socket, CallInFlight& call) {
    RxPath rx(socket.channel);
    for (;;) {
        if ((socket.live_block().flags.load(std::memory_order_acquire) & kFlagFrozen) != 0) {
            return kMoved;
        }
        if (rx.readable() > 0) {
            return 0;
        }
        if (const IoResult nothing = rx.nothing_there(); nothing.status != IoStatus::would_block) {
            return -nothing.error;
        }
        if (call.non_blocking()) {
            return fail(EAGAIN);
        }
        if (!call.hold(process)) {
            return kUseTcp;
        }
        process.progress().ensure_watched(socket);
        const WaitStatus status =
            wait_for_data(socket.channel, socket.spin_data, socket.low_water, call.deadline_ns());
        if (status != WaitStatus::ready) {
            return wait_error(status);
        }
    }
}

/// A call that has moved bytes reports them; the error is the next one's.
ssize_t keep_error(Socket& socket, int error, std::size_t done) noexcept {
    stream_keep_error(socket, error);
    return static_cast<ssize_t>(done);
}

ssize_t receive_smc(Process& process, Socket& socket, std::span<const iovec> buffers, int flags, std::size_t& done,
                    CallInFlight& call) {
    RxPath rx(socket.channel);
    const std::size_t wanted = total_bytes(buffers);
    const ReceiveMode mode{(flags & MSG_PEEK) != 0, (flags & MSG_TRUNC) != 0};
    const std::size_t target = (flags & MSG_WAITALL) != 0
                                   ? wanted
                                   : std::min<std::size_t>(wanted, socket.low_water);
    if (wanted == 0) {
        return receive_nothing(process, socket, call);
    }
    for (;;) {
        const bool from_start = done == 0 || mode.peek;
        const IoResult step =
            rx.receive(from_start ? buffers : RestOf(buffers, done).span(), mode);
        if (step.status == IoStatus::error) {
            return done > 0 ? keep_error(socket, step.error, done) : fail(step.error);
        }
        if (step.status == IoStatus::moved) {
            done = mode.peek ? 0 : done;
            return kMoved;
        }
        done = mode.peek ? step.bytes : done + step.bytes;
        if (done >= target || step.status == IoStatus::end_of_stream ||
            (done > 0 && call.non_blocking())) {
            return static_cast<ssize_t>(done);
        }
        if (call.non_blocking()) {
            return fail(EAGAIN);
        }
        if (!call.hold(process)) {
            return done > 0 ? static_cast<ssize_t>(done) : kUseTcp; // the number is another file's, or closed
        }
        process.progress().ensure_watched(socket);
        // Whoever sleeps is woken at the low-water mark, even if it wants less, as on TCP.
        const std::size_t more = std::max<std::size_t>(mode.peek ? target : target - done, socket.low_water);
        const auto at_least = static_cast<std::uint32_t>(
            std::clamp<std::size_t>(more, 1, socket.channel.own.ring_bytes / 2));
        const std::uint64_t deadline = deadline_of(call, done > 0 || rx.readable() > 0);
        const WaitStatus status = wait_for_data(socket.channel, socket.spin_data, at_least, deadline, &socket.number_gone);
        if (status != WaitStatus::ready) {
            const IoResult rest = done > 0 ? IoResult{} : rx.receive(buffers, mode);
            done += rest.bytes;
            return done > 0 ? static_cast<ssize_t>(done) : wait_error(status);
        }
        if (mode.peek && rx.readable() < target && rx.ended()) {
            const IoResult last = rx.receive(buffers, mode);
            return last.status == IoStatus::error ? fail(last.error)
                                                  : static_cast<ssize_t>(last.bytes);
        }
    }
}

/// After a reset TCP's state is CLOSE, as getpeername() and TCP_INFO tell: the idle connection follows.
void drop_if_reset(const Socket& socket) noexcept {
    if ((socket.live_block().flags.load(std::memory_order_relaxed) & kFlagReset) != 0) [[unlikely]] {
        raw::shutdown(socket.fd, SHUT_RDWR);
    }
}

ssize_t send_smc(Process& process,
                 Socket& socket,
                 std::span<const iovec> buffers,
                 std::size_t& done,
                 CallInFlight& call) {
    TxPath tx(socket.channel);
    const std::size_t wanted = total_bytes(buffers);
    for (;;) {
        const IoResult step = tx.send(buffers, done);
        if (step.status == IoStatus::moved) {
            return kMoved;
        }
        if (step.status == IoStatus::error) {
            return done > 0 ? keep_error(socket, step.error, done) : fail(step.error);
        }
        done += step.bytes;
        if (done >= wanted) {
            drop_if_reset(socket);
            return static_cast<ssize_t>(done);
        }
        const bool full = held_up(process, socket);
        if (call.non_blocking() && !full) {
            continue;
        }
        if (call.non_blocking()) {
            return done > 0 ? static_cast<ssize_t>(done) : fail(EAGAIN);
        }
        if (!call.hold(process)) {
            return done > 0 ? static_cast<ssize_t>(done) : kUseTcp; // the number is another file's, or closed
        }
        process.progress().ensure_watched(socket);
        const std::uint32_t quarter = socket.channel.peer.ring_bytes / 4;
        const auto at_least = static_cast<std::uint32_t>(
            std::min<std::size_t>(wanted - done, quarter));
        const std::uint64_t deadline = deadline_of(call, done > 0);
        const WaitStatus status = wait_for_space(socket.channel, socket.spin_space, at_least, deadline, &socket.number_gone);
        if (status != WaitStatus::ready) {
            return done > 0 ? static_cast<ssize_t>(done) : wait_error(status);
        }
    }
}

/// What a call found out about a broken connection is news to sets that sleep or have put it aside.
ssize_t tell(Process& process, Socket& socket, ssize_t n) {
    const ConnBlock* block = socket.block;
    if (block != nullptr && (block->flags.load(std::memory_order_relaxed) & kFlagReset) != 0) [[unlikely]] {
        process.wake_local(socket);
    }
    return n;
}

/// The rest of a call whose beginning went into the pre-buffer, once the verdict is TCP.
ssize_t send_rest_tcp(const Socket& socket,
                      std::span<const iovec> buffers,
                      std::size_t done,
                      int flags,
                      const CallInFlight& call) {
    const std::size_t wanted = total_bytes(buffers);
    while (done < wanted && !call.non_blocking()) {
        const RestOf rest(buffers, done);
        msghdr message{};
        message.msg_iov = const_cast<iovec*>(rest.span().data());
        message.msg_iovlen = rest.span().size();
        const ssize_t n = raw::sendmsg(socket.fd, &message, flags | MSG_NOSIGNAL);
        if (n < 0) {
            break;  // the bytes so far are sent; the next call meets the error
        }
        done += static_cast<std::size_t>(n);
    }
    return static_cast<ssize_t>(done);
}

/// The rest of a receive whose beginning came out of the ring, once the connection is TCP's.
ssize_t receive_rest_tcp(const Socket& socket,
                         std::span<const iovec> buffers,
                         std::size_t done,
                         int flags,
                         CallInFlight& call) {
    const std::uint64_t end_ns = call.deadline_ns();
    const std::uint64_t now_ns = monotonic_ns();
    const std::uint64_t left_ns = end_ns > now_ns ? end_ns - now_ns : 0;
    pollfd wait{socket.fd, POLLIN, 0};
    int unread = 0;
    // A receive of nothing but an error would take it, and it is the next call's.
    if (raw::poll(&wait, 1, end_ns == kForever ? -1 : static_cast<int>(left_ns / kNsPerMs)) != 1 ||
        raw::ioctl(socket.fd, FIONREAD, &unread) != 0 || unread == 0) {
        return static_cast<ssize_t>(done);
    }
    const RestOf rest(buffers, done);
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(rest.span().data());
    message.msg_iovlen = rest.span().size();
    const ssize_t n = raw::recvmsg(socket.fd, &message, flags);
    return static_cast<ssize_t>(done) + std::max<ssize_t>(n, 0);  // the next call meets the error
}

ssize_t receive_by_phase(Process& process,
                         Socket& socket,
                         std::span<const iovec> buffers,
                         int flags,
                         CallInFlight& call) {
    std::size_t done = 0;
    process.progress().ensure_watched(socket);  // inherited, and nobody else may watch it any more
    for (;;) {
        const Phase phase = socket.phase();
        if (phase == Phase::smc) {
            const ssize_t n = receive_smc(process, socket, buffers, flags, done, call);
            if (n != kMoved) {
                return tell(process, socket, n);
            }
            continue;
        }
        take_if_inherited(process, socket);
        if (!Socket::is_ours(phase)) {
            return done > 0 ? receive_rest_tcp(socket, buffers, done, flags, call) : kUseTcp;
        }
        handshake_advance(process, socket);
        if (socket.phase() != phase) {
            continue;
        }
        if (may_receive_from_tcp(socket)) {
            if (const int error = take_settling_error(process, socket, SettlingCall::receive); error != 0) {
                return done > 0 ? static_cast<ssize_t>(done) : fail(error);
            }
            return done > 0 ? receive_rest_tcp(socket, buffers, done, flags, call) : kUseTcp;
        }
        if ((socket.live_block().flags.load(std::memory_order_acquire) & kFlagShutRead) != 0) {
            return static_cast<ssize_t>(done);
        }
        if (call.non_blocking()) {
            return done > 0 ? static_cast<ssize_t>(done) : fail(EAGAIN);
        }
        if (!call.hold(process)) {
            return done > 0 ? static_cast<ssize_t>(done) : kUseTcp; // the number is another file's, or closed
        }
        const WaitStatus status = wait_for_phase(process, socket, phase, Direction::receive, call.deadline_ns());
        if (status != WaitStatus::ready) {
            return done > 0 ? static_cast<ssize_t>(done) : wait_error(status);
        }
    }
}

ssize_t send_by_phase(Process& process,
                      Socket& socket,
                      std::span<const iovec> buffers,
                      int flags,
                      CallInFlight& call) {
    const std::size_t wanted = total_bytes(buffers);
    std::size_t done = 0;
    process.progress().ensure_watched(socket);
    for (;;) {
        const Phase phase = socket.phase();
        if (phase == Phase::smc) {
            const ssize_t n = send_smc(process, socket, buffers, done, call);
            if (n != kMoved) {
                return tell(process, socket, n);
            }
            continue;
        }
        take_if_inherited(process, socket);
        if (!Socket::is_ours(phase) || may_send_to_tcp(socket)) {
            if (const int error = take_settling_error(process, socket, SettlingCall::other); error != 0) {
                return done > 0 ? static_cast<ssize_t>(done) : fail(error);
            }
            return done > 0 ? send_rest_tcp(socket, buffers, done, flags, call) : kUseTcp;
        }
        if ((socket.live_block().flags.load(std::memory_order_acquire) & kFlagShutWrite) != 0) {
            return fail(EPIPE);
        }
        handshake_advance(process, socket); // TCP may be able to tell of the peer's end by now
        if (socket.phase() != phase) {
            continue;
        }
        done += pre_buffer_append(process, socket, buffers, done);
        if (done < wanted || socket.phase() == Phase::settling) { // the flush may have been before us
            handshake_drive(process, socket);
        }
        if (done >= wanted) {
            return static_cast<ssize_t>(done);
        }
        const bool room = pre_buffer_room(socket) > 0;
        if (socket.phase() != phase || room) {
            continue;
        }
        if (call.non_blocking()) {
            return done > 0 ? static_cast<ssize_t>(done) : fail(EAGAIN);
        }
        if (!call.hold(process)) {
            return done > 0 ? static_cast<ssize_t>(done) : kUseTcp; // the number is another file's, or closed
        }
        const WaitStatus status = wait_for_phase(process, socket, phase, Direction::send, call.deadline_ns());
        if (status != WaitStatus::ready) {
            return done > 0 ? static_cast<ssize_t>(done) : wait_error(status);
        }
    }
}

}  // namespace

ssize_t stream_receive_short(Process& process, Socket& socket, void* data, std::size_t bytes) {
    if (!socket.accelerated() || socket.low_water > 1) {
        return 0;
    }
    process.progress().ensure_watched(socket);
    const ssize_t n = RxPath(socket.channel).receive_short(data, bytes);
    return n == 0 ? 0 : tell(process, socket, n);
}

ssize_t stream_send_short(Process& process, Socket& socket, const void* data, std::size_t bytes) {
    if (!socket.accelerated()) {
        return 0;
    }
    process.progress().ensure_watched(socket);
    const ssize_t n = TxPath(socket.channel).send_short(data, bytes);
    if (n != 0) {
        drop_if_reset(socket);
    }
    return n == 0 ? 0 : tell(process, socket, n);
}

ssize_t stream_receive(Process& process, Socket& socket, std::span<const iovec> buffers, int flags) {
    CallInFlight call(socket, SO_RCVTIMEO, flags);
    ssize_t n = receive_by_phase(process, socket, buffers, flags, call);
    if (n == kUseTcp && call.descriptor_gone()) {
        n = call.receive_kept(buffers, flags);
    }
    call.end(process);
    return n;
}

ssize_t stream_send(Process& process, Socket& socket, std::span<const iovec> buffers, int flags) {
    CallInFlight call(socket, SO_SNDTIMEO, flags);
    ssize_t n = send_by_phase(process, socket, buffers, flags, call);
    if (n == kUseTcp && call.descriptor_gone()) {
        n = call.send_kept(buffers, flags);
    }
    call.end(process);
    return n;
}

}  // namespace smcd
