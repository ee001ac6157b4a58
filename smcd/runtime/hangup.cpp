#include "smcd/runtime/hangup.hpp"

#include <sys/epoll.h>

#include <array>
#include <cerrno>

#include "smcd/base/raw_syscall.hpp"
#include "smcd/runtime/process.hpp"

namespace smcd {
namespace {

/// Takes the doorbell bytes off the TCP connection; they carry no meaning beyond "look". true: end of file or error.
bool drain_doorbell(const Socket& socket) noexcept {
    std::array<char, 64> bytes;
    for (;;) {
        const ssize_t n = raw::recvfrom(
            socket.fd, bytes.data(), bytes.size(), MSG_DONTWAIT, nullptr, nullptr);
        if (n == 0) {
            return true;
        }
        if (n < 0) {
            return errno != EAGAIN && errno != EINTR;
        }
    }
}

/// Whether the peer died with bytes of ours unread. It keeps its exact position in its own page for this moment.
bool left_unread(const Socket& socket) noexcept {
    const Channel& channel = socket.channel;
    const Cursor written =
        unpack(channel.block->tx.producer.load(std::memory_order_relaxed)).cursor;
    const Cursor read = unpack(channel.peer_bells->consumed.load(std::memory_order_acquire)).cursor;
    return !(written == read);
}

}  // namespace

void on_tcp_event(Process& process, Socket& socket, std::uint32_t events) {
    const bool gone = drain_doorbell(socket) || (events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP)) != 0;
    if (gone) {
        ConnBlock& block = *socket.block;
        RxPath rx(socket.channel);
        static_cast<void>(rx.readable());  // takes in the last publication and flags
        const std::uint32_t peer = block.rx.peer_flags.load(std::memory_order_relaxed);
        if ((peer & (kPeerConnClosed | kPeerConnAbort)) == 0) {
            if (left_unread(socket)) {
                mark_reset(block, ECONNRESET);
            }
            block.flags.fetch_or(kFlagTcpHangup, std::memory_order_acq_rel);
        }
    }
    process.wake_local(socket);
}

}  // namespace smcd
