// UNIX seqpacket sockets and descriptor passing. Floor 2, docs/shared-memory.md "links".
#include "devices/loopback/link_socket.hpp"

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "smcd/base/error.hpp"
#include "smcd/base/high_fd.hpp"
#include "smcd/base/raw_syscall.hpp"

namespace smcd::dev {
namespace {

/// Room for the control data of one message. A sender that packs more gets it cut off (MSG_CTRUNC).
struct alignas(cmsghdr) ControlBuffer {
    std::array<std::byte, CMSG_SPACE(sizeof(int) * kDescriptorsMax)> bytes{};
};

using Descriptors = std::array<UniqueFd, kDescriptorsMax>;

/// Takes the descriptors of one part of the control data; those beyond the array are closed.
/// Returns how many there were, `before` included.
std::size_t take_descriptors(cmsghdr* part, std::size_t before, Descriptors& descriptors) noexcept {
    std::size_t count = before;
    const std::size_t in_part = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < in_part; ++i, ++count) {
        int fd = -1;
        std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(int));
        UniqueFd taken(fd);
        if (count < descriptors.size()) {
            descriptors[count] = std::move(taken);
        }
    }
    return count;
}

/// Takes all of them, so that none is left open.
std::size_t collect_descriptors(msghdr& header, Descriptors& descriptors) noexcept {
    std::size_t count = 0;
    for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr;
         part = CMSG_NXTHDR(&header, part)) {
        if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS &&
            part->cmsg_len >= CMSG_LEN(0)) {
            count = take_descriptors(part, count, descriptors);
        }
    }
    return count;
}

} // namespace

Result<UniqueFd> accept_from(int listener) noexcept {
    UniqueFd fd(raw::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd.valid()) {
        return errno_error();
    }
    return lift_fd(std::move(fd));
}

Result<PeerIdentity> peer_identity(int socket) noexcept {
    ucred credentials{};
    socklen_t length = sizeof(credentials);
    if (raw::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0) {
        return errno_error();
    }
    return PeerIdentity{credentials.uid, credentials.pid};
}

void set_queue_bytes(int socket, int bytes) noexcept {
    // As much as the system allows; a full queue is an error that senders know how to meet.
    static_cast<void>(raw::setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)));
}

bool closed_in_silence(int socket) noexcept {
    std::byte first{};
    return raw::recv(socket, &first, sizeof(first), MSG_PEEK | MSG_DONTWAIT) == 0;
}

Result<void>
send_message(int socket, const LinkMessage& message, std::span<const int> descriptors) noexcept {
    LinkMessage copy = message; // iovec has no const form
    iovec piece{&copy, sizeof(copy)};
    ControlBuffer control;
    msghdr header{};
    header.msg_iov = &piece;
    header.msg_iovlen = 1;
    if (!descriptors.empty()) {
        header.msg_control = control.bytes.data();
        header.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
        cmsghdr* part = CMSG_FIRSTHDR(&header);
        part->cmsg_level = SOL_SOCKET;
        part->cmsg_type = SCM_RIGHTS;
        part->cmsg_len = CMSG_LEN(descriptors.size_bytes());
        std::memcpy(CMSG_DATA(part), descriptors.data(), descriptors.size_bytes());
    }
    if (raw::sendmsg(socket, &header, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
        return errno_error();
    }
    return {};
}

Result<ReceivedMessage> receive_message(int socket) noexcept {
    // One byte more than a message: a longer one is seen as such.
    std::array<std::byte, sizeof(LinkMessage) + 1> datagram{};
    iovec piece{datagram.data(), datagram.size()};
    ControlBuffer control;
    msghdr header{};
    header.msg_iov = &piece;
    header.msg_iovlen = 1;
    header.msg_control = control.bytes.data();
    header.msg_controllen = control.bytes.size();
    ssize_t length = raw::recvmsg(socket, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (length < 0 && errno == ECONNRESET) {
        // The peer ended with messages of ours unread. That is told first, and once; its own are still there.
        length = raw::recvmsg(socket, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    }
    if (length < 0) {
        const int error = errno;
        if (error == EAGAIN || error == EINTR) {
            return errno_error(EAGAIN);
        }
        return engine_error(Errc::peer_gone);
    }
    ReceivedMessage received;
    const std::size_t count = collect_descriptors(header, received.descriptors);
    if (length == 0 && count == 0) {
        return engine_error(Errc::peer_gone);
    }
    if ((header.msg_flags & (MSG_CTRUNC | MSG_TRUNC)) != 0) {
        return engine_error(Errc::peer_violation);
    }
    SMCD_TRY(received.message,
             parse_message(std::span(datagram).first(static_cast<std::size_t>(length)), count));
    return received;
}

} // namespace smcd::dev
