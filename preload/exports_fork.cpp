// Copies of this process that libc does not tell pthread_atfork() handlers of. Floor 4.
#include <sched.h>
#include <unistd.h>

#include <cstdarg>

#include "preload/exports.hpp"
#include "preload/forking.hpp"

using namespace smcd::
    preload; // NOLINT(google-build-using-namespace): this file is nothing but a skin

namespace {

struct Start {
    int (*function)(void*);
    void* argument;
};

/// The child's first steps, on its own copy of the caller's memory.
int start_child(void* argument) {
    const Start start = *static_cast<Start*>(argument);
    after_fork_in_child();
    _exit(start.function(start.argument)); // of the process: another thread of it may be ours
}

} // namespace

SMCD_EXPORT pid_t _Fork() noexcept {
    before_fork();
    const pid_t child = real_calls()._Fork();
    const int saved = errno;
    child == 0 ? after_fork_in_child() : after_fork_in_parent();
    errno = saved;
    return child;
}

SMCD_EXPORT int
clone(int (*function)(void*), void* stack, int flags, void* argument, ...) noexcept {
    va_list more;
    va_start(more, argument);
    auto* parent_tid = va_arg(more, pid_t*);
    void* tls = va_arg(more, void*);
    auto* child_tid = va_arg(more, pid_t*);
    va_end(more);
    if ((flags & CLONE_VM) != 0 || function == nullptr || stack == nullptr) {
        return real_calls().clone(function, stack, flags, argument, parent_tid, tls, child_tid);
    }
    Start start{function, argument};
    before_fork();
    const int child =
        real_calls().clone(&start_child, stack, flags, &start, parent_tid, tls, child_tid);
    const int saved = errno;
    after_fork_in_parent();
    errno = saved;
    return child;
}
