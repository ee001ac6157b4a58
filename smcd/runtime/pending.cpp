#include "smcd/runtime/pending.hpp"

#include <poll.h>

#include <algorithm>

#include "smcd/base/clock.hpp"
#include "smcd/base/raw_syscall.hpp"
#include "smcd/runtime/handshake.hpp"
#include "smcd/runtime/process.hpp"
#include "smcd/runtime/stream.hpp"

namespace smcd {
namespace {

constexpr std::uint64_t kDriveSpinNs = 40'000;

/// How long a thread sleeps that nobody can wake, for want of a progress thread.
constexpr std::uint64_t kUnwatchedSliceNs = 2 * kNsPerMs;

std::uint64_t end_of_slice(std::uint64_t deadline_ns) noexcept {
    const std::uint64_t end_ns = monotonic_ns() + kUnwatchedSliceNs;
    return deadline_ns == kForever ? end_ns : std::min(end_ns, deadline_ns);
}

}  // namespace

bool pre_buffer_empty(const Socket& socket) noexcept {
    const ConnBlock& block = socket.live_block();
    return block.pre_begin.load(std::memory_order_acquire) ==
           block.pre_end.load(std::memory_order_acquire);
}

bool may_receive_from_tcp(const Socket& socket) noexcept {
    const ConnBlock& block = socket.live_block();
    const Phase phase = block.phase.load(std::memory_order_acquire);
    return (phase == Phase::settling &&
            (block.flags.load(std::memory_order_acquire) & kFlagSwallow) == 0) ||
           (phase == Phase::returning &&
            (block.ret.steps.load(std::memory_order_acquire) & kReturnAnswered) != 0);
}

bool may_send_to_tcp(const Socket& socket) noexcept {
    return socket.phase() == Phase::settling && pre_buffer_empty(socket);
}

PollMask pending_poll(Socket& socket) noexcept {
    const ConnBlock* block = socket.block;
    if (block == nullptr) {
        return 0;
    }
    const Phase phase = block->phase.load(std::memory_order_acquire);
    const std::uint32_t flags = block->flags.load(std::memory_order_acquire);
    PollMask mask = 0;
    if (phase == Phase::connecting) {
        return 0;
    }
    if (phase == Phase::tcp) {  // through a relative, a moment ago
        pollfd tcp{socket.fd, POLLIN | POLLPRI | POLLOUT | POLLRDHUP, 0};
        raw::poll(&tcp, 1, 0);
        return static_cast<PollMask>(tcp.revents);
    }
    const bool sends = may_send_to_tcp(socket);
    const bool receives = may_receive_from_tcp(socket);
    if (sends || receives) {
        const int events = (receives ? POLLIN | POLLRDHUP : 0) | (sends ? POLLOUT : 0);
        pollfd tcp{socket.fd, static_cast<short>(events), 0};
        if (raw::poll(&tcp, 1, 0) > 0) {
            mask |= static_cast<PollMask>(tcp.revents) | ((tcp.revents & POLLOUT) != 0 ? POLLWRNORM : 0);
        }
    }
    mask |= block->so_error.load(std::memory_order_acquire) != 0 ? POLLERR : 0;
    if ((flags & kFlagShutRead) != 0) {
        mask |= POLLIN | POLLRDNORM | POLLRDHUP;
        mask |= (flags & kFlagShutWrite) != 0 ? POLLHUP : 0;
    }
    const bool room = !sends && phase != Phase::returning && pre_buffer_room(socket) >= kPreBufferBytes / 4;
    if ((flags & kFlagShutWrite) != 0 || room) {
        mask |= POLLOUT | POLLWRNORM;
    }
    // Whoever ends the phase at this moment makes part of this wrong: a look that does not wait would miss what is there.
    return block->phase.load(std::memory_order_acquire) == phase ? mask : stream_poll(socket);
}

WaitStatus wait_for_phase(Process& process,
                          Socket& socket,
                          Phase phase,
                          Direction direction,
                          std::uint64_t deadline_ns) {
    ConnBlock& block = socket.live_block();
    const std::uint32_t shut = direction == Direction::send ? kFlagShutWrite : kFlagShutRead;
    const auto changed = [&]() noexcept {
        const bool open = direction == Direction::send ? may_send_to_tcp(socket)
                                                       : may_receive_from_tcp(socket);
        return socket.phase() != phase || open ||
               (block.flags.load(std::memory_order_acquire) & shut) != 0;
    };
    // A signal that came while we were awake is lost to a sleep (waiting.hpp).
    const auto replaced = [&socket]() noexcept {
        return socket.number_gone.load(std::memory_order_acquire) == NumberGone::replaced;
    };
    const std::uint64_t spin_end = monotonic_ns() + (process.profile_of(socket).spin.max_ns == 0 ? 0 : kDriveSpinNs);
    while (monotonic_ns() < spin_end) {
        handshake_drive(process, socket);
        if (changed()) {
            return WaitStatus::ready;
        }
        if (replaced()) {
            return WaitStatus::interrupted;
        }
    }
    const bool watched = process.progress().ensure_watched(socket);
    const std::uint32_t sequence = block.local.sequence.load(std::memory_order_acquire);
    // Not undone by a destructor: cancellation must find no frame of ours with anything to clean up (waiting.cpp). A
    // cancelled thread leaves one sleeper too many, which costs needless wake-ups of this connection.
    block.local.sleepers.fetch_add(1, std::memory_order_seq_cst);
    // sync: local-bell. Our registration precedes this look; wake_local() changes the sequence before it counts sleepers.
    WaitStatus status = WaitStatus::ready;
    bool over = false;
    do {
        handshake_drive(process, socket);
        if (changed()) {
            status = WaitStatus::ready;
            break;
        }
        if (replaced()) { // behind the look at the sequence: may_end_now() changes that one later
            status = WaitStatus::interrupted;
            break;
        }
        const std::uint64_t until_ns = watched ? deadline_ns : end_of_slice(deadline_ns);
        status = futex_wait(block.local.sequence, sequence, until_ns);
        over = watched || (deadline_ns != kForever && monotonic_ns() >= deadline_ns);
    } while (status == WaitStatus::timed_out && !over);
    block.local.sleepers.fetch_sub(1, std::memory_order_relaxed);
    // A signal ends the call, even if the phase changed at the same moment: the next sleep would not know of it.
    return status != WaitStatus::interrupted && changed() ? WaitStatus::ready : status;
}

}  // namespace smcd
