#include "smcd/runtime/hangup.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>

#include "smcd/base/raw_syscall.hpp"
#include "smcd/runtime/handshake.hpp"
#include "smcd/runtime/process.hpp"
#include "smcd/runtime/return_tcp.hpp"
#include "smcd/runtime/stream.hpp"

namespace smcd {
namespace {

/// Whether the peer died with bytes of ours unread. It keeps its exact position in its own page for this moment.
bool left_unread(const Socket& socket) noexcept {
    const Channel& channel = socket.channel;
    const Cursor written =
        unpack(channel.block->tx.producer.load(std::memory_order_relaxed)).cursor;
    const Cursor read = unpack(channel.peer_bells->consumed.load(std::memory_order_acquire)).cursor;
    return !(written == read);
}

/// Whether both ends of the TCP connection have been said.
bool is_closed(const Socket& socket) noexcept {
    tcp_info info{};
    socklen_t length = sizeof(info);
    return raw::getsockopt(socket.fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0 && info.tcpi_state == TCP_CLOSE;
}

}  // namespace

void on_tcp_event(Process& process, Socket& socket, std::uint32_t events) {
    const TcpNews news = return_look(process, socket);
    if (socket.phase() != Phase::smc) {
        handshake_drive(process, socket);
        return;
    }
    constexpr std::uint32_t kBoth = kFlagShutRead | kFlagShutWrite;
    const bool shut = (socket.block->flags.load(std::memory_order_acquire) & kBoth) == kBoth;
    if (shut && news.state != TcpState::broken && (events & EPOLLERR) == 0 && !is_closed(socket)) {
        return;  // it tells of our own shutdown(), and there is nothing to be told of the peer
    }
    if (news.state != TcpState::nothing || (events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP)) != 0) {
        ConnBlock& block = *socket.block;
        RxPath rx(socket.channel);
        static_cast<void>(rx.readable());  // takes in the last publication and flags
        const std::uint32_t peer = block.rx.peer_flags.load(std::memory_order_relaxed);
        const bool was_reset = (block.flags.load(std::memory_order_acquire) & kFlagReset) != 0;  // and no end behind it
        if ((peer & (kPeerConnClosed | kPeerConnAbort)) == 0 && !was_reset) {
            // Behind both ends TCP's connection is over, and unread bytes make no reset.
            if (news.state == TcpState::broken || (left_unread(socket) && stream_connected(socket.channel))) {
                // A machine that does not answer any more is no reset: TCP's own word for it goes on.
                const bool reset = news.error == 0 || news.error == ECONNRESET;
                mark_reset(block, reset ? reset_error(block) : news.error);
            } else {
                block.rx.peer_flags.fetch_or(kPeerDoneWriting, std::memory_order_release);  // as TCP's FIN
            }
            block.flags.fetch_or(kFlagTcpHangup, std::memory_order_acq_rel);
        }
    }
    process.wake_local(socket);
}

}  // namespace smcd
