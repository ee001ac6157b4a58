// Exported names of the transfer family: forwards only. Floor 4.
#include <fcntl.h>

#include <algorithm>

#include "preload/exports.hpp"
#include "preload/leaving.hpp"

using namespace smcd::preload;  // NOLINT(google-build-using-namespace): this file is nothing but a skin
using smcd::Socket;

namespace {

iovec one(const void* buffer, size_t size) noexcept {
    return {const_cast<void*>(buffer), size};
}

bool bad_vector(const iovec* vector, int count) noexcept {
    return count < 0 || count > 1024 || (vector == nullptr && count > 0);
}

/// vfs_readv() and vfs_writev() end here, before the socket is asked.
bool is_empty(std::span<const iovec> buffers) noexcept {
    return std::all_of(buffers.begin(), buffers.end(), [](const iovec& part) { return part.iov_len == 0; });
}

/// Descriptors may travel on a socket that is none of ours.
void leave_passed_by(const msghdr* message) {
    Shim* self = shim();
    if (self != nullptr && message != nullptr && message->msg_control != nullptr) {
        leave_passed(*self, *message);
    }
}

ssize_t receive_one(Shim& self, Socket& socket, void* buffer, size_t size, int flags) {
    const iovec vector = one(buffer, size);
    return calls::receive(self, socket, {&vector, 1}, flags);
}

}  // namespace

SMCD_EXPORT ssize_t read(int fd, void* buffer, size_t size) {
    return dispatch(
        fd,
        [&](Shim& self, Socket& socket) -> ssize_t {
            if (size == 0) {
                return 0;  // read() of nothing never waits; recv() does
            }
            const iovec vector = one(buffer, size);
            return calls::receive(self, socket, {&vector, 1}, 0);
        },
        [&] { return real_calls().read(fd, buffer, size); });
}

SMCD_EXPORT ssize_t recv(int fd, void* buffer, size_t size, int flags) {
    return dispatch(
        fd,
        [&](Shim& self, Socket& socket) {
            const iovec vector = one(buffer, size);
            return calls::receive(self, socket, {&vector, 1}, flags);
        },
        [&] { return real_calls().recv(fd, buffer, size, flags); });
}

SMCD_EXPORT ssize_t
recvfrom(int fd, void* buffer, size_t size, int flags, sockaddr* address, socklen_t* length) {
    return dispatch(
        fd,
        [&](Shim& self, Socket& socket) {
            const iovec vector = one(buffer, size);
            const ssize_t n = calls::receive(self, socket, {&vector, 1}, flags);
            if (n >= 0 && address != nullptr && length != nullptr) {
                *length = 0;  // a stream names no sender
            }
            return n;
        },
        [&] { return real_calls().recvfrom(fd, buffer, size, flags, address, length); });
}

SMCD_EXPORT ssize_t readv(int fd, const iovec* vector, int count) {
    return dispatch(
        fd,
        [&](Shim& self, Socket& socket) -> ssize_t {
            if (bad_vector(vector, count)) {
                return -EINVAL;
            }
            const std::span<const iovec> buffers(vector, static_cast<size_t>(count));
            return is_empty(buffers) ? 0 : calls::receive(self, socket, buffers, 0);
        },
        [&] { return real_calls().readv(fd, vector, count); });
}

SMCD_EXPORT ssize_t recvmsg(int fd, msghdr* message, int flags) {
    return dispatch(
        fd,
        [&](Shim& self, Socket& socket) {
            return calls::receive_message(self, socket, message, flags);
        },
        [&] { return real_calls().recvmsg(fd, message, flags); });
}

SMCD_EXPORT int recvmmsg(int fd, mmsghdr* messages, unsigned count, int flags, timespec* timeout) {
    return static_cast<int>(dispatch(
        fd,
        [&](Shim& self, Socket& socket) -> ssize_t {
            return calls::receive_messages(self, socket, fd, {messages, count}, flags, timeout);
        },
        [&] { return ssize_t{real_calls().recvmmsg(fd, messages, count, flags, timeout)}; }));
}

