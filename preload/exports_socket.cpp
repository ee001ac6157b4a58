// Exported names of the socket, options and descriptor families: forwards only. Floor 4.
#include <cstdarg>
#include <cstdint>

#include "preload/exports.hpp"
#include "smcd/base/hidden_fds.hpp"
#include "smcd/base/high_fd.hpp"

using namespace smcd::preload;  // NOLINT(google-build-using-namespace): this file is nothing but a skin
using smcd::Socket;

namespace {

/// The Socket behind a number if we exist and follow it; our own thread's calls are never the application's.
Socket* followed(int fd) noexcept {
    Shim* self = shim();
    return self == nullptr || Shim::internal() ? nullptr : self->table.socket(fd);
}

/// The same for options: those of our own level are there for connections, too, that have only been counted.
Socket* asked(int fd, int level) {
    Socket* socket = followed(fd);
    return socket != nullptr || level != calls::kSolSmc || shim() == nullptr || Shim::internal()
               ? socket
               : calls::follow_passed_by(*shim(), fd);
}

void adopt_new(int fd, int domain, int type, int protocol) {
    Shim* self = shim_or_start();
    if (self != nullptr && fd >= 0 && !Shim::internal()) {
        const ErrnoKeeper keep;
        calls::on_socket(*self, fd, domain, type, protocol);
    }
}

int accepted(int listen_fd, int fd, bool non_blocking) {
    Shim* self = shim_or_start();
    if (self != nullptr && fd >= 0 && !Shim::internal()) {
        const ErrnoKeeper keep;
        calls::on_accepted(*self, listen_fd, fd, non_blocking);
    }
    return fd;
}

int copied(int fd, int copy) {
    Shim* self = shim();
    if (self != nullptr && copy >= 0 && !Shim::internal() && (self->table.known(fd) || self->table.known(copy))) {
        const ErrnoKeeper keep;
        calls::on_dup(*self, fd, copy);
    }
    return copy;
}

int hidden_if_ours(int fd) noexcept {
    if (fd < 0 || !Shim::internal()) {
        return fd;
    }
    auto lifted = smcd::lift_fd(smcd::UniqueFd(fd));
    return lifted ? lifted->release() : -1;
}

int close_numbers(unsigned first, unsigned last, int flags) {
    Shim* self = shim();
    if (self == nullptr) {
        return real_calls().close_range(first, last, flags);
    }
    return finish_int(calls::close_range(*self, first, last, flags));
}

}  // namespace

SMCD_EXPORT int socket(int domain, int type, int protocol) noexcept {
    const int fd = real_calls().socket(domain, type, protocol);
    adopt_new(fd, domain, type, protocol);
    return fd;
}

SMCD_EXPORT int socketpair(int domain, int type, int protocol, int fds[2]) noexcept {
    const int rc = real_calls().socketpair(domain, type, protocol, fds);
    if (rc == 0) {
        adopt_new(fds[0], domain, type, protocol);
        adopt_new(fds[1], domain, type, protocol);
    }
    return rc;
}

SMCD_EXPORT int listen(int fd, int backlog) noexcept {
    Socket* socket = followed(fd);
    if (socket == nullptr) {
        return real_calls().listen(fd, backlog);
    }
    return finish_int(calls::listen(*shim(), *socket, fd, backlog));
}

SMCD_EXPORT int accept(int fd, sockaddr* address, socklen_t* length) {
    return accepted(fd, real_calls().accept(fd, address, length), false);
}

SMCD_EXPORT int accept4(int fd, sockaddr* address, socklen_t* length, int flags) {
    return accepted(fd, real_calls().accept4(fd, address, length, flags), (flags & SOCK_NONBLOCK) != 0);
}

SMCD_EXPORT int connect(int fd, const sockaddr* address, socklen_t length) {
    Socket* socket = followed(fd);
    if (socket == nullptr) {
        return real_calls().connect(fd, address, length);
    }
    const int saved = errno;
    const ssize_t rc = calls::connect(*shim(), *socket, fd, address, length);
    errno = saved;
    return finish_int(rc);
}

SMCD_EXPORT int shutdown(int fd, int how) noexcept {
    Socket* socket = served(fd);
    if (socket == nullptr || how < SHUT_RD || how > SHUT_RDWR) {
        return real_calls().shutdown(fd, how);
    }
    const int saved = errno;
    const int rc = smcd::stream_shutdown(shim()->process, *socket, how);
    errno = saved;
    return finish_int(rc);
}

