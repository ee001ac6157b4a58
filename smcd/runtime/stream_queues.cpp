// What waits in either direction: FIONREAD and SIOCOUTQ. Floor 3.
#include <sys/ioctl.h>

#include "smcd/base/raw_syscall.hpp"
#include "smcd/core/rx_path.hpp"
#include "smcd/runtime/handshake.hpp"
#include "smcd/runtime/pending.hpp"
#include "smcd/runtime/stream.hpp"

namespace smcd {

std::uint32_t stream_unread(Process& process, Socket& socket) {
    if (socket.phase() != Phase::smc) {
        handshake_drive(process, socket);
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

std::uint32_t stream_outstanding(Process& /*process*/, Socket& socket) {
    const ConnBlock& block = *socket.block;
    return socket.phase() == Phase::smc  // what was sent is in the peer's memory: acknowledged, in TCP's terms
               ? 0 : block.pre_end.load(std::memory_order_relaxed) - block.pre_begin.load(std::memory_order_relaxed);
}

}  // namespace smcd
