#include "smcd/runtime/settle.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "clc/handshake.hpp"
#include "smcd/base/clock.hpp"
#include "smcd/base/raw_syscall.hpp"
#include "smcd/runtime/clc_inbound.hpp"
#include "smcd/runtime/handshake.hpp"
#include "smcd/runtime/handshake_state.hpp"
#include "smcd/runtime/process.hpp"
#include "smcd/runtime/return_frame.hpp"

namespace smcd {
namespace {

/// A CLC message is written in one piece; a beginning that stays incomplete this long is application data.
constexpr std::uint64_t kFragmentPatienceNs = 100 * kNsPerMs;

/// Ends a connection as TCP's reset does: for the peer, and for calls that the application makes later.
void reset_connection(int fd) noexcept {
    sockaddr nobody{};
    nobody.sa_family = AF_UNSPEC;
    raw::connect(fd, &nobody, sizeof(nobody));
}

/// Takes the peer's return frame out of the stream, and doorbell bytes in front of it. true: the question is decided.
bool swallow_frame(const Socket& socket, const InboundView& view) {
    const auto inbound = view.span();
    const auto doorbells = static_cast<std::size_t>(
        std::find_if(inbound.begin(), inbound.end(), [](std::byte b) { return b != kDoorbellByte; }) - inbound.begin());
    take_inbound(socket.fd, doorbells);
    ReturnFrame frame;
    const FrameFront front = doorbells == inbound.size() ? FrameFront::incomplete
                                                         : decode(inbound.subspan(doorbells), frame);
    if (front == FrameFront::frame) {
        take_inbound(socket.fd, kReturnFrameBytes);
        return true;
    }
    if (front == FrameFront::garbage || view.ended) {
        reset_connection(socket.fd); // what it had sent through its ring is lost
        return true;
    }
    return false;
}

/// Takes a CLC message that stands first out of the stream. true: the question is decided.
bool swallow(Socket& socket) {
    InboundView view;
    peek_inbound(socket.fd, view);
    if ((socket.block->flags.load(std::memory_order_acquire) & kFlagFrameInbound) != 0) {
        return (view.count != 0 || view.ended) && swallow_frame(socket, view);
    }
    if (view.count == 0) {
        return view.ended;
    }
    HandshakeState& state = *socket.handshake;
    const clc::SwallowVerdict verdict = clc::swallow_late_message(view.span(), state.expects_proposal);
    if (verdict.incomplete) {
        const std::uint64_t now = monotonic_ns();
        if (state.fragment_since_ns == 0) {
            state.fragment_since_ns = now;
        }
        if (!view.ended && now - state.fragment_since_ns <= kFragmentPatienceNs) {
            return false;
        }
    }
    take_inbound(socket.fd, verdict.consumed);
    if (verdict.decline_may_follow) {
        state.expects_proposal = false;
        return view.ended;
    }
    return true;
}

}  // namespace

void settle_begin(Process& process, Socket& socket, Reason reason, bool may_swallow) {
    if (may_swallow) {
        socket.block->flags.fetch_or(kFlagSwallow, std::memory_order_acq_rel);
    }
    process.set_phase(socket, Phase::settling, reason);
    process.progress().watch(socket);  // now for send space too
    settle_step(process, socket);
}

void settle_reset(Process& process, Socket& socket, Reason reason) {
    reset_connection(socket.fd);
    settle_begin(process, socket, reason, false);
}

void settle_step(Process& process, Socket& socket) {
    ConnBlock& block = *socket.block;
    const bool had_room = pre_buffer_empty(socket);
    const bool flushed = flush_to_tcp(process, socket) == FlushStatus::done;
    if ((block.flags.load(std::memory_order_acquire) & kFlagSwallow) != 0 && swallow(socket)) {
        block.flags.fetch_and(~kFlagSwallow, std::memory_order_acq_rel);
        process.wake_local(socket);
    }
    if (flushed && !had_room) {
        process.wake_local(socket);
    }
    const bool swallowing = (block.flags.load(std::memory_order_acquire) & kFlagSwallow) != 0;
    if (swallowing && socket.handshake != nullptr && socket.handshake->fragment_since_ns != 0) {
        process.progress().arm_deadline(socket, monotonic_ns() + kFragmentPatienceNs);
    }
    if (!flushed || swallowing) {
        return;
    }
    const std::uint32_t flags = block.flags.load(std::memory_order_acquire);
    if ((flags & kFlagShutWrite) != 0) {
        raw::shutdown(socket.fd, SHUT_WR);
    }
    if ((flags & kFlagShutRead) != 0) {
        raw::shutdown(socket.fd, SHUT_RD);
    }
    const auto reason = static_cast<Reason>(block.reason.load(std::memory_order_relaxed));
    process.set_phase(socket, Phase::tcp, reason);
}

void settle_await_clc(Process& process, Socket& socket, std::uint64_t end_ns) {
    const auto expected = [&socket] {
        return socket.phase() == Phase::settling &&
               (socket.block->flags.load(std::memory_order_acquire) & kFlagSwallow) != 0;
    };
    while (expected() && monotonic_ns() < end_ns) {
        pollfd wait{socket.fd, POLLIN, 0};
        raw::poll(&wait, 1, 1);
        handshake_drive(process, socket);
    }
}

void settle_before_close(Socket& socket) noexcept {
    const ConnBlock& block = *socket.block;
    if (socket.phase() != Phase::settling || socket.linger_reset ||
        (block.flags.load(std::memory_order_acquire) & kFlagSwallow) == 0 ||
        block.holders.load(std::memory_order_acquire) > 1) {
        return;
    }
    raw::shutdown(socket.fd, SHUT_WR);
    swallow(socket);
}

}  // namespace smcd
