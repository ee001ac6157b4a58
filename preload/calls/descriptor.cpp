// Calls that close, copy and tune descriptors. Floor 4.
#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "preload/calls/calls.hpp"
#include "preload/leaving.hpp"
#include "smcd/base/hidden_fds.hpp"
#include "smcd/base/raw_syscall.hpp"
#include "smcd/runtime/own_peer.hpp"
#include "smcd/runtime/stream.hpp"

namespace smcd::preload::calls {

namespace {

/// What stands behind `fd` may have been replaced after `copy` was made of it (substitute.hpp).
void follow_substitute(Shim& shim, int fd, int copy) noexcept {
    struct stat one {};
    struct stat two {};
    if (::fstat(fd, &one) == 0 && ::fstat(copy, &two) == 0 && one.st_ino != two.st_ino) {
        shim.real.dup2(fd, copy);
    }
}

/// Whether it is a connection that stays on TCP and was only counted.
bool is_passed_by(const Shim& shim, int fd) noexcept {
    const Socket* const socket = shim.table.socket(fd);
    return socket != nullptr && socket->kind.load(std::memory_order_acquire) == SocketKind::connection && socket->block == nullptr;
}

/// As the kernel does: the application's int need not be aligned.
int answer(void* argument, std::uint32_t value) noexcept {
    const int number = static_cast<int>(value);
    std::memcpy(argument, &number, sizeof(number));
    return 0;
}

}  // namespace

ssize_t close(Shim& shim, int fd) {
    // Nothing is lost for the parent of a vfork child when the first is forgotten; many in a row are spared a system call.
    if (is_passed_by(shim, fd) || !shim.in_vfork_child()) {
        shim.forget(fd);
    }
    return value_of(shim.real.close(fd));
}

void on_dup(Shim& shim, int fd, int copy) {
    if (is_standard_stream(copy)) {
        leave_for_good(shim, fd, Reason::left_control);
        follow_substitute(shim, fd, copy);
    }
    if (shim.in_vfork_child()) {
        return;
    }
    if (shim.table.known(copy)) {
        shim.forget(copy);
    }
    if (EpollSet* set = shim.table.set(fd); set != nullptr) {
        if (shim.table.put_set(copy, set)) {
            set->references.fetch_add(1, std::memory_order_relaxed);
        }
        return;
    }
    Socket* socket = shim.table.socket(fd);
    if (socket == nullptr) {
        return;
    }
    const bool inherited = shim.table.inherited(fd);
    const bool active = !inherited && shim.table.active(fd) != nullptr;
    if (shim.table.put_socket(copy, socket, active)) {
        socket->references.fetch_add(1, std::memory_order_acq_rel);
    }
    if (inherited) {
        shim.retag_inherited(*socket);
    }
}

ssize_t dup2(Shim& shim, int fd, int target, int flags, bool is_dup3) {
    const bool fails = raw::fcntl(fd, F_GETFD, 0) < 0 || (flags & ~O_CLOEXEC) != 0;
    const bool replaces = fd != target && !fails && shim.table.known(target) && !shim.in_vfork_child();
    Socket* const by = replaces && !is_standard_stream(target) ? shim.table.active(fd) : nullptr;
    const Socket* const replaced = by == nullptr ? nullptr : shim.table.socket(target);
    const bool at_once = replaced != nullptr && replaced != by;
    if (at_once) {
        shim.replace(target, *by);
    } else if (replaces) {
        shim.forget(target, NumberGone::replaced);
    }
    const ssize_t rc =
        value_of(is_dup3 ? shim.real.dup3(fd, target, flags) : shim.real.dup2(fd, target));
    if (at_once) {
        if (rc < 0) {
            shim.forget(target);
        }
        return rc;
    }
    if (rc >= 0 && fd != target && shim.table.known(fd)) {
        on_dup(shim, fd, static_cast<int>(rc));
    }
    return rc;
}

ssize_t fcntl(Shim& shim, Socket& socket, int fd, int command, long argument) {
    const bool wants_signals = command == F_SETFL && (argument & O_ASYNC) != 0;
    if (wants_signals || command == F_SETSIG) {
        leave(shim, fd, Reason::unsupported_call);
    }
    const ssize_t rc = value_of(shim.real.fcntl(fd, command, argument));
    if (rc < 0) {
        return rc;
    }
    switch (command) {
        case F_DUPFD:
        case F_DUPFD_CLOEXEC:
            on_dup(shim, fd, static_cast<int>(rc));
            break;
        case F_SETFL:
            socket.set_non_blocking((argument & O_NONBLOCK) != 0);
            break;
        default:
            break;
    }
    return rc;
}

ssize_t ioctl(Shim& shim, Socket& socket, int fd, unsigned long request, void* argument) {
    if (request == FIONBIO && argument != nullptr) {
        const ssize_t rc = value_of(shim.real.ioctl(fd, request, argument));
        if (rc == 0) {
            int number = 0;
            std::memcpy(&number, argument, sizeof(number));
            socket.set_non_blocking(number != 0);
        }
        return rc;
    }
    if (request == FIOASYNC) {
        leave(shim, fd, Reason::unsupported_call);
    }
    constexpr std::uintptr_t kFirstPage = 4096;  // the kernel answers EFAULT
    if (shim.table.active(fd) != nullptr && reinterpret_cast<std::uintptr_t>(argument) >= kFirstPage) {
        if (request == FIONREAD && socket.phase() != Phase::smc) {
            handshake_advance(shim.process, socket);
        }
        const Phase phase = socket.phase();
        const bool ours = Socket::is_ours(phase) && phase != Phase::settling;
        if (ours && request == FIONREAD) {
            return answer(argument, stream_unread(shim.process, socket));
        }
        if (ours && (request == SIOCOUTQ || request == SIOCOUTQNSD)) {
            return answer(argument, request == SIOCOUTQ ? stream_outstanding(shim.process, socket) : 0);
        }
        if (ours && request == SIOCATMARK) {
            return answer(argument, 0);
        }
    }
    return value_of(shim.real.ioctl(fd, request, argument));
}

ssize_t close_range(Shim& shim, unsigned first, unsigned last, int flags) {
    constexpr int kCloexecFlag = 4;  // CLOSE_RANGE_CLOEXEC: nothing is closed now
    if ((flags & kCloexecFlag) == 0 && !shim.in_vfork_child() && first <= last) {
        const auto end = static_cast<unsigned>(shim.table.end());
        for (unsigned fd = first; fd < end && fd <= last; ++fd) {
            shim.forget(static_cast<int>(fd));
        }
    }
    if ((flags & kCloexecFlag) != 0 || shim.in_vfork_child()) {
        return value_of(shim.real.close_range(first, last, flags));
    }
    // Around what is hidden.
    for (std::uint64_t from = first; from <= last;) {
        const int hidden = next_hidden_fd(static_cast<unsigned>(from), last);
        const std::uint64_t end = hidden < 0 ? last : static_cast<std::uint64_t>(hidden) - 1;
        if (hidden < 0 || end >= from) {
            const ssize_t rc = value_of(
                shim.real.close_range(static_cast<unsigned>(from), static_cast<unsigned>(end), flags));
            if (rc < 0) {
                return rc;
            }
        }
        if (hidden < 0) {
            return 0;
        }
        from = static_cast<std::uint64_t>(hidden) + 1;
    }
    return first > last ? -EINVAL : 0;
}

}  // namespace smcd::preload::calls