SMCD_EXPORT ssize_t write(int fd, const void* buffer, size_t size) {
    return dispatch(
        fd,
        [&](Shim& self, Socket& socket) {
            const iovec vector = one(buffer, size);
            return calls::send(self, socket, {&vector, 1}, 0);
        },
        [&] { return real_calls().write(fd, buffer, size); });
}

SMCD_EXPORT ssize_t send(int fd, const void* buffer, size_t size, int flags) {
    return dispatch(
        fd,
        [&](Shim& self, Socket& socket) {
            const iovec vector = one(buffer, size);
            return calls::send(self, socket, {&vector, 1}, flags);
        },
        [&] { return real_calls().send(fd, buffer, size, flags); });
}

SMCD_EXPORT ssize_t sendto(
    int fd, const void* buffer, size_t size, int flags, const sockaddr* address, socklen_t length) {
    return dispatch(
        fd,
        [&](Shim& self, Socket& socket) {
            const iovec vector = one(buffer, size);
            return calls::send(self, socket, {&vector, 1}, flags);
        },
        [&] { return real_calls().sendto(fd, buffer, size, flags, address, length); });
}

SMCD_EXPORT ssize_t writev(int fd, const iovec* vector, int count) {
    return dispatch(
        fd,
        [&](Shim& self, Socket& socket) -> ssize_t {
            if (bad_vector(vector, count)) {
                return -EINVAL;
            }
            const std::span<const iovec> buffers(vector, static_cast<size_t>(count));
            return is_empty(buffers) ? 0 : calls::send(self, socket, buffers, 0);
        },
        [&] { return real_calls().writev(fd, vector, count); });
}

SMCD_EXPORT ssize_t sendmsg(int fd, const msghdr* message, int flags) {
    return dispatch(
        fd,
        [&](Shim& self, Socket& socket) {
            return calls::send_message(self, socket, message, flags);
        },
        [&] {
            leave_passed_by(message);
            return real_calls().sendmsg(fd, message, flags);
        });
}

SMCD_EXPORT int sendmmsg(int fd, mmsghdr* messages, unsigned count, int flags) {
    return static_cast<int>(dispatch(
        fd,
        [&](Shim& self, Socket& socket) -> ssize_t {
            unsigned done = 0;
            while (done < count) {
                const ssize_t n = calls::send_message(self, socket, &messages[done].msg_hdr, flags);
                if (n < 0) {
                    if (done == 0) {
                        return n;
                    }
                    break;
                }
                const msghdr& message = messages[done].msg_hdr;
                messages[done++].msg_len = static_cast<unsigned>(n);
                if (static_cast<size_t>(n) < smcd::total_bytes({message.msg_iov, message.msg_iovlen})) {
                    break;  // the stream must not continue with the next message
                }
            }
            return static_cast<ssize_t>(done);
        },
        [&] {
            for (unsigned i = 0; i < count; ++i) {
                leave_passed_by(&messages[i].msg_hdr);
            }
            return ssize_t{real_calls().sendmmsg(fd, messages, count, flags)};
        }));
}

SMCD_EXPORT ssize_t sendfile64(int out, int in, off64_t* offset, size_t count) noexcept {
    return dispatch(
        out,
        [&](Shim& self, Socket& socket) {
            return calls::sendfile(self, socket, in, offset, count);
        },
        [&] { return real_calls().sendfile64(out, in, offset, count); });
}

SMCD_EXPORT ssize_t sendfile(int out, int in, off_t* offset, size_t count) noexcept {
    static_assert(sizeof(off_t) == sizeof(off64_t));
    return sendfile64(out, in, offset, count);
}

