// syscall(): calls by number that concern what we follow go to our functions of the same name.
// Floor 4.
#include <fcntl.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <cstdarg>
#include <cstring>
#include <optional>

#include "preload/exports.hpp"
#include "preload/forking.hpp"
#include "preload/leaving.hpp"
#include "smcd/base/raw_syscall.hpp"

using namespace smcd::
    preload; // NOLINT(google-build-using-namespace): this file is nothing but a skin

namespace {

using Result = std::optional<long>; ///< nothing: libc's syscall() must run

class Arguments {
public:
    /// All six, whatever the caller has given: as libc does. AddressSanitizer would find the rest in the caller's frame.
    [[gnu::no_sanitize_address]] explicit Arguments(va_list& list) noexcept {
        for (long& value : values) {
            value = va_arg(list, long);
        }
    }

    [[nodiscard]] int number(int i) const noexcept { return static_cast<int>(values[i]); }

    [[nodiscard]] size_t size(int i) const noexcept { return static_cast<size_t>(values[i]); }

    template <typename T>
    [[nodiscard]] T* pointer(int i) const noexcept {
        return reinterpret_cast<T*>(values[i]);
    }

    long values[6];
};

/// The kernel's signal sets are shorter than libc's.
class Mask {
public:
    explicit Mask(const void* kernel_mask) noexcept : given_(kernel_mask != nullptr) {
        constexpr size_t kKernelBytes = 8;
        if (given_) {
            std::memcpy(&mask_, kernel_mask, kKernelBytes);
        }
    }

