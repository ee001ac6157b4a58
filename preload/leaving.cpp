#include "preload/leaving.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "preload/substitute.hpp"
#include "smcd/base/raw_syscall.hpp"
#include "smcd/runtime/return_tcp.hpp"

namespace smcd::preload {
namespace {

/// Whether the number is open in this process, without FD_CLOEXEC, and still the socket that we know under it. A vfork
/// child has our table but descriptors of its own.
bool survives_exec(const Socket& socket, int fd) noexcept {
    const int flags = raw::fcntl(fd, F_GETFD);
    struct stat info {};
    return flags >= 0 && (flags & FD_CLOEXEC) == 0 && ::fstat(fd, &info) == 0 &&
           info.st_ino == socket.inode;
}

}  // namespace

bool leave(Shim& shim, int fd, Reason reason) noexcept {
    Socket* socket = shim.table.active(fd);
    return socket == nullptr || return_to_tcp(shim.process, *socket, reason);
}

bool leave_whole(Shim& shim, int fd, Reason reason, bool for_relatives_too) noexcept {
    if (leave(shim, fd, reason)) {
        return true;
    }
    Socket* socket = shim.table.active(fd);
    return socket == nullptr || substitute(shim, *socket, reason, for_relatives_too);
}

bool leave_for_good(Shim& shim, int fd, Reason reason) noexcept {
    Socket* socket = shim.table.socket(fd);
    if (socket != nullptr && socket->kind.load(std::memory_order_acquire) == SocketKind::candidate) {
        socket->stays_on_tcp = true;
    }
    return leave_whole(shim, fd, reason);
}

void leave_survivors_of_exec(Shim& shim) noexcept {
    const int saved = errno;
    for (int fd = 0; fd < shim.table.end(); ++fd) {
        // Not active(), which would take inherited connections that another process is to use.
        if (const Socket* socket = shim.table.socket(fd); socket != nullptr && survives_exec(*socket, fd)) {
            leave_whole(shim, fd, Reason::left_control, true);
        }
    }
    errno = saved;
}

void leave_for_sandbox(Shim& shim) noexcept {
    shim.process.enter_sandbox();
    for (int fd = 0; fd < shim.table.end(); ++fd) {
        leave_whole(shim, fd, Reason::unsupported_call);
    }
}

void leave_passed(Shim& shim, const msghdr& message) noexcept {
    auto& header = const_cast<msghdr&>(message);  // CMSG_FIRSTHDR and CMSG_NXTHDR only read
    for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (std::size_t i = 0; i < count; ++i) {
            int fd = -1;
            std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(fd));
            leave_whole(shim, fd, Reason::left_control);
        }
    }
}

}  // namespace smcd::preload
