// Limits after which our thread could not begin any more: HAProxy allows itself no further thread once it has its own.
// Floor 4.
#include <sys/resource.h>

#include "preload/exports.hpp"

using namespace smcd::
    preload; // NOLINT(google-build-using-namespace): this file is nothing but a skin

namespace {

void before_limit(int resource, const void* limit) noexcept {
    if (resource != RLIMIT_NPROC || limit == nullptr) {
        return;
    }
    const int saved = errno;
    if (Shim* self = shim_or_start(); self != nullptr && !self->in_vfork_child()) {
        self->process.progress().ensure_started();
    }
    errno = saved;
}

bool is_own(pid_t pid) noexcept {
    return pid == 0 || pid == smcd::raw::getpid();
}

} // namespace

SMCD_EXPORT int setrlimit(__rlimit_resource_t resource, const rlimit* limit) noexcept {
    before_limit(static_cast<int>(resource), limit);
    return real_calls().setrlimit(resource, limit);
}

SMCD_EXPORT int setrlimit64(__rlimit_resource_t resource, const rlimit64* limit) noexcept {
    before_limit(static_cast<int>(resource), limit);
    return real_calls().setrlimit64(resource, limit);
}

SMCD_EXPORT int
prlimit(pid_t pid, __rlimit_resource resource, const rlimit* limit, rlimit* old) noexcept {
    if (is_own(pid)) {
        before_limit(static_cast<int>(resource), limit);
    }
    return real_calls().prlimit(pid, resource, limit, old);
}

SMCD_EXPORT int
prlimit64(pid_t pid, __rlimit_resource resource, const rlimit64* limit, rlimit64* old) noexcept {
    if (is_own(pid)) {
        before_limit(static_cast<int>(resource), limit);
    }
    return real_calls().prlimit64(pid, resource, limit, old);
}
