// The pre-buffer: application bytes that wait for the handshake's verdict. Floor 3.
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "smcd/base/clock.hpp"
#include "smcd/base/raw_syscall.hpp"
#include "smcd/core/direction_lock.hpp"
#include "smcd/runtime/clc_inbound.hpp"
#include "smcd/runtime/handshake.hpp"
#include "smcd/runtime/handshake_state.hpp"
#include "smcd/runtime/process.hpp"
#include "smcd/runtime/settle.hpp"

namespace smcd {
namespace {

/// How long application bytes wait for an answer before the attempt is given up. A server that is busy elsewhere, or forks
/// for each of a hundred connections, needs its time, and a connection is on TCP for good.
constexpr std::uint64_t kClientPatienceNs = kNsPerSecond;
/// The same once they fill the pre-buffer: TCP would take more.
constexpr std::uint64_t kFullPatienceNs = 250 * kNsPerMs;
/// A server awaits what a marked client has sent before the server's accept() returned.
constexpr std::uint64_t kServerPatienceNs = 200 * kNsPerMs;

/// When the patience ends, behind an append that leaves the pre-buffer full or not.
void set_deadline(Process& process, Socket& socket, bool full) {
    std::atomic<std::uint64_t>& give_up_ns = socket.handshake->give_up_ns;
    const bool server = socket.block->role == Role::server;
    const std::uint64_t patience_ns = server ? kServerPatienceNs : full ? kFullPatienceNs : kClientPatienceNs;
    const std::uint64_t known_ns = give_up_ns.load(std::memory_order_relaxed);
    const std::uint64_t wanted_ns = monotonic_ns() + patience_ns;
    if (known_ns == 0 || (full && wanted_ns < known_ns)) {
        give_up_ns.store(wanted_ns, std::memory_order_relaxed);
        process.progress().arm_deadline(socket, wanted_ns);
    }
}

std::uint32_t limit_of(const Socket& socket) noexcept {
    const HandshakeState* state = socket.handshake.get();
    return state == nullptr ? kPreBufferBytes : state->pre_limit.load(std::memory_order_relaxed);
}

bool takes_bytes(Phase phase) noexcept {
    return phase == Phase::handshake || phase == Phase::settling;
}

}  // namespace

std::size_t pre_buffer_room(Socket& socket) {
    const ConnBlock& block = socket.live_block();
    if (!takes_bytes(socket.phase())) {
        return 0;
    }
    const std::uint32_t end = block.pre_end.load(std::memory_order_acquire);
    return std::max(limit_of(socket), end) - end;
}

bool pre_buffer_fits(Socket& socket) {
    ConnBlock& block = socket.live_block();
    const DirectionGuard guard(block.tx.lock);
    const std::uint32_t ring_bytes = socket.channel.peer.ring_bytes;
    if (block.pre_end.load(std::memory_order_relaxed) > ring_bytes) {
        return false;
    }
    socket.handshake->pre_limit.store(std::min(ring_bytes, kPreBufferBytes), std::memory_order_relaxed);
    return true;
}

std::size_t pre_buffer_append(Process& process,
                              Socket& socket,
                              std::span<const iovec> buffers,
                              std::size_t skip) {
    ConnBlock& block = socket.live_block();
    const DirectionGuard guard(block.tx.lock);
    if (!takes_bytes(socket.phase())) {
        return 0;  // not connected yet, or the verdict fell while we took the lock
    }
    std::byte* memory = process.arena().pre_buffer(block);
    if (memory == nullptr) {
        return 0;
    }
    std::uint32_t end = block.pre_end.load(std::memory_order_relaxed);
    const std::uint32_t limit = std::max(limit_of(socket), end);
    std::size_t taken = 0;
    for (const iovec& buffer : buffers) {
        if (skip >= buffer.iov_len) {
            skip -= buffer.iov_len;
            continue;
        }
        const std::size_t n = std::min<std::size_t>(buffer.iov_len - skip, limit - end);
        std::memcpy(memory + end, static_cast<const char*>(buffer.iov_base) + skip, n);
        end += static_cast<std::uint32_t>(n);
        taken += n;
        skip = 0;
    }
    block.pre_end.store(end, std::memory_order_release);
    if (taken > 0 && socket.handshake != nullptr) {
        set_deadline(process, socket, end == limit);
    }
    return taken;
}

bool flush_to_ring(Process& process, Socket& socket) {
    ConnBlock& block = socket.live_block();
    std::byte* memory = process.arena().pre_buffer(block);
    const std::uint32_t begin = block.pre_begin.load(std::memory_order_relaxed);
    const std::uint32_t end = block.pre_end.load(std::memory_order_relaxed);
    if (begin == end || memory == nullptr) {
        return true;
    }
    // The ring is empty and takes all of it (pre_buffer_fits()).
    const iovec rest{memory + begin, end - begin};
    TxPath tx(socket.channel);
    const IoResult sent = tx.send({&rest, 1}, 0);
    block.pre_begin.store(begin + static_cast<std::uint32_t>(sent.bytes), std::memory_order_release);
    return pre_buffer_empty(socket);
}

FlushStatus flush_to_tcp(Process& process, Socket& socket) {
    ConnBlock& block = socket.live_block();
    const DirectionGuard guard(block.tx.lock);
    std::uint32_t begin = block.pre_begin.load(std::memory_order_relaxed);
    const std::uint32_t end = block.pre_end.load(std::memory_order_relaxed);
    if (begin == end) {
        return FlushStatus::done;
    }
    if (is_broken(socket.fd)) {
        begin = end;  // the bytes go where TCP's own would have gone
        block.pre_begin.store(end, std::memory_order_release);
    }
    std::byte* memory = process.arena().pre_buffer(block);
    while (begin < end) {
        const ssize_t n = raw::sendto(
            socket.fd, memory + begin, end - begin, MSG_DONTWAIT | MSG_NOSIGNAL, nullptr, 0);
        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            if (errno == EAGAIN) {
                return FlushStatus::blocked;
            }
            // The connection is broken: the bytes go where TCP's own would have gone.
            keep_error(socket, errno);
            block.pre_begin.store(end, std::memory_order_release);
            return FlushStatus::done;
        }
        begin += static_cast<std::uint32_t>(n);
        block.pre_begin.store(begin, std::memory_order_release);
    }
    return FlushStatus::done;
}

}  // namespace smcd