SMCD_EXPORT ssize_t splice(
    int in, off64_t* in_offset, int out, off64_t* out_offset, size_t count, unsigned flags) {
    const bool source = served(in) != nullptr;
    return dispatch(
        source ? in : out,
        [&](Shim& self, Socket&) {
            return calls::splice(self, in, in_offset, out, out_offset, count, flags);
        },
        [&] { return real_calls().splice(in, in_offset, out, out_offset, count, flags); });
}

SMCD_EXPORT ssize_t preadv64v2(int fd, const iovec* vector, int count, off64_t offset, int flags) {
    constexpr int kNoWait = 8;  // RWF_NOWAIT
    return dispatch(
        fd,
        [&](Shim& self, Socket& socket) -> ssize_t {
            if (offset != -1) {
                return -ESPIPE;
            }
            if (bad_vector(vector, count)) {
                return -EINVAL;
            }
            const std::span<const iovec> buffers(vector, static_cast<size_t>(count));
            const int mode = (flags & kNoWait) != 0 ? MSG_DONTWAIT : 0;
            return is_empty(buffers) ? 0 : calls::receive(self, socket, buffers, mode);
        },
        [&] { return real_calls().preadv64v2(fd, vector, count, offset, flags); });
}

SMCD_EXPORT ssize_t preadv2(int fd, const iovec* vector, int count, off_t offset, int flags) {
    return preadv64v2(fd, vector, count, offset, flags);
}

SMCD_EXPORT ssize_t pwritev64v2(int fd, const iovec* vector, int count, off64_t offset, int flags) {
    constexpr int kNoWait = 8;  // RWF_NOWAIT
    return dispatch(
        fd,
        [&](Shim& self, Socket& socket) -> ssize_t {
            if (offset != -1) {
                return -ESPIPE;
            }
            if (bad_vector(vector, count)) {
                return -EINVAL;
            }
            const std::span<const iovec> buffers(vector, static_cast<size_t>(count));
            const int mode = (flags & kNoWait) != 0 ? MSG_DONTWAIT : 0;
            return is_empty(buffers) ? 0 : calls::send(self, socket, buffers, mode);
        },
        [&] { return real_calls().pwritev64v2(fd, vector, count, offset, flags); });
}

SMCD_EXPORT ssize_t pwritev2(int fd, const iovec* vector, int count, off_t offset, int flags) {
    return pwritev64v2(fd, vector, count, offset, flags);
}

// The fortified twins: the size check is the original's business, and it aborts; so an overflow goes there.
SMCD_EXPORT ssize_t __read_chk(int fd, void* buffer, size_t size, size_t buffer_size) {
    if (served(fd) == nullptr || size > buffer_size) {
        return real_calls().__read_chk(fd, buffer, size, buffer_size);
    }
    return dispatch(
        fd,
        [&](Shim& self, Socket& socket) { return receive_one(self, socket, buffer, size, 0); },
        [&] { return real_calls().__read_chk(fd, buffer, size, buffer_size); });
}

SMCD_EXPORT ssize_t
__recv_chk(int fd, void* buffer, size_t size, size_t buffer_size, int flags) {
    if (served(fd) == nullptr || size > buffer_size) {
        return real_calls().__recv_chk(fd, buffer, size, buffer_size, flags);
    }
    return dispatch(
        fd,
        [&](Shim& self, Socket& socket) { return receive_one(self, socket, buffer, size, flags); },
        [&] { return real_calls().__recv_chk(fd, buffer, size, buffer_size, flags); });
}

SMCD_EXPORT ssize_t __recvfrom_chk(int fd,
                                   void* buffer,
                                   size_t size,
                                   size_t buffer_size,
                                   int flags,
                                   sockaddr* address,
                                   socklen_t* length) {
    if (served(fd) == nullptr || size > buffer_size) {
        return real_calls().__recvfrom_chk(fd, buffer, size, buffer_size, flags, address, length);
    }
    return recvfrom(fd, buffer, size, flags, address, length);
}
