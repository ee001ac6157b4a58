// Calls after which stdio or another program uses a descriptor. Floor 4.
#include <aio.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>

#include "preload/exports.hpp"
#include "preload/leaving.hpp"

using namespace smcd::preload;  // NOLINT(google-build-using-namespace): this file is nothing but a skin
using smcd::Reason;

namespace {

/// false: there is no way back to TCP.
bool leave_for_stdio(int fd) noexcept {
    Shim* self = shim();
    return self == nullptr || leave_for_good(*self, fd, Reason::unsupported_call);
}

/// Where stdio cannot write for us: formats here, and sends.
int print_ourselves(int fd, const char* format, va_list arguments) noexcept {
    char* text = nullptr;
    const int size = ::vasprintf(&text, format, arguments);
    ssize_t done = 0;
    while (done < size) {
        const ssize_t n = write(fd, text + done, static_cast<size_t>(size - done));
        if (n < 0) {
            break;
        }
        done += n;
    }
    const int error = errno;
    ::free(text);
    errno = error;
    return done < size ? -1 : size;
}

template <typename Request>
void leave_for_aio(const Request* request) noexcept {
    if (request != nullptr) {
        leave_for_stdio(request->aio_fildes);
    }
}

template <typename Request>
void leave_for_list(Request* const* list, int count) noexcept {
    for (int i = 0; list != nullptr && i < count; ++i) {
        leave_for_aio(list[i]);
    }
}

void before_spawn() noexcept {
    if (Shim* self = shim(); self != nullptr && !self->in_vfork_child()) {
        leave_survivors_of_exec(*self);
    }
}

}  // namespace

SMCD_EXPORT FILE* fdopen(int fd, const char* mode) noexcept {
    leave_for_stdio(fd);
    return real_calls().fdopen(fd, mode);
}

SMCD_EXPORT int vdprintf(int fd, const char* format, va_list arguments) noexcept {
    return leave_for_stdio(fd) ? real_calls().vdprintf(fd, format, arguments)
                               : print_ourselves(fd, format, arguments);
}

SMCD_EXPORT int dprintf(int fd, const char* format, ...) noexcept {
    va_list arguments;
    va_start(arguments, format);
    const int rc = vdprintf(fd, format, arguments);
    va_end(arguments);
    return rc;
}

SMCD_EXPORT int __vdprintf_chk(int fd, int flag, const char* format, va_list arguments) {
    return leave_for_stdio(fd) ? real_calls().__vdprintf_chk(fd, flag, format, arguments)
                               : print_ourselves(fd, format, arguments);
}

SMCD_EXPORT int __dprintf_chk(int fd, int flag, const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const int rc = __vdprintf_chk(fd, flag, format, arguments);
    va_end(arguments);
    return rc;
}

SMCD_EXPORT int posix_spawn_file_actions_adddup2(posix_spawn_file_actions_t* actions,
                                                 int fd,
                                                 int target) noexcept {
    if (Shim* self = shim(); self != nullptr) {
        leave_whole(*self, fd, Reason::left_control);
    }
    return real_calls().posix_spawn_file_actions_adddup2(actions, fd, target);
}

SMCD_EXPORT int posix_spawn(pid_t* pid,
                            const char* path,
                            const posix_spawn_file_actions_t* actions,
                            const posix_spawnattr_t* attributes,
                            char* const* argv,
                            char* const* envp) {
    before_spawn();
    return real_calls().posix_spawn(pid, path, actions, attributes, argv, envp);
}

SMCD_EXPORT int posix_spawnp(pid_t* pid,
                             const char* file,
                             const posix_spawn_file_actions_t* actions,
                             const posix_spawnattr_t* attributes,
                             char* const* argv,
                             char* const* envp) {
    before_spawn();
    return real_calls().posix_spawnp(pid, file, actions, attributes, argv, envp);
}

SMCD_EXPORT int prctl(int option, ...) noexcept {
    va_list arguments;
    va_start(arguments, option);
    unsigned long values[4];
    for (unsigned long& value : values) {
        value = va_arg(arguments, unsigned long);
    }
    va_end(arguments);
    if (Shim* self = shim(); self != nullptr && option == PR_SET_SECCOMP && !self->in_vfork_child()) {
        leave_for_sandbox(*self);
    }
    return real_calls().prctl(option, values[0], values[1], values[2], values[3]);
}

SMCD_EXPORT int system(const char* command) {
    before_spawn();
    return real_calls().system(command);
}

SMCD_EXPORT FILE* popen(const char* command, const char* mode) {
    before_spawn();
    return real_calls().popen(command, mode);
}

// POSIX AIO: threads of libc read and write, which is stdio's case.
SMCD_EXPORT int aio_read(aiocb* request) noexcept {
    leave_for_aio(request);
    return real_calls().aio_read(request);
}

SMCD_EXPORT int aio_read64(aiocb64* request) noexcept {
    leave_for_aio(request);
    return real_calls().aio_read64(request);
}

SMCD_EXPORT int aio_write(aiocb* request) noexcept {
    leave_for_aio(request);
    return real_calls().aio_write(request);
}

SMCD_EXPORT int aio_write64(aiocb64* request) noexcept {
    leave_for_aio(request);
    return real_calls().aio_write64(request);
}

SMCD_EXPORT int lio_listio(int mode, aiocb* const* list, int count, sigevent* event) noexcept {
    leave_for_list(list, count);
    return real_calls().lio_listio(mode, list, count, event);
}

SMCD_EXPORT int lio_listio64(int mode, aiocb64* const* list, int count, sigevent* event) noexcept {
    leave_for_list(list, count);
    return real_calls().lio_listio64(mode, list, count, event);
}
