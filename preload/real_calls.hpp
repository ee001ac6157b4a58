// RealCalls: libc's functions behind the interposed names, resolved once. Floor 4.
#pragma once

#include <aio.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <fcntl.h>
#include <linux/time_types.h>
#include <linux/types.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <ctime>

// Names without a public declaration.
extern "C" {
ssize_t __read_chk(int fd, void* buffer, size_t size, size_t buffer_size);
ssize_t __recv_chk(int fd, void* buffer, size_t size, size_t buffer_size, int flags);
ssize_t __recvfrom_chk(int fd,
                       void* buffer,
                       size_t size,
                       size_t buffer_size,
                       int flags,
                       sockaddr* address,
                       socklen_t* length);
ssize_t __read(int fd, void* buffer, size_t size);
ssize_t __write(int fd, const void* buffer, size_t size);
ssize_t __send(int fd, const void* buffer, size_t size, int flags);
int __close(int fd);
int __dup2(int fd, int target) noexcept;
int __fcntl(int fd, int command, ...);
int __connect(int fd, const sockaddr* address, socklen_t length);
int __poll(pollfd* fds, nfds_t count, int timeout_ms);
int __select(int count, fd_set* in, fd_set* out, fd_set* except, timeval* timeout);
pid_t _Fork() noexcept;
int __dprintf_chk(int fd, int flag, const char* format, ...);
int __vdprintf_chk(int fd, int flag, const char* format, va_list arguments);
int __poll_chk(pollfd* fds, nfds_t count, int timeout_ms, size_t bytes);
int __ppoll_chk(
    pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask, size_t bytes);

// liburing.so.2, where a program uses it.
struct io_uring;
struct io_uring_cqe;
struct io_uring_params;
int io_uring_submit(io_uring* ring);
int io_uring_submit_and_wait(io_uring* ring, unsigned count);
int io_uring_submit_and_wait_timeout(
    io_uring* ring, io_uring_cqe** completion, unsigned count, __kernel_timespec* timeout, sigset_t* mask);
int io_uring_submit_and_get_events(io_uring* ring);
int io_uring_register_files(io_uring* ring, const int* files, unsigned count);
int io_uring_register_files_tags(io_uring* ring, const int* files, const __u64* tags, unsigned count);
int io_uring_register_files_update(io_uring* ring, unsigned offset, const int* files, unsigned count);
int io_uring_register_files_update_tag(
    io_uring* ring, unsigned offset, const int* files, const __u64* tags, unsigned count);
int io_uring_setup(unsigned entries, io_uring_params* parameters);
}

namespace smcd::preload {

struct RealCalls {
#define SMCD_CALL(name, family, status, note) decltype(&::name) name = nullptr;
#include "preload/calls.def"
#undef SMCD_CALL
};

/// The table; resolves it at the first call (dlsym(RTLD_NEXT): other preloaded libraries stay in the chain).
/// Thread: any; the first call happens in the library's constructor or before.
[[nodiscard]] const RealCalls& real_calls() noexcept;

}  // namespace smcd::preload
