#include "smcd/runtime/goodbye.hpp"

#include <sys/socket.h>

#include <array>

#include "smcd/base/raw_syscall.hpp"
#include "smcd/runtime/stream.hpp"

namespace smcd {
namespace {

/// SO_LINGER of zero seconds, whichever process has set it.
bool lingers_zero(const Socket& socket) noexcept {
    linger setting{};
    socklen_t length = sizeof(setting);
    return raw::getsockopt(socket.fd, SOL_SOCKET, SO_LINGER, &setting, &length) == 0 && setting.l_onoff != 0 &&
           setting.l_linger == 0;
}

void set_linger(int fd, const linger& setting) noexcept {
    raw::setsockopt(fd, SOL_SOCKET, SO_LINGER, &setting, sizeof(setting));
}

}  // namespace

void say_goodbye(Socket& socket, Channel& channel) {
    RxPath rx(channel);
    TxPath tx(channel);
    // When both ends have been said TCP's connection is over, and nothing is left to be reset.
    const bool unread = rx.readable() > 0;
    const bool was_reset = (socket.block->flags.load(std::memory_order_acquire) & kFlagReset) != 0;
    const bool hard = lingers_zero(socket);
    // Bytes that have crossed a close in the handshake: the peer sees the end, which was first, and no reset beside it.
    const bool crossed = socket.lingered;
    const bool abort = was_reset || ((hard || (unread && !crossed)) && stream_connected(channel));
    if (!abort) {
        if (hard) {
            set_linger(socket.fd, {0, 0});
        }
        // In front of our flag: who closes first keeps TIME_WAIT, and a peer that sees the flag may close at once. But
        // unread bytes and a FIN without the flag are the death of a process.
        if (!crossed) {
            raw::shutdown(socket.fd, SHUT_WR);
        }
    }
    tx.send_state(abort ? kPeerConnAbort : kPeerConnClosed);
    if (!abort && crossed) {
        raw::shutdown(socket.fd, SHUT_WR);
    }
    if (!abort && !unread && !crossed && rx.readable() > 0) {
        tx.send_state(kPeerConnAbort);  // sync: goodbye. They came while we said it
    }
    // Doorbell bytes that nobody took would make the kernel say reset instead of end.
    std::array<std::byte, 64> rest;
    raw::recvfrom(socket.fd, rest.data(), rest.size(), MSG_DONTWAIT, nullptr, nullptr);
    if ((socket.block->tx.state_flags.load(std::memory_order_relaxed) & kPeerConnAbort) != 0) {
        set_linger(socket.fd, {1, 0});  // TCP's end is the same
    }
}

}  // namespace smcd