SMCD_EXPORT int getsockopt(int fd, int level, int name, void* value, socklen_t* length) noexcept {
    Socket* socket = asked(fd, level);
    if (socket == nullptr) {
        return real_calls().getsockopt(fd, level, name, value, length);
    }
    return finish_int(calls::get_option(*shim(), *socket, fd, level, name, value, length));
}

SMCD_EXPORT int
setsockopt(int fd, int level, int name, const void* value, socklen_t length) noexcept {
    Socket* socket = asked(fd, level);
    if (socket == nullptr) {
        return real_calls().setsockopt(fd, level, name, value, length);
    }
    return finish_int(calls::set_option(*shim(), *socket, fd, level, name, value, length));
}

SMCD_EXPORT int close(int fd) {
    Shim* self = shim();
    if (self == nullptr || Shim::internal()) {
        return real_calls().close(fd);
    }
    if (!self->table.known(fd)) [[likely]] {
        return smcd::is_hidden_fd(fd) && !self->in_vfork_child() ? finish_int(-EBADF) : real_calls().close(fd);
    }
    const int saved = errno;
    const ssize_t rc = calls::close(*self, fd);
    errno = saved;
    return finish_int(rc);
}

// The progress thread's event loop asks libc for its descriptors: they are hidden like the rest of ours.
SMCD_EXPORT int eventfd(unsigned value, int flags) noexcept {
    return hidden_if_ours(real_calls().eventfd(value, flags));
}

SMCD_EXPORT int timerfd_create(clockid_t clock, int flags) noexcept {
    return hidden_if_ours(real_calls().timerfd_create(clock, flags));
}

SMCD_EXPORT int close_range(unsigned first, unsigned last, int flags) noexcept {
    return close_numbers(first, last, flags);
}

SMCD_EXPORT void closefrom(int first) noexcept {
    close_numbers(static_cast<unsigned>(first < 0 ? 0 : first), ~0U, 0);
}

SMCD_EXPORT int dup(int fd) noexcept {
    return copied(fd, real_calls().dup(fd));
}

SMCD_EXPORT int dup2(int fd, int target) noexcept {
    Shim* self = shim();
    if (self != nullptr && smcd::is_hidden_fd(target) && !self->in_vfork_child()) {
        return finish_int(-EBADF);
    }
    if (self == nullptr || (!self->table.known(fd) && !self->table.known(target))) {
        return real_calls().dup2(fd, target);
    }
    return finish_int(calls::dup2(*self, fd, target, 0, false));
}

SMCD_EXPORT int dup3(int fd, int target, int flags) noexcept {
    Shim* self = shim();
    if (self != nullptr && smcd::is_hidden_fd(target) && !self->in_vfork_child()) {
        return finish_int(-EBADF);
    }
    if (self == nullptr || (!self->table.known(fd) && !self->table.known(target))) {
        return real_calls().dup3(fd, target, flags);
    }
    return finish_int(calls::dup2(*self, fd, target, flags, true));
}

SMCD_EXPORT int fcntl64(int fd, int command, ...) {
    va_list arguments;
    va_start(arguments, command);
    const long argument = va_arg(arguments, long);
    va_end(arguments);
    Socket* socket = followed(fd);
    if (socket != nullptr) {
        return finish_int(calls::fcntl(*shim(), *socket, fd, command, argument));
    }
    const int rc = real_calls().fcntl64(fd, command, argument);
    if (rc >= 0 && (command == F_DUPFD || command == F_DUPFD_CLOEXEC)) {
        return copied(fd, rc);
    }
    return rc;
}

SMCD_EXPORT int fcntl(int fd, int command, ...) {
    va_list arguments;
    va_start(arguments, command);
    const long argument = va_arg(arguments, long);
    va_end(arguments);
    return fcntl64(fd, command, argument);
}

SMCD_EXPORT int ioctl(int fd, unsigned long request, ...) noexcept {
    va_list arguments;
    va_start(arguments, request);
    void* argument = va_arg(arguments, void*);
    va_end(arguments);
    Socket* socket = followed(fd);
    if (socket == nullptr) {
        return real_calls().ioctl(fd, request, argument);
    }
    return finish_int(calls::ioctl(*shim(), *socket, fd, request, argument));
}
