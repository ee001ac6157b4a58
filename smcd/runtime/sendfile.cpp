// sendfile() on a connection of ours: the file is read straight into the peer's ring. Floor 3.
#include <algorithm>
#include <array>
#include <cerrno>

#include "smcd/base/raw_syscall.hpp"
#include "smcd/runtime/held_up.hpp"
#include "smcd/runtime/process.hpp"
#include "smcd/runtime/sleep_guard.hpp"
#include "smcd/runtime/stream.hpp"

namespace smcd {
namespace {

constexpr std::size_t kPieceMax = std::size_t{1} << 20U;

/// One piece from the file into the ring. n > 0 bytes, 0 end of file, -EAGAIN no space, -errno.
ssize_t fill_ring(Socket& socket, int file_fd, off64_t offset, std::size_t count) {
    TxPath tx(socket.channel);
    for (;;) {
        const TxPath::Reservation room = tx.reserve();
        const std::size_t wanted =
            std::min({count, room.first.size(), static_cast<std::size_t>(socket.channel.peer.ring_bytes / 8)});
        if (const int error = tx.failure(); error != 0) {
            return -static_cast<ssize_t>(error);
        }
        if (tx.sends_into_void()) {
            std::array<char, 4096> lost;
            return raw::pread(file_fd, lost.data(), std::min(count, lost.size()), offset);
        }
        if (wanted == 0) {
            return -EAGAIN;
        }
        const ssize_t n = raw::pread(file_fd, room.first.data(), wanted, offset);
        if (n <= 0) {
            return n == 0 ? 0 : -static_cast<ssize_t>(errno);
        }
        if (tx.commit(room, static_cast<std::uint32_t>(n))) {
            return n;
        }
        if (!socket.accelerated()) {
            return kMoved;
        }
    }
}

/// Before the verdict: through a small buffer and the pre-buffer.
ssize_t fill_pending(Process& process, Socket& socket, int file_fd, off64_t offset, std::size_t count) {
    std::array<char, 4096> buffer;
    const ssize_t n = raw::pread(file_fd, buffer.data(), std::min(count, buffer.size()), offset);
    if (n <= 0) {
        return n == 0 ? 0 : -static_cast<ssize_t>(errno);
    }
    const iovec part{buffer.data(), static_cast<std::size_t>(n)};
    return stream_send(process, socket, {&part, 1}, 0);
}

}  // namespace

ssize_t stream_sendfile(
    Process& process, Socket& socket, int file_fd, off64_t* offset, std::size_t count) {
    off64_t position = offset != nullptr ? *offset : raw::lseek(file_fd, 0, SEEK_CUR);
    if (position < 0) {
        return -static_cast<ssize_t>(offset != nullptr ? EINVAL : errno);
    }
    const bool blocking = !socket.is_non_blocking();
    std::size_t done = 0;
    ssize_t step = 0;
    SleepGuard guard;
    while (done < count) {
        const Phase phase = socket.phase();
        if (phase != Phase::smc && !Socket::is_ours(phase)) {
            step = kUseTcp;
            break;
        }
        step = phase == Phase::smc
                   ? fill_ring(socket, file_fd, position, std::min(count - done, kPieceMax))
                   : fill_pending(process, socket, file_fd, position, count - done);
        if (step == kMoved) {
            continue;
        }
        if (step == -EAGAIN && phase == Phase::smc) {
            const bool full = held_up(process, socket);
            if (!blocking && !full) {
                continue;
            }
            if (blocking && guard.enter(process, socket) &&
                wait_for_space(socket.channel,
                                           socket.spin_space,
                                           socket.channel.peer.ring_bytes / 4,
                                           kForever) == WaitStatus::ready) {
                continue;
            }
            step = blocking ? -EINTR : step;
        }
        if (step <= 0) {
            break;
        }
        position += step;
        done += static_cast<std::size_t>(step);
    }
    guard.leave(process);
    if (done == 0) {
        return step;
    }
    if (offset != nullptr) {
        *offset = position;
    } else {
        raw::lseek(file_fd, position, SEEK_SET);
    }
    return static_cast<ssize_t>(done);
}

}  // namespace smcd
