// Exported names of the readiness family: forwards only. Floor 4.
#include "preload/exports.hpp"
#include "preload/poll_wait.hpp"
#include "smcd/base/high_fd.hpp"

using namespace smcd::preload;  // NOLINT(google-build-using-namespace): this file is nothing but a skin

namespace {

constexpr timespec from_ms(int ms) noexcept {
    return {ms / 1000, static_cast<long>(ms % 1000) * 1'000'000};
}

/// Neither null nor in the first page, where nothing is ever mapped: for those the kernel answers EFAULT.
bool may_be_memory(const void* pointer) noexcept {
    constexpr std::uintptr_t kFirstPage = 4096;
    return reinterpret_cast<std::uintptr_t>(pointer) >= kFirstPage;
}

Shim* poll_shim(pollfd* fds, nfds_t count) noexcept {
    Shim* self = shim();
    if (self == nullptr || !may_be_memory(fds) || Shim::internal() || !poll_needs_us(*self, {fds, count})) {
        return nullptr;
    }
    return self;
}

Shim* epoll_shim(int epfd, const epoll_event* events, int count) noexcept {
    Shim* self = shim();
    if (self == nullptr || count <= 0 || Shim::internal() || self->table.set(epfd) == nullptr) {
        return nullptr;
    }
    if (!may_be_memory(events)) {
        return self->table.set(epfd)->any_ready() ? self : nullptr;  // the kernel would wait before it complains
    }
    return self;
}

int tag_set(int epfd) {
    Shim* self = shim_or_start();
    if (self != nullptr && epfd >= 0 && !Shim::internal() && !self->in_vfork_child()) {
        const ErrnoKeeper keep;
        if (self->table.known(epfd)) {
            self->forget(epfd);
        }
        EpollSet* set = self->epoll.acquire(epfd);
        if (!self->table.put_set(epfd, set)) {
            self->epoll.release(*set);
        }
    }
    return epfd;
}

int wait_on_set(Shim& self,
                int epfd,
                epoll_event* events,
                int count,
                const timespec* timeout,
                const sigset_t* mask) {
    if (!may_be_memory(events)) {
        return finish_int(-EFAULT);
    }
    const int saved = errno;
    const ssize_t n =
        calls::epoll_wait(self, epfd, {events, static_cast<size_t>(count)}, timeout, mask);
    errno = saved;
    return finish_int(n);
}

int wait_ms(int epfd, epoll_event* events, int count, int timeout_ms, const sigset_t* mask, Shim& self) {
    const timespec limit = from_ms(timeout_ms);
    return wait_on_set(self, epfd, events, count, timeout_ms < 0 ? nullptr : &limit, mask);
}

}  // namespace

SMCD_EXPORT int poll(pollfd* fds, nfds_t count, int timeout_ms) {
    Shim* self = poll_shim(fds, count);
    if (self == nullptr) {
        return real_calls().poll(fds, count, timeout_ms);
    }
    const timespec limit = from_ms(timeout_ms);
    return finish_int(calls::poll(*self, {fds, count}, timeout_ms < 0 ? nullptr : &limit, nullptr));
}

SMCD_EXPORT int
ppoll(pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask) {
    Shim* self = poll_shim(fds, count);
    if (self == nullptr) {
        return real_calls().ppoll(fds, count, timeout, mask);
    }
    return finish_int(calls::poll(*self, {fds, count}, timeout, mask));
}

SMCD_EXPORT int __poll_chk(pollfd* fds, nfds_t count, int timeout_ms, size_t bytes) {
    if (poll_shim(fds, count) == nullptr || bytes / sizeof(*fds) < count) {
        return real_calls().__poll_chk(fds, count, timeout_ms, bytes);
    }
    return poll(fds, count, timeout_ms);
}

SMCD_EXPORT int __ppoll_chk(
    pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask, size_t bytes) {
    if (poll_shim(fds, count) == nullptr || bytes / sizeof(*fds) < count) {
        return real_calls().__ppoll_chk(fds, count, timeout, mask, bytes);
    }
    return ppoll(fds, count, timeout, mask);
}

SMCD_EXPORT int select(int count, fd_set* in, fd_set* out, fd_set* except, timeval* timeout) {
    Shim* self = shim();
    if (self == nullptr || Shim::internal() || !calls::select_needs_us(*self, count, in, out, except)) {
        return real_calls().select(count, in, out, except, timeout);
    }
    timespec limit{};
    if (timeout != nullptr) {
        limit = {timeout->tv_sec, timeout->tv_usec * 1000};
    }
    timespec left = limit;
    const ssize_t n = calls::select(
        *self, count, in, out, except, timeout == nullptr ? nullptr : &limit, nullptr, &left);
    if (timeout != nullptr) {
        *timeout = {left.tv_sec, left.tv_nsec / 1000};
    }
    return finish_int(n);
}

SMCD_EXPORT int pselect(int count,
                        fd_set* in,
                        fd_set* out,
                        fd_set* except,
                        const timespec* timeout,
                        const sigset_t* mask) {
    Shim* self = shim();
    if (self == nullptr || Shim::internal() || !calls::select_needs_us(*self, count, in, out, except)) {
        return real_calls().pselect(count, in, out, except, timeout, mask);
    }
    return finish_int(calls::select(*self, count, in, out, except, timeout, mask, nullptr));
}

SMCD_EXPORT int epoll_create(int size) noexcept {
    return tag_set(real_calls().epoll_create(size));
}

SMCD_EXPORT int epoll_create1(int flags) noexcept {
    const int set = real_calls().epoll_create1(flags);
    if (set >= 0 && Shim::internal()) {
        auto lifted = smcd::lift_fd(smcd::UniqueFd(set));
        return lifted ? lifted->release() : -1;
    }
    return tag_set(set);
}

SMCD_EXPORT int epoll_ctl(int epfd, int operation, int fd, epoll_event* event) noexcept {
    Shim* self = shim();
    const bool bad_event = operation != EPOLL_CTL_DEL && !may_be_memory(event);
    if (self == nullptr || bad_event || !self->table.known(fd) || Shim::internal()) {
        return real_calls().epoll_ctl(epfd, operation, fd, event);
    }
    const int saved = errno;
    const ssize_t rc = calls::epoll_ctl(*self, epfd, operation, fd, event);
    errno = saved;
    return finish_int(rc);
}

SMCD_EXPORT int epoll_wait(int epfd, epoll_event* events, int count, int timeout_ms) {
    Shim* self = epoll_shim(epfd, events, count);
    if (self == nullptr) {
        return real_calls().epoll_wait(epfd, events, count, timeout_ms);
    }
    return wait_ms(epfd, events, count, timeout_ms, nullptr, *self);
}

SMCD_EXPORT int
epoll_pwait(int epfd, epoll_event* events, int count, int timeout_ms, const sigset_t* mask) {
    Shim* self = epoll_shim(epfd, events, count);
    if (self == nullptr) {
        return real_calls().epoll_pwait(epfd, events, count, timeout_ms, mask);
    }
    return wait_ms(epfd, events, count, timeout_ms, mask, *self);
}

SMCD_EXPORT int epoll_pwait2(
    int epfd, epoll_event* events, int count, const timespec* timeout, const sigset_t* mask) {
    Shim* self = epoll_shim(epfd, events, count);
    if (self == nullptr) {
        return real_calls().epoll_pwait2(epfd, events, count, timeout, mask);
    }
    return wait_on_set(*self, epfd, events, count, timeout, mask);
}
