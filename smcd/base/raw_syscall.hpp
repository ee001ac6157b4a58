// System calls on descriptors without libc's names: inside the preloaded library close(), read()
// and the like are interposed, and our own use of a descriptor must not come back to us. Floor 0.
// Every wrapper behaves as the call of that name: -1 and errno on failure. None is a cancellation
// point; all are async-signal-safe.
#pragma once

#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <climits>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <ctime>

namespace smcd::raw {

namespace detail {

/// One system call; the kernel's result, -errno on failure. Not libc's syscall(): that name is interposed too.
inline long invoke(long number, long a, long b, long c, long d, long e, long f) noexcept {
#if defined(__x86_64__)
    long result = 0;
    register long r10 asm("r10") = d;
    register long r8 asm("r8") = e;
    register long r9 asm("r9") = f;
    asm volatile("syscall" // lint: allow volatile: the statement has effects that the compiler cannot see
                 : "=a"(result)
                 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                 : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register long x8 asm("x8") = number;
    register long x0 asm("x0") = a;
    register long x1 asm("x1") = b;
    register long x2 asm("x2") = c;
    register long x3 asm("x3") = d;
    register long x4 asm("x4") = e;
    register long x5 asm("x5") = f;
    asm volatile("svc 0" // lint: allow volatile: the statement has effects that the compiler cannot see
                 : "+r"(x0)
                 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                 : "memory");
    return x0;
#else
#error "no system call sequence for this architecture"
#endif
}

template <typename T>
[[nodiscard]] inline long word(T value) noexcept {
    if constexpr (std::is_pointer_v<T>) {
        return reinterpret_cast<long>(value);
    } else if constexpr (std::is_null_pointer_v<T>) {
        return 0;
    } else {
        return static_cast<long>(value);
    }
}

/// libc's convention on top: -1 and errno.
template <typename... Arguments>
inline long call(long number, Arguments... arguments) noexcept {
    static_assert(sizeof...(arguments) <= 6);
    const std::array<long, sizeof...(arguments) + 6> words{word(arguments)...};
    const long result = invoke(number, words[0], words[1], words[2], words[3], words[4], words[5]);
    constexpr long kErrnoMax = 4095;
    if (result < 0 && result >= -kErrnoMax) {
        errno = static_cast<int>(-result);
        return -1;
    }
    return result;
}

}  // namespace detail

/// Bytes of the kernel's signal set, which is shorter than libc's.
inline constexpr std::size_t kSignalSetBytes = 8;

// Files.

inline int open(const char* path, int flags, unsigned mode = 0) noexcept {
    return static_cast<int>(detail::call(SYS_openat, AT_FDCWD, path, flags, mode));
}

inline int close(int fd) noexcept {
    return static_cast<int>(detail::call(SYS_close, fd));
}

inline ssize_t read(int fd, void* data, std::size_t bytes) noexcept {
    return detail::call(SYS_read, fd, data, bytes);
}

inline ssize_t write(int fd, const void* data, std::size_t bytes) noexcept {
    return detail::call(SYS_write, fd, data, bytes);
}

inline ssize_t readv(int fd, const iovec* pieces, int count) noexcept {
    return detail::call(SYS_readv, fd, pieces, static_cast<long>(count));
}

inline ssize_t writev(int fd, const iovec* pieces, int count) noexcept {
    return detail::call(SYS_writev, fd, pieces, static_cast<long>(count));
}

inline ssize_t pread(int fd, void* data, std::size_t bytes, off_t offset) noexcept {
    return detail::call(SYS_pread64, fd, data, bytes, offset);
}

inline off_t lseek(int fd, off_t offset, int whence) noexcept {
    return detail::call(SYS_lseek, fd, offset, whence);
}

inline ssize_t sendfile(int out_fd, int in_fd, off_t* offset, std::size_t bytes) noexcept {
    return detail::call(SYS_sendfile, out_fd, in_fd, offset, bytes);
}

inline int fcntl(int fd, int command, long argument = 0) noexcept {
    return static_cast<int>(detail::call(SYS_fcntl, fd, command, argument));
}

inline int ioctl(int fd, unsigned long request, void* argument) noexcept {
    return static_cast<int>(detail::call(SYS_ioctl, fd, request, argument));
}

inline int dup(int fd) noexcept {
    return static_cast<int>(detail::call(SYS_dup, fd));
}

inline int dup3(int fd, int target, int flags) noexcept {
    return static_cast<int>(detail::call(SYS_dup3, fd, target, flags));
}

inline int pipe2(int* fds, int flags) noexcept {
    return static_cast<int>(detail::call(SYS_pipe2, fds, flags));
}

// Memory.

/// MAP_FAILED and errno on failure. offset: a multiple of the page size.
inline void* mmap(
    void* address, std::size_t bytes, int protection, int flags, int fd, off_t offset) noexcept {
    return reinterpret_cast<void*>( // NOLINT(performance-no-int-to-ptr): the kernel's answer
        detail::call(SYS_mmap, address, bytes, protection, flags, fd, offset));
}

// Sockets.

inline int socket(int family, int type, int protocol) noexcept {
    return static_cast<int>(detail::call(SYS_socket, family, type, protocol));
}

inline int socketpair(int family, int type, int protocol, int* fds) noexcept {
    return static_cast<int>(detail::call(SYS_socketpair, family, type, protocol, fds));
}

inline int bind(int fd, const sockaddr* address, socklen_t length) noexcept {
    return static_cast<int>(detail::call(SYS_bind, fd, address, length));
}

inline int listen(int fd, int backlog) noexcept {
    return static_cast<int>(detail::call(SYS_listen, fd, backlog));
}

inline int connect(int fd, const sockaddr* address, socklen_t length) noexcept {
    return static_cast<int>(detail::call(SYS_connect, fd, address, length));
}

inline int accept4(int fd, sockaddr* address, socklen_t* length, int flags) noexcept {
    return static_cast<int>(detail::call(SYS_accept4, fd, address, length, flags));
}

inline int shutdown(int fd, int how) noexcept {
    return static_cast<int>(detail::call(SYS_shutdown, fd, how));
}

inline int getsockname(int fd, sockaddr* address, socklen_t* length) noexcept {
    return static_cast<int>(detail::call(SYS_getsockname, fd, address, length));
}

inline int getpeername(int fd, sockaddr* address, socklen_t* length) noexcept {
    return static_cast<int>(detail::call(SYS_getpeername, fd, address, length));
}

inline int getsockopt(int fd, int level, int name, void* value, socklen_t* length) noexcept {
    return static_cast<int>(detail::call(SYS_getsockopt, fd, level, name, value, length));
}

inline int setsockopt(int fd, int level, int name, const void* value, socklen_t length) noexcept {
    return static_cast<int>(detail::call(SYS_setsockopt, fd, level, name, value, length));
}

inline ssize_t sendto(int fd,
                      const void* data,
                      std::size_t bytes,
                      int flags,
                      const sockaddr* address,
                      socklen_t length) noexcept {
    return detail::call(SYS_sendto, fd, data, bytes, flags, address, length);
}

inline ssize_t recvfrom(int fd,
                        void* data,
                        std::size_t bytes,
                        int flags,
                        sockaddr* address,
                        socklen_t* length) noexcept {
    return detail::call(SYS_recvfrom, fd, data, bytes, flags, address, length);
}

inline ssize_t send(int fd, const void* data, std::size_t bytes, int flags) noexcept {
    return raw::sendto(fd, data, bytes, flags, nullptr, 0);
}

inline ssize_t recv(int fd, void* data, std::size_t bytes, int flags) noexcept {
    return raw::recvfrom(fd, data, bytes, flags, nullptr, nullptr);
}

inline ssize_t sendmsg(int fd, const msghdr* message, int flags) noexcept {
    return detail::call(SYS_sendmsg, fd, message, flags);
}

inline ssize_t recvmsg(int fd, msghdr* message, int flags) noexcept {
    return detail::call(SYS_recvmsg, fd, message, flags);
}

// Waiting.

/// timeout_ms < 0: for ever.
inline int poll(pollfd* fds, nfds_t count, int timeout_ms) noexcept {
    timespec timeout{timeout_ms / 1000, (timeout_ms % 1000) * 1'000'000L};
    return static_cast<int>(detail::call(
        SYS_ppoll, fds, count, timeout_ms < 0 ? nullptr : &timeout, nullptr, kSignalSetBytes));
}

inline int epoll_create1(int flags) noexcept {
    return static_cast<int>(detail::call(SYS_epoll_create1, flags));
}

inline int epoll_ctl(int set_fd, int operation, int fd, epoll_event* event) noexcept {
    return static_cast<int>(detail::call(SYS_epoll_ctl, set_fd, operation, fd, event));
}

inline int epoll_wait(int set_fd, epoll_event* events, int count, int timeout_ms) noexcept {
    return static_cast<int>(
        detail::call(SYS_epoll_pwait, set_fd, events, count, timeout_ms, nullptr, kSignalSetBytes));
}

inline int eventfd2(unsigned initial, int flags) noexcept {
    return static_cast<int>(detail::call(SYS_eventfd2, initial, flags));
}

/// Sleeps while `word` holds `expected`; the word may be shared between processes. timeout:
/// relative, nullptr: for ever.
inline int futex_wait(const std::atomic<std::uint32_t>& word,
                      std::uint32_t expected,
                      const timespec* timeout) noexcept {
    return static_cast<int>(detail::call(SYS_futex, &word, FUTEX_WAIT, expected, timeout, nullptr, 0));
}

/// Wakes up to `count` threads that sleep on `word`, in any process. Returns how many.
inline int futex_wake(const std::atomic<std::uint32_t>& word, int count = INT_MAX) noexcept {
    return static_cast<int>(detail::call(SYS_futex, &word, FUTEX_WAKE, count, nullptr, nullptr, 0));
}

// Processes. Not cached by libc, so right after every kind of fork.

inline pid_t getpid() noexcept {
    return static_cast<pid_t>(detail::call(SYS_getpid));
}

inline pid_t gettid() noexcept {
    return static_cast<pid_t>(detail::call(SYS_gettid));
}

inline int kill(pid_t pid, int signal) noexcept {
    return static_cast<int>(detail::call(SYS_kill, pid, signal));
}

inline int tkill(pid_t tid, int signal) noexcept {
    return static_cast<int>(detail::call(SYS_tkill, tid, signal));
}

inline int tgkill(pid_t pid, pid_t tid, int signal) noexcept {
    return static_cast<int>(detail::call(SYS_tgkill, pid, tid, signal));
}

} // namespace smcd::raw
