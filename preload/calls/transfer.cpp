// Calls that move bytes. Floor 4, HOT.
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <utility>

#include "preload/calls/calls.hpp"
#include "preload/leaving.hpp"
#include "preload/quirks.hpp"
#include "smcd/base/clock.hpp"
#include "smcd/base/raw_syscall.hpp"
#include "smcd/core/thread_id.hpp"
#include "smcd/runtime/stream.hpp"

namespace smcd::preload::calls {
namespace {

void raise_sigpipe() noexcept {
    // To the calling thread, as the kernel does.
    raw::tgkill(raw::getpid(), static_cast<int>(thread_id()), SIGPIPE);
}

/// Nothing is ever mapped below: what a null pointer with an offset looks like.
constexpr std::uintptr_t kFirstPage = 4096;

/// 0, or the errno for buffers that cannot be right. Other bad pointers fault: docs/known-differences.md.
int check_buffers(std::span<const iovec> buffers) noexcept {
    for (const iovec& buffer : buffers) {
        if (static_cast<ssize_t>(buffer.iov_len) < 0) {
            return EINVAL;
        }
        if (reinterpret_cast<std::uintptr_t>(buffer.iov_base) < kFirstPage && buffer.iov_len > 0) {
            return EFAULT;
        }
    }
    return 0;
}

/// One buffer, and flags that change nothing for bytes or space that are there.
bool is_plain(std::span<const iovec> buffers, int flags) noexcept {
    return buffers.size() == 1 && (flags & ~(MSG_DONTWAIT | MSG_NOSIGNAL)) == 0 &&
           reinterpret_cast<std::uintptr_t>(buffers.front().iov_base) >= kFirstPage &&
           static_cast<ssize_t>(buffers.front().iov_len) > 0;
}

/// What TCP would take of control messages; of those it takes, none changes the bytes.
bool is_known_control(const msghdr& message) noexcept {
    auto& header = const_cast<msghdr&>(message);  // the macros only read
    for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
        if (part->cmsg_len < sizeof(cmsghdr)) {
            return false;
        }
        const bool known = part->cmsg_type == SO_TIMESTAMPING || part->cmsg_type == SO_MARK ||
                           part->cmsg_type == SCM_TXTIME || part->cmsg_type == SCM_RIGHTS ||
                           part->cmsg_type == SCM_CREDENTIALS;
        if (part->cmsg_level == SOL_SOCKET && !known) {
            return false;
        }
    }
    return true;
}

int check_message(const msghdr* message) noexcept {
    constexpr std::size_t kVectorsMax = 1024;  // UIO_MAXIOV
    if (reinterpret_cast<std::uintptr_t>(message) < kFirstPage ||
        (reinterpret_cast<std::uintptr_t>(message->msg_iov) < kFirstPage && message->msg_iovlen > 0)) {
        return EFAULT;
    }
    return message->msg_iovlen > kVectorsMax ? EMSGSIZE : 0;
}

/// As put_cmsg() of the kernel: what does not fit is cut off, and said to be. room: bytes at msg_control.
void put_inq(msghdr& message, std::size_t room, int inq) noexcept {
    if (message.msg_control == nullptr || room < sizeof(cmsghdr)) {
        message.msg_flags |= MSG_CTRUNC;
        return;
    }
    if (room < CMSG_LEN(sizeof(inq))) {
        message.msg_flags |= MSG_CTRUNC;
    }
    cmsghdr head{};
    head.cmsg_len = std::min(CMSG_LEN(sizeof(inq)), room);
    head.cmsg_level = IPPROTO_TCP;
    head.cmsg_type = TCP_CM_INQ;
    auto* const control = static_cast<std::byte*>(message.msg_control);
    std::memcpy(control, &head, sizeof(head));
    std::memcpy(control + sizeof(head), &inq, head.cmsg_len - sizeof(head));
    message.msg_controllen = std::min(CMSG_SPACE(sizeof(inq)), room);
}

}  // namespace

ssize_t receive(Shim& shim, Socket& socket, std::span<const iovec> buffers, int flags) {
    if (is_plain(buffers, flags)) {
        const iovec& buffer = buffers.front();
        if (const ssize_t n = stream_receive_short(shim.process, socket, buffer.iov_base, buffer.iov_len); n > 0) {
            if (round_trip_floor_ns != 0) [[unlikely]] {
                hold_round_trip();
            }
            return n;
        }
    }
    if (const int error = check_buffers(buffers); error != 0 && (flags & MSG_TRUNC) == 0) {
        return -error;
    }
    if ((flags & MSG_ERRQUEUE) != 0) {
        return -EAGAIN;
    }
    if ((flags & MSG_OOB) != 0) {
        return -EINVAL;
    }
    const ssize_t n = stream_receive(shim.process, socket, buffers, flags);
    if (round_trip_floor_ns != 0 && n > 0) [[unlikely]] {
        hold_round_trip();
    }
    return n;
}

