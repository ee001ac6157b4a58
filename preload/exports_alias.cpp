// Second names that libc exports for some calls: forwards only. Floor 4.
#include <cstdarg>

#include "preload/exports.hpp"

SMCD_EXPORT ssize_t __read(int fd, void* buffer, size_t size) {
    return read(fd, buffer, size);
}

SMCD_EXPORT ssize_t __write(int fd, const void* buffer, size_t size) {
    return write(fd, buffer, size);
}

SMCD_EXPORT ssize_t __send(int fd, const void* buffer, size_t size, int flags) {
    return send(fd, buffer, size, flags);
}

SMCD_EXPORT int __close(int fd) {
    return close(fd);
}

SMCD_EXPORT int __dup2(int fd, int target) noexcept {
    return dup2(fd, target);
}

SMCD_EXPORT int __fcntl(int fd, int command, ...) {
    va_list arguments;
    va_start(arguments, command);
    const long argument = va_arg(arguments, long);
    va_end(arguments);
    return fcntl(fd, command, argument);
}

SMCD_EXPORT int __connect(int fd, const sockaddr* address, socklen_t length) {
    return connect(fd, address, length);
}

SMCD_EXPORT int __poll(pollfd* fds, nfds_t count, int timeout_ms) {
    return poll(fds, count, timeout_ms);
}

SMCD_EXPORT int __select(int count, fd_set* in, fd_set* out, fd_set* except, timeval* timeout) {
    return select(count, in, out, except, timeout);
}
