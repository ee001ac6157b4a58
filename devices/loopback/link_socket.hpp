// The sockets under a link: rendezvous names, connecting, messages with descriptors. Floor 2,
// docs/shared-memory.md "links". Nothing here blocks.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <span>

#include "devices/loopback/link_message.hpp"
#include "devices/loopback/meeting_place.hpp"
#include "smcd/base/result.hpp"
#include "smcd/base/unique_fd.hpp"

namespace smcd::dev {

// meeting_place.cpp

/// A socket that listens at the rendezvous of `id`, numbered high. EADDRINUSE: somebody has that
/// name; ENAMETOOLONG: the folder's is too long. May throw bad_alloc with a folder.
[[nodiscard]] Result<UniqueFd> listen_at(LinkGroupId id, const MeetingPlace& place = {});
/// Takes the name back that listen_at() gave, where it does not go by itself.
void leave(LinkGroupId id, const MeetingPlace& place);
/// A socket connected to it. ECONNREFUSED: nobody listens there; EAGAIN: its backlog is full.
[[nodiscard]] Result<UniqueFd> connect_to(LinkGroupId id, const MeetingPlace& place = {});

// link_socket.cpp

/// The next waiting connection. EAGAIN: none.
[[nodiscard]] Result<UniqueFd> accept_from(int listener) noexcept;

/// The process at the other end, at the time of its listen() or connect().
struct PeerIdentity {
    uid_t uid = 0; ///< effective
    pid_t pid = 0; ///< in our PID namespace; 0: not visible there
};

[[nodiscard]] Result<PeerIdentity> peer_identity(int socket) noexcept;
/// Kernel memory for messages that the other end has not read; about 760 bytes each.
void set_queue_bytes(int socket, int bytes) noexcept;
/// Whether the other end has closed without having said anything.
[[nodiscard]] bool closed_in_silence(int socket) noexcept;

/// Sends a message with its descriptors, of which the caller keeps its copies. EAGAIN: the peer's
/// queue is full; EPIPE, ECONNRESET: the peer is gone; ETOOMANYREFS: too many descriptors under
/// way.
[[nodiscard]] Result<void>
send_message(int socket, const LinkMessage& message, std::span<const int> descriptors) noexcept;

struct ReceivedMessage {
    LinkMessage message;
    std::array<UniqueFd, kDescriptorsMax>
        descriptors; ///< as many as the message's kind carries, CLOEXEC
};

/// Takes the next message. EAGAIN: none there; Errc::peer_gone: end of the link;
/// Errc::peer_violation: not a valid message. Descriptors of an invalid message are closed.
[[nodiscard]] Result<ReceivedMessage> receive_message(int socket) noexcept;

} // namespace smcd::dev