ssize_t send(Shim& shim, Socket& socket, std::span<const iovec> buffers, int flags) {
    if (is_plain(buffers, flags)) {
        const iovec& buffer = buffers.front();
        if (const ssize_t n = stream_send_short(shim.process, socket, buffer.iov_base, buffer.iov_len); n > 0) {
            return n;
        }
    }
    if (const int error = check_buffers(buffers); error != 0) {
        return -error;
    }
    if ((flags & (MSG_OOB | MSG_ZEROCOPY)) != 0 && leave(shim, socket.fd, Reason::unsupported_call)) {
        return kUseTcp;
    }
    const ssize_t n = stream_send(shim.process, socket, buffers, flags);
    if (n == -EPIPE && (flags & MSG_NOSIGNAL) == 0) {
        raise_sigpipe();
    }
    return n;
}

ssize_t receive_message(Shim& shim, Socket& socket, msghdr* message, int flags) {
    if (const int error = check_message(message); error != 0) {
        return -error;
    }
    const std::span<const iovec> buffers(message->msg_iov, message->msg_iovlen);
    const ssize_t n = receive(shim, socket, buffers, flags & ~MSG_CMSG_CLOEXEC);
    if (n >= 0) {
        const std::size_t room = std::exchange(message->msg_controllen, 0);
        message->msg_namelen = 0;
        message->msg_flags = flags & MSG_CMSG_CLOEXEC;  // the kernel gives it back
        if (socket.tells_inq()) [[unlikely]] {
            put_inq(*message, room, stream_inq(shim.process, socket));
        }
    }
    return n;
}

ssize_t receive_messages(
    Shim& shim, Socket& socket, int fd, std::span<mmsghdr> messages, int flags, const timespec* timeout) {
    const std::uint64_t limit_ns = timeout == nullptr ? 0
                                                      : static_cast<std::uint64_t>(timeout->tv_sec) * kNsPerSecond +
                                                            static_cast<std::uint64_t>(timeout->tv_nsec);
    const std::uint64_t end_ns = timeout == nullptr ? 0 : monotonic_ns() + limit_ns;
    ssize_t done = 0;
    int pending = 0;
    if ((flags & MSG_ERRQUEUE) == 0 && socket.accelerated() && stream_take_error(socket, pending) && pending != 0) {
        return -pending;  // as the kernel, before it looks at the data
    }
    for (mmsghdr& message : messages) {
        ssize_t n = receive_message(shim, socket, &message.msg_hdr, flags & ~MSG_WAITFORONE);
        if (n == kUseTcp && done > 0) {
            n = value_of(shim.real.recvmsg(fd, &message.msg_hdr, flags & ~MSG_WAITFORONE));
        }
        if (n < 0 && done > 0 && socket.accelerated()) {
            stream_keep_error(socket, static_cast<int>(-n));
        }
        if (n < 0) {
            return done > 0 ? done : n;
        }
        message.msg_len = static_cast<unsigned>(n);
        ++done;
        if ((flags & MSG_WAITFORONE) != 0) {
            flags |= MSG_DONTWAIT;
        }
        if (timeout != nullptr && monotonic_ns() >= end_ns) {
            break;  // looked at behind each message only, as the kernel does
        }
    }
    return done;
}

ssize_t send_message(Shim& shim, Socket& socket, const msghdr* message, int flags) {
    if (const int error = check_message(message); error != 0) {
        return -error;
    }
    if (message->msg_controllen >= sizeof(cmsghdr) && !is_known_control(*message)) {
        return -EINVAL;
    }
    return send(shim, socket, {message->msg_iov, message->msg_iovlen}, flags);
}

ssize_t sendfile(Shim& shim, Socket& socket, int file_fd, off64_t* offset, std::size_t count) {
    const ssize_t n = stream_sendfile(shim.process, socket, file_fd, offset, count);
    if (n == -EPIPE) {
        raise_sigpipe();
    }
    return n;
}

}  // namespace smcd::preload::calls