    [[nodiscard]] const sigset_t* get() const noexcept { return given_ ? &mask_ : nullptr; }

private:
    bool given_;
    sigset_t mask_{};
};

/// pselect6's last argument.
struct SizedMask {
    const void* mask;
    size_t bytes;
};

Result route_descriptor(long call, const Arguments& a) {
    switch (call) {
    case SYS_close:
        return close(a.number(0));
    case SYS_close_range:
        return close_range(
            static_cast<unsigned>(a.values[0]), static_cast<unsigned>(a.values[1]), a.number(2));
    case SYS_dup:
        return dup(a.number(0));
#ifdef SYS_dup2
    case SYS_dup2:
        return dup2(a.number(0), a.number(1));
#endif
    case SYS_dup3:
        return dup3(a.number(0), a.number(1), a.number(2));
    case SYS_fcntl:
        return fcntl(a.number(0), a.number(1), a.values[2]);
    case SYS_ioctl:
        return ioctl(a.number(0), a.size(1), a.pointer<void>(2));
    default:
        return {};
    }
}

Result route_socket(long call, const Arguments& a) {
    switch (call) {
    case SYS_socket:
        return socket(a.number(0), a.number(1), a.number(2));
    case SYS_socketpair:
        return socketpair(a.number(0), a.number(1), a.number(2), a.pointer<int>(3));
    case SYS_listen:
        return listen(a.number(0), a.number(1));
    case SYS_accept:
        return accept(a.number(0), a.pointer<sockaddr>(1), a.pointer<socklen_t>(2));
    case SYS_accept4:
        return accept4(a.number(0), a.pointer<sockaddr>(1), a.pointer<socklen_t>(2), a.number(3));
    case SYS_connect:
        return connect(a.number(0), a.pointer<sockaddr>(1), static_cast<socklen_t>(a.values[2]));
    case SYS_shutdown:
        return shutdown(a.number(0), a.number(1));
    case SYS_getsockopt:
        return getsockopt(
            a.number(0), a.number(1), a.number(2), a.pointer<void>(3), a.pointer<socklen_t>(4));
    case SYS_setsockopt:
        return setsockopt(a.number(0),
                          a.number(1),
                          a.number(2),
                          a.pointer<void>(3),
                          static_cast<socklen_t>(a.values[4]));
    default:
        return {};
    }
}

Result route_receive(long call, const Arguments& a) {
    switch (call) {
    case SYS_read:
        return read(a.number(0), a.pointer<void>(1), a.size(2));
    case SYS_readv:
        return readv(a.number(0), a.pointer<iovec>(1), a.number(2));
    case SYS_preadv2:
        return preadv64v2(a.number(0), a.pointer<iovec>(1), a.number(2), a.values[3], a.number(5));
    case SYS_recvfrom:
        return recvfrom(a.number(0),
                        a.pointer<void>(1),
                        a.size(2),
                        a.number(3),
                        a.pointer<sockaddr>(4),
                        a.pointer<socklen_t>(5));
    case SYS_recvmsg:
        return recvmsg(a.number(0), a.pointer<msghdr>(1), a.number(2));
    case SYS_recvmmsg:
        return recvmmsg(a.number(0),
                        a.pointer<mmsghdr>(1),
                        static_cast<unsigned>(a.values[2]),
                        a.number(3),
                        a.pointer<timespec>(4));
    default:
        return {};
    }
}

Result route_send(long call, const Arguments& a) {
    switch (call) {
    case SYS_write:
        return write(a.number(0), a.pointer<void>(1), a.size(2));
    case SYS_writev:
        return writev(a.number(0), a.pointer<iovec>(1), a.number(2));
    case SYS_pwritev2:
        return pwritev64v2(a.number(0), a.pointer<iovec>(1), a.number(2), a.values[3], a.number(5));
    case SYS_sendto:
        return sendto(a.number(0),
                      a.pointer<void>(1),
                      a.size(2),
                      a.number(3),
                      a.pointer<sockaddr>(4),
                      static_cast<socklen_t>(a.values[5]));
    case SYS_sendmsg:
        return sendmsg(a.number(0), a.pointer<msghdr>(1), a.number(2));
    case SYS_sendmmsg:
        return sendmmsg(
            a.number(0), a.pointer<mmsghdr>(1), static_cast<unsigned>(a.values[2]), a.number(3));
    case SYS_sendfile:
        return sendfile64(a.number(0), a.number(1), a.pointer<off64_t>(2), a.size(3));
    case SYS_splice:
        return splice(a.number(0),
                      a.pointer<off64_t>(1),
                      a.number(2),
                      a.pointer<off64_t>(3),
                      a.size(4),
                      static_cast<unsigned>(a.values[5]));
    default:
        return {};
    }
}

Result route_readiness(long call, const Arguments& a) {
    switch (call) {
#ifdef SYS_poll
    case SYS_poll:
        return poll(a.pointer<pollfd>(0), a.size(1), a.number(2));
#endif
    case SYS_ppoll:
        return ppoll(a.pointer<pollfd>(0),
                     a.size(1),
                     a.pointer<timespec>(2),
                     Mask(a.pointer<void>(3)).get());
#ifdef SYS_select
    case SYS_select:
        return select(a.number(0),
                      a.pointer<fd_set>(1),
                      a.pointer<fd_set>(2),
                      a.pointer<fd_set>(3),
                      a.pointer<timeval>(4));
#endif
    case SYS_pselect6: {
        const auto* mask = a.pointer<SizedMask>(5);
        return pselect(a.number(0),
                       a.pointer<fd_set>(1),
                       a.pointer<fd_set>(2),
                       a.pointer<fd_set>(3),
                       a.pointer<timespec>(4),
                       Mask(mask == nullptr ? nullptr : mask->mask).get());
    }
#ifdef SYS_epoll_create
    case SYS_epoll_create:
        return epoll_create(a.number(0));
#endif
    case SYS_epoll_create1:
        return epoll_create1(a.number(0));
    case SYS_epoll_ctl:
        return epoll_ctl(a.number(0), a.number(1), a.number(2), a.pointer<epoll_event>(3));
#ifdef SYS_epoll_wait
    case SYS_epoll_wait:
        return epoll_wait(a.number(0), a.pointer<epoll_event>(1), a.number(2), a.number(3));
#endif
    case SYS_epoll_pwait:
        return epoll_pwait(a.number(0),
                           a.pointer<epoll_event>(1),
                           a.number(2),
                           a.number(3),
                           Mask(a.pointer<void>(4)).get());
    case SYS_epoll_pwait2:
        return epoll_pwait2(a.number(0),
                            a.pointer<epoll_event>(1),
                            a.number(2),
                            a.pointer<timespec>(3),
                            Mask(a.pointer<void>(4)).get());
    default:
        return {};
    }
}

/// A child with memory of its own that goes on here, on the same stack.
bool copies_process(long call, const Arguments& a) noexcept {
    if (call == SYS_clone3) {
        const auto* wish = a.pointer<clone_args>(0);
        return wish != nullptr && (wish->flags & CLONE_VM) == 0 && wish->stack == 0;
    }
#ifdef SYS_fork
    if (call == SYS_fork) {
        return true;
    }
#endif
    return call == SYS_clone && (a.values[0] & CLONE_VM) == 0 && a.values[1] == 0;
}

Result route_process(long call, const Arguments& a) {
    switch (call) {
    case SYS_execve:
        return execve(a.pointer<char>(0), a.pointer<char*>(1), a.pointer<char*>(2));
    case SYS_prctl:
        return prctl(a.number(0), a.values[1], a.values[2], a.values[3], a.values[4]);
    case SYS_execveat:
        return execveat(
            a.number(0), a.pointer<char>(1), a.pointer<char*>(2), a.pointer<char*>(3), a.number(4));
    case SYS_exit:
        if (smcd::raw::gettid() == smcd::raw::getpid()) {
            shim()->process.progress().on_main_thread_exit();
        }
        return {};
    case SYS_exit_group:
        last_words();
        return {};
    case SYS_seccomp:
        leave_for_sandbox(*shim());
        return {};
    case SYS_io_uring_setup:
        // Rings of the kernel would pass us by; without them event loops use epoll.
        errno = ENOSYS;
        return -1;
    default:
        return {};
    }
}

Result route(long call, const Arguments& a) {
    for (const auto part : {route_descriptor,
                            route_socket,
                            route_receive,
                            route_send,
                            route_readiness,
                            route_process}) {
        if (const Result result = part(call, a); result) {
            return result;
        }
    }
    return {};
}

long call_kernel(long call, const Arguments& a) {
    return real_calls().syscall(
        call, a.values[0], a.values[1], a.values[2], a.values[3], a.values[4], a.values[5]);
}

/// syscall() is no cancellation point, our functions are.
class NotCancelled {
public:
    NotCancelled() noexcept { ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before_); }

    ~NotCancelled() { ::pthread_setcancelstate(before_, nullptr); }

    NotCancelled(const NotCancelled&) = delete;
    NotCancelled& operator=(const NotCancelled&) = delete;

private:
    int before_ = 0;
};

} // namespace

SMCD_EXPORT long syscall(long number, ...) noexcept {
    va_list list;
    va_start(list, number);
    const Arguments arguments(list);
    va_end(list);
    if (shim() == nullptr || Shim::internal()) {
        return call_kernel(number, arguments);
    }
    const NotCancelled guard;
    if (copies_process(number, arguments)) {
        before_fork();
        const long child = call_kernel(number, arguments);
        const int saved = errno;
        child == 0 ? after_fork_in_child() : after_fork_in_parent();
        errno = saved;
        return child;
    }
    const Result result = route(number, arguments);
    return result ? *result : call_kernel(number, arguments);
}
