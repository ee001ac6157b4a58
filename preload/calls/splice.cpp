// splice(): bytes between a ring and a pipe. Floor 4.
//
// A pipe has room for bytes, in pages that may be filled in part: how much a write() takes without
// waiting is known when the pipe is empty, or for as much as one page while it is writable. What
// the kernel's splice() never does must not happen here either: wait for the rest once something
// has been moved. One thread that fills and empties the pipe would wait for itself.
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <new>

#include "preload/calls/calls.hpp"
#include "smcd/base/raw_syscall.hpp"
#include "smcd/runtime/held_up.hpp"
#include "smcd/runtime/settle.hpp"
#include "smcd/runtime/stream.hpp"

namespace smcd::preload::calls {
namespace {

constexpr std::size_t kBounceBytes = 65536;
constexpr std::size_t kPipePage = 4096;
constexpr timespec kAgainLimit{60, 0};

/// On the heap: a thread's stack and its static memory may be small.
using Bounce = std::unique_ptr<char[]>;

Bounce make_bounce() noexcept {
    return Bounce(new (std::nothrow) char[kBounceBytes]);
}

bool is_ready(int pipe_fd, short events, bool wait) noexcept {
    pollfd state{pipe_fd, events, 0};
    return raw::poll(&state, 1, wait ? -1 : 0) > 0;
}

/// Bytes that a write() to the pipe takes at once. 0: none; waits for some unless `dont_wait`.
std::size_t pipe_room(int pipe_fd, bool dont_wait) noexcept {
    int waiting = 0;
    const int capacity = raw::fcntl(pipe_fd, F_GETPIPE_SZ);
    if (capacity > 0 && raw::ioctl(pipe_fd, FIONREAD, &waiting) == 0 && waiting == 0) {
        return static_cast<std::size_t>(capacity);
    }
    return is_ready(pipe_fd, POLLOUT, !dont_wait) ? kPipePage : 0;
}

/// Takes bytes that were looked at and are in the pipe. When the connection has gone to TCP since, its peer sends them again;
/// one that does not, as long as a return may take, has lost the connection.
void drop(Shim& shim, Socket& socket, char* bytes, std::size_t count) {
    while (count > 0) {
        const iovec rest{bytes, count};
        ssize_t taken = stream_receive(shim.process, socket, {&rest, 1}, MSG_DONTWAIT);
        if (taken == kUseTcp) {
            taken = value_of(shim.real.recv(socket.fd, bytes, count, MSG_DONTWAIT));
        }
        if (taken > 0) {
            count -= static_cast<std::size_t>(taken);
        } else if (taken == -EAGAIN) {
            pollfd wait{socket.fd, POLLIN, 0};
            if (poll(shim, {&wait, 1}, &kAgainLimit, nullptr) == 0) {
                dissolve_tcp(socket.fd);
                return;
            }
        } else {
            return;  // ended: nothing comes twice
        }
    }
}

/// Ring -> pipe. Takes no more out of the ring than the pipe has taken.
ssize_t splice_to_pipe(Shim& shim, Socket& socket, int pipe_fd, std::size_t count, unsigned flags) {
    const bool dont_wait = (flags & SPLICE_F_NONBLOCK) != 0;
    const Bounce bounce = make_bounce();
    if (bounce == nullptr) {
        return -ENOMEM;
    }
    const iovec peek{bounce.get(), std::min(count, kBounceBytes)};
    // SPLICE_F_NONBLOCK is for the pipe; whether the socket waits is its own matter.
    ssize_t n = stream_receive(shim.process, socket, {&peek, 1}, MSG_PEEK | MSG_DONTWAIT);
    if (n == -EAGAIN) {
        n = stream_receive(shim.process, socket, {&peek, 1}, MSG_PEEK);
    }
    if (n <= 0) {
        return n;
    }
    std::size_t written = 0;
    while (written < static_cast<std::size_t>(n)) {
        const std::size_t rest = static_cast<std::size_t>(n) - written;
        const std::size_t room = pipe_room(pipe_fd, dont_wait || written > 0);
        const ssize_t wrote =
            room == 0
                ? -EAGAIN
                : value_of(shim.real.write(pipe_fd, bounce.get() + written, std::min(rest, room)));
        if (wrote <= 0 && written == 0) {
            return wrote;
        }
        if (wrote <= 0) {
            break;
        }
        written += static_cast<std::size_t>(wrote);
    }
    drop(shim, socket, bounce.get(), written);
    return static_cast<ssize_t>(written);
}

/// Sends bytes that were taken out of a pipe and cannot be put back.
ssize_t send_all(Shim& shim, Socket& socket, const char* bytes, std::size_t count) {
    std::size_t done = 0;
    while (done < count) {
        const iovec rest{const_cast<char*>(bytes) + done, count - done};
        ssize_t sent = stream_send(shim.process, socket, {&rest, 1}, 0);
        if (sent == kUseTcp) {
            sent = value_of(shim.real.send(socket.fd, rest.iov_base, rest.iov_len, MSG_NOSIGNAL));
        }
        if (sent == -EAGAIN) {
            pollfd wait{socket.fd, POLLOUT, 0};
            poll(shim, {&wait, 1}, nullptr, nullptr);
            continue;
        }
        if (sent < 0) {
            return done > 0 ? static_cast<ssize_t>(done) : sent;
        }
        done += static_cast<std::size_t>(sent);
    }
    return static_cast<ssize_t>(done);
}

/// Pipe -> ring.
ssize_t
splice_from_pipe(Shim& shim, Socket& socket, int pipe_fd, std::size_t count, unsigned flags) {
    const bool dont_wait = (flags & SPLICE_F_NONBLOCK) != 0;
    std::size_t room = std::min(count, kBounceBytes);
    // What cannot be sent stays in the pipe.
    if (const ssize_t able = send(shim, socket, {}, 0); able != 0) {
        return able;
    }
    if (socket.accelerated()) {
        TxPath tx(socket.channel);
        if (tx.space() == 0 && socket.is_non_blocking() && held_up(shim.process, socket)) {
            return -EAGAIN;
        }
        const std::size_t space = tx.space();
        room = space == 0 ? room : std::min(room, space);
    }
    if (dont_wait && !is_ready(pipe_fd, POLLIN, false)) {
        return -EAGAIN;
    }
    const Bounce bounce = make_bounce();
    if (bounce == nullptr) {
        return -ENOMEM;
    }
    const ssize_t n = value_of(shim.real.read(pipe_fd, bounce.get(), room));
    return n <= 0 ? n : send_all(shim, socket, bounce.get(), static_cast<std::size_t>(n));
}

} // namespace

ssize_t splice(Shim& shim,
               int in_fd,
               off64_t* in_offset,
               int out_fd,
               off64_t* out_offset,
               std::size_t count,
               unsigned flags) {
    Socket* source = shim.table.active(in_fd);
    Socket* target = shim.table.active(out_fd);
    if (source == nullptr && target == nullptr) {
        return kUseTcp;
    }
    if ((in_offset != nullptr && source != nullptr) ||
        (out_offset != nullptr && target != nullptr)) {
        return -EINVAL;
    }
    if (raw::fcntl(source != nullptr ? out_fd : in_fd, F_GETPIPE_SZ) < 0) {
        return -EINVAL; // one end must be a pipe
    }
    if (count == 0) {
        return 0;
    }
    return source != nullptr ? splice_to_pipe(shim, *source, out_fd, count, flags)
                             : splice_from_pipe(shim, *target, in_fd, count, flags);
}

} // namespace smcd::preload::calls
