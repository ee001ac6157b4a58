// Load, fork, exit of a process under the shim, and the calls that end it. Floor 4.
#include <pthread.h>

#include <cstdlib>

#include "preload/exports.hpp"
#include "preload/forking.hpp"
#include "preload/quirks.hpp"
#include "smcd/base/raw_syscall.hpp"

using namespace smcd::preload;  // NOLINT(google-build-using-namespace): this file is nothing but a skin

namespace smcd::preload {

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

void last_words() {
    Shim* self = shim();
    if (self != nullptr && !self->in_vfork_child()) {
        self->process.at_exit();
    }
}

}  // namespace smcd::preload

namespace {

[[gnu::constructor]] void on_load() {
    static_cast<void>(real_calls());
    detect_quirks();
    if (shim_or_start() != nullptr) {
        ::pthread_atfork(&before_fork, &after_fork_in_parent, &after_fork_in_child);
    }
}

[[gnu::destructor]] void on_unload() {
    last_words();
}

}  // namespace

SMCD_EXPORT void pthread_exit(void* value) {
    Shim* self = shim();
    if (self != nullptr && !self->in_vfork_child() && smcd::raw::gettid() == smcd::raw::getpid()) {
        self->process.progress().on_main_thread_exit();
    }
    real_calls().pthread_exit(value);
    __builtin_unreachable();
}

SMCD_EXPORT int chroot(const char* path) noexcept {
    const int before = errno;
    if (Shim* self = shim_or_start(); self != nullptr) {
        self->process.before_chroot();
    }
    errno = before;
    return real_calls().chroot(path);
}

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
