// Load, fork, exit of a process under the shim, and the calls that end it or bypass the others. Floor 4.
#include <pthread.h>
#include <sys/syscall.h>

#include <cstdarg>
#include <cstdlib>

#include "preload/exports.hpp"
#include "preload/quirks.hpp"
#include "smcd/base/raw_syscall.hpp"

using namespace smcd::preload;  // NOLINT(google-build-using-namespace): this file is nothing but a skin

namespace {

void before_fork() {
    if (Shim* self = shim(); self != nullptr) {
        self->process.before_fork();
        self->epoll.before_fork();
    }
}

void after_fork_in_parent() {
    if (Shim* self = shim(); self != nullptr) {
        self->epoll.after_fork(false);
        self->process.after_fork_in_parent();
    }
}

void after_fork_in_child() {
    if (Shim* self = shim(); self != nullptr) {
        self->after_fork_in_child();
        self->process.after_fork_in_child();
        self->epoll.after_fork(true);
    }
}

[[gnu::constructor]] void on_load() {
    static_cast<void>(real_calls());
    detect_quirks();
    if (shim_or_start() != nullptr) {
        ::pthread_atfork(&before_fork, &after_fork_in_parent, &after_fork_in_child);
    }
}

/// Waiting bytes go out; not in a vfork child, whose memory is its parent's.
void last_words() {
    Shim* self = shim();
    if (self != nullptr && !self->in_vfork_child()) {
        self->process.at_exit();
    }
}

[[gnu::destructor]] void on_unload() {
    last_words();
}

struct SyscallArguments {
    long number;
    long a[6];
};

/// System calls by number that change what we follow; -1 in `handled` when libc's syscall() must run.
bool route(const SyscallArguments& call, long& result) {
    const int fd = static_cast<int>(call.a[0]);
    switch (call.number) {
        case SYS_close:
            result = close(fd);
            return true;
        case SYS_close_range:
            result = close_range(static_cast<unsigned>(call.a[0]),
                                 static_cast<unsigned>(call.a[1]),
                                 static_cast<int>(call.a[2]));
            return true;
        case SYS_dup:
            result = dup(fd);
            return true;
        case SYS_dup2:
            result = dup2(fd, static_cast<int>(call.a[1]));
            return true;
        case SYS_dup3:
            result = dup3(fd, static_cast<int>(call.a[1]), static_cast<int>(call.a[2]));
            return true;
        case SYS_read:
            result = read(fd, reinterpret_cast<void*>(call.a[1]), static_cast<size_t>(call.a[2]));
            return true;
        case SYS_write:
            result = write(fd, reinterpret_cast<const void*>(call.a[1]), static_cast<size_t>(call.a[2]));
            return true;
        case SYS_accept4:
            result = accept4(fd,
                             reinterpret_cast<sockaddr*>(call.a[1]),
                             reinterpret_cast<socklen_t*>(call.a[2]),
                             static_cast<int>(call.a[3]));
            return true;
        case SYS_epoll_ctl:
            result = epoll_ctl(fd,
                               static_cast<int>(call.a[1]),
                               static_cast<int>(call.a[2]),
                               reinterpret_cast<epoll_event*>(call.a[3]));
            return true;
        case SYS_epoll_wait:
            result = epoll_wait(fd,
                                reinterpret_cast<epoll_event*>(call.a[1]),
                                static_cast<int>(call.a[2]),
                                static_cast<int>(call.a[3]));
            return true;
        case SYS_io_uring_setup:
            // Rings of the kernel would pass us by; without them event loops use epoll.
            errno = ENOSYS;
            result = -1;
            return true;
        default:
            return false;
    }
}

}  // namespace

SMCD_EXPORT void _exit(int status) {
    last_words();
    real_calls()._exit(status);
    __builtin_unreachable();
}

SMCD_EXPORT void _Exit(int status) noexcept {
    last_words();
    real_calls()._Exit(status);
    __builtin_unreachable();
}

SMCD_EXPORT long syscall(long number, ...) noexcept {
    SyscallArguments call{};
    call.number = number;
    va_list arguments;
    va_start(arguments, number);
    for (long& value : call.a) {
        value = va_arg(arguments, long);
    }
    va_end(arguments);
    long result = 0;
    if (shim() != nullptr && !Shim::internal() && route(call, result)) {
        return result;
    }
    return real_calls().syscall(
        number, call.a[0], call.a[1], call.a[2], call.a[3], call.a[4], call.a[5]);
}
