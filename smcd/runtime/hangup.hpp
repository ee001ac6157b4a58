// What the idle TCP connection of an accelerated one tells us: the peer is gone, or rings. Floor 3.
#pragma once

#include "smcd/runtime/socket.hpp"

namespace smcd {

class Process;

/// Handles EPOLL* bits of the TCP descriptor. Progress thread.
/// A hang-up ends the connection behind the bytes already published: EOF, or ECONNRESET where TCP would have said so
/// (the dead peer left bytes of ours unread).
void on_tcp_event(Process& process, Socket& socket, std::uint32_t events);

}  // namespace smcd
