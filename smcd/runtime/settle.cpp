#include "smcd/runtime/settle.hpp"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "clc/handshake.hpp"
#include "smcd/base/clock.hpp"
#include "smcd/base/raw_syscall.hpp"
#include "smcd/core/direction_lock.hpp"
#include "smcd/runtime/clc_inbound.hpp"
#include "smcd/runtime/handshake.hpp"
#include "smcd/runtime/handshake_state.hpp"
#include "smcd/runtime/process.hpp"
#include "smcd/runtime/return_frame.hpp"

namespace smcd {
namespace {

/// A CLC message is written in one piece; a beginning that stays incomplete this long is application data.
constexpr std::uint64_t kFragmentPatienceNs = 100 * kNsPerMs;

/// A Decline that crossed ours was written before ours could be read.
constexpr std::uint64_t kCrossingLimitNs = 10 * kNsPerMs;

/// A client is that late when the machine has no time for it, or when it is stopped.
constexpr std::uint64_t kProposalLimitNs = 10 * kNsPerSecond;
/// After so long it is worth asking whether the client will send a Proposal at all.
constexpr std::uint64_t kProposalSoonNs = 5 * kNsPerMs;

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
        dissolve_tcp(socket.fd); // what it had sent through its ring is lost
        return true;
    }
    return false;
}

/// Takes a CLC message that stands first out of the stream. true: the question is decided.
bool swallow(Socket& socket) {
    InboundView view;
    peek_inbound(socket, view);
    if ((socket.live_block().flags.load(std::memory_order_acquire) & kFlagFrameInbound) != 0) {
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
    if (verdict.decline_may_follow && !view.ended) {
        state.expects_proposal = false;
        state.owes_answer = true;
        return false;
    }
    return true;
}

/// Whether the application has written anything to TCP: a CLC message behind it would be read as data.
bool has_spoken(int fd) noexcept {
    tcp_info info{};
    socklen_t length = sizeof(info);
    return raw::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0 || info.tcpi_data_segs_out != 0 ||
           info.tcpi_notsent_bytes != 0;
}

/// Answers the Proposal, so that a client that waits in silence has its verdict; one whose Decline stands behind it does not.
/// Only while no other thread can send.
bool answer_late_proposal(Socket& socket, Reason reason) {
    const DirectionGuard guard(socket.live_block().handshake_lock);
    HandshakeState* state = socket.handshake.get();
    if (guard.nested() || state == nullptr || !state->owes_answer || has_spoken(socket.fd) || has_inbound(socket.fd)) {
        return false;
    }
    state->owes_answer = false;
    const clc::Message message = clc::late_decline(reason);
    return write_outbound(socket, message.span());
}

/// Whether a Proposal is to be counted on: the client's mark was seen, and it is in this network namespace or on the fabric.
/// Other machines may use the mark for purposes of their own.
bool will_propose(Process& process, const Socket& socket) {
    const auto reason = static_cast<Reason>(socket.block->reason.load(std::memory_order_relaxed));
    return reason != Reason::client_not_marked &&
           (process.devices().fabric() != nullptr || process.discovery().confirm(socket.fd, false) == Reason::none);
}

/// Whether a CLC message of the peer may still come.
bool expects_message(Socket& socket) noexcept {
    return socket.phase() == Phase::settling &&
           (socket.live_block().flags.load(std::memory_order_acquire) & kFlagSwallow) != 0;
}

bool expects_proposal(Socket& socket) noexcept {
    return expects_message(socket) && socket.handshake != nullptr && socket.handshake->expects_proposal;
}

/// One look at what has come, within a millisecond.
void await_step(Process& process, Socket& socket) {
    pollfd wait{socket.fd, POLLIN, 0};
    raw::poll(&wait, 1, 1);
    handshake_drive(process, socket);
}

/// Application threads append to the pre-buffer under this lock: none comes between the last look and the step. false: one
/// came before, and drives the handshake itself.
template <typename Step>
bool behind_all_bytes(Socket& socket, Step step) {
    const DirectionGuard guard(socket.live_block().tx.lock);
    if (guard.nested() || !pre_buffer_empty(socket)) {
        return false;
    }
    step();
    return true;
}

/// No message, which may never come, holds the FIN up. Once: for the kernel each shutdown() is one more event, which would
/// lead back here.
void send_fin(Socket& socket) {
    if ((socket.live_block().flags.fetch_or(kFlagFinSent, std::memory_order_acq_rel) & kFlagFinSent) == 0) {
        raw::shutdown(socket.fd, SHUT_WR);
    }
}

}  // namespace

void settle_begin(Process& process, Socket& socket, Reason reason, bool may_swallow) {
    if (may_swallow) {
        socket.live_block().flags.fetch_or(kFlagSwallow, std::memory_order_acq_rel);
    }
    process.set_phase(socket, Phase::settling, reason);
    process.progress().watch(socket);  // now for send space too
    settle_step(process, socket);
}

void settle_reset(Process& process, Socket& socket, Reason reason) {
    process.statistics().page().handshake_errors.fetch_add(1, std::memory_order_relaxed);
    dissolve_tcp(socket.fd);
    settle_begin(process, socket, reason, false);
}

void settle_step(Process& process, Socket& socket) {
    ConnBlock& block = socket.live_block();
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
    if (!flushed) {
        return;
    }
    const std::uint32_t flags = block.flags.load(std::memory_order_acquire);
    if ((flags & kFlagShutWrite) != 0 && !behind_all_bytes(socket, [&] { send_fin(socket); })) {
        return;
    }
    if (swallowing || block.so_error.load(std::memory_order_acquire) != 0) {
        return;
    }
    if ((flags & kFlagShutRead) != 0) {
        raw::shutdown(socket.fd, SHUT_RD);
    }
    if (behind_all_bytes(socket, [&] { block.phase.store(Phase::tcp, std::memory_order_seq_cst); })) {  // sync: phase
        process.on_new_phase(socket);
    }
}

int take_settling_error(Process& process, Socket& socket, SettlingCall call) {
    ConnBlock& block = socket.live_block();
    if (socket.phase() != Phase::settling || block.so_error.load(std::memory_order_acquire) == 0) {
        return 0;
    }
    char byte = 0;
    if (call == SettlingCall::receive &&
        raw::recvfrom(socket.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT, nullptr, nullptr) > 0) {
        return 0;  // the error comes behind the data
    }
    const int error = take_so_error(block);
    handshake_drive(process, socket);
    return error;
}

void settle_await_clc(Process& process, Socket& socket, std::uint64_t limit_ns) {
    const auto reason = static_cast<Reason>(socket.live_block().reason.load(std::memory_order_relaxed));
    std::uint64_t end = monotonic_ns() + limit_ns;
    while (expects_message(socket) && monotonic_ns() < end) {
        await_step(process, socket);
        if (expects_message(socket) && answer_late_proposal(socket, reason)) {
            end = monotonic_ns() + kCrossingLimitNs;
        }
    }
}

void settle_await_proposal(Process& process, Socket& socket) {
    const auto await = [&](std::uint64_t limit_ns) {
        const std::uint64_t end = monotonic_ns() + limit_ns;
        while (expects_proposal(socket) && monotonic_ns() < end) {
            await_step(process, socket);
        }
    };
    await(kProposalSoonNs);
    if (!expects_proposal(socket) || !will_propose(process, socket)) {
        return;
    }
    await(kProposalLimitNs);
    if (expects_proposal(socket)) {
        dissolve_tcp(socket.fd);
        handshake_drive(process, socket);
    }
}

void dissolve_tcp(int fd) noexcept {
    sockaddr nowhere{};
    nowhere.sa_family = AF_UNSPEC;
    raw::connect(fd, &nowhere, sizeof(nowhere));
    raw::shutdown(fd, SHUT_RDWR);  // fails, and ends both directions: behind the error an end, as after a peer's reset
}

void settle_before_close(Process& process, Socket& socket) noexcept {
    const ConnBlock& block = socket.live_block();
    if (socket.phase() != Phase::settling || socket.linger_reset ||
        (block.flags.load(std::memory_order_acquire) & kFlagSwallow) == 0 ||
        !pre_buffer_empty(socket) || process.arena().is_shared(socket.live_block())) {
        return;
    }
    raw::shutdown(socket.fd, SHUT_WR);
    swallow(socket);
}

}  // namespace smcd
