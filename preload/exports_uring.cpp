// Exported names of liburing: what is submitted is the kernel's. Floor 4.
//
// liburing makes its system calls itself, so nothing of what a ring does passes us, and a ring cannot be refused to those who use
// it for files. Its functions are called by name, though: before a request goes to the kernel, the connection that it names
// returns to TCP, and a listener from which it accepts is no longer announced.
#include <dlfcn.h>

#include <atomic>
#include <span>

#include "preload/exports.hpp"
#include "preload/leaving.hpp"
#include "preload/uring_ring.hpp"

using namespace smcd::preload;  // NOLINT(google-build-using-namespace): this file is nothing but a skin
using smcd::Reason;

namespace {

/// liburing's function, looked up at its first call: it may have been loaded after us, and where RTLD_NEXT does not reach.
template <typename Function>
class Late {
public:
    explicit constexpr Late(const char* name) noexcept : name_(name) {}

    template <typename... Arguments>
    int operator()(Arguments... arguments) {
        Function function = known_.load(std::memory_order_acquire);
        if (function == nullptr) [[unlikely]] {
            function = look_up();
            known_.store(function, std::memory_order_release);
        }
        return function == nullptr ? -ENOSYS : function(arguments...);
    }

private:
    Function look_up() const noexcept {
        void* symbol = ::dlsym(RTLD_NEXT, name_);
        if (symbol == nullptr) {
            void* const library = ::dlopen("liburing.so.2", RTLD_LAZY | RTLD_NOLOAD);
            symbol = library == nullptr ? nullptr : ::dlsym(library, name_);
        }
        return reinterpret_cast<Function>(symbol);
    }

    const char* name_;
    std::atomic<Function> known_{nullptr};
};

#define SMCD_LATE(name) constinit Late<decltype(&::name)> real_##name(#name)
SMCD_LATE(io_uring_submit);
SMCD_LATE(io_uring_submit_and_wait);
SMCD_LATE(io_uring_submit_and_wait_timeout);
SMCD_LATE(io_uring_submit_and_get_events);
SMCD_LATE(io_uring_register_files);
SMCD_LATE(io_uring_register_files_tags);
SMCD_LATE(io_uring_register_files_update);
SMCD_LATE(io_uring_register_files_update_tag);
SMCD_LATE(io_uring_setup);
#undef SMCD_LATE

void leave_to_ring(Shim& self, int fd) noexcept {
    calls::stop_announcing(self, fd);
    leave_for_good(self, fd, Reason::unsupported_call);
}

/// Requests whose `fd` is no descriptor, or is one of the ring itself.
bool names_no_file(unsigned operation) noexcept {
    switch (operation) {
    case IORING_OP_NOP:
    case IORING_OP_POLL_REMOVE:
    case IORING_OP_TIMEOUT:
    case IORING_OP_TIMEOUT_REMOVE:
    case IORING_OP_ASYNC_CANCEL:
    case IORING_OP_LINK_TIMEOUT:
    case IORING_OP_FILES_UPDATE:
    case IORING_OP_MADVISE:
    case IORING_OP_PROVIDE_BUFFERS:
    case IORING_OP_REMOVE_BUFFERS:
    case IORING_OP_MSG_RING:
    case IORING_OP_SOCKET:
        return true;
    default:
        return false;
    }
}

void before_request(Shim& self, const io_uring_sqe& request) noexcept {
    if (names_no_file(request.opcode)) {
        return;
    }
    if (request.opcode == IORING_OP_EPOLL_CTL) {
        leave_to_ring(self, static_cast<int>(request.off));
        return;
    }
    if (request.opcode == IORING_OP_SPLICE || request.opcode == IORING_OP_TEE) {
        leave_to_ring(self, request.splice_fd_in);
    }
    if (request.opcode == IORING_OP_SENDMSG && request.addr != 0) {
        const auto& message = *reinterpret_cast<const msghdr*>(request.addr);
        if (message.msg_control != nullptr) {
            leave_passed(self, message);
        }
    }
    if ((request.flags & IOSQE_FIXED_FILE) != 0) {
        return;  // before_registration() has seen it
    }
    switch (request.opcode) {
    case IORING_OP_CLOSE:
        self.forget(request.fd);
        break;
    case IORING_OP_POLL_ADD:  // the application accepts by itself
        leave_for_good(self, request.fd, Reason::unsupported_call);
        break;
    default:
        leave_to_ring(self, request.fd);
        break;
    }
}

void before_submission(const io_uring* opaque) noexcept {
    Shim* const self = shim();
    if (self == nullptr || Shim::internal()) {
        return;
    }
    const ErrnoKeeper keeper;
    const auto& ring = *reinterpret_cast<const UringRing*>(opaque);
    const auto& queue = ring.submissions;
    const unsigned stride = (ring.flags & IORING_SETUP_SQE128) != 0 ? 2 : 1;
    for (unsigned i = queue.head; i != queue.tail; ++i) {
        before_request(*self, queue.entries[(i & *queue.queue.kernel_mask) * stride]);
    }
}

void before_registration(const int* files, unsigned count) noexcept {
    Shim* const self = shim();
    if (self == nullptr || files == nullptr) {
        return;
    }
    const ErrnoKeeper keeper;
    for (const int fd : std::span(files, count)) {
        leave_to_ring(*self, fd);
    }
}

}  // namespace

SMCD_EXPORT int io_uring_submit(io_uring* ring) {
    before_submission(ring);
    return real_io_uring_submit(ring);
}

SMCD_EXPORT int io_uring_submit_and_wait(io_uring* ring, unsigned count) {
    before_submission(ring);
    return real_io_uring_submit_and_wait(ring, count);
}

SMCD_EXPORT int io_uring_submit_and_wait_timeout(
    io_uring* ring, io_uring_cqe** completion, unsigned count, __kernel_timespec* timeout, sigset_t* mask) {
    before_submission(ring);
    return real_io_uring_submit_and_wait_timeout(ring, completion, count, timeout, mask);
}

SMCD_EXPORT int io_uring_submit_and_get_events(io_uring* ring) {
    before_submission(ring);
    return real_io_uring_submit_and_get_events(ring);
}

SMCD_EXPORT int io_uring_register_files(io_uring* ring, const int* files, unsigned count) {
    before_registration(files, count);
    return real_io_uring_register_files(ring, files, count);
}

SMCD_EXPORT int io_uring_register_files_tags(io_uring* ring, const int* files, const __u64* tags, unsigned count) {
    before_registration(files, count);
    return real_io_uring_register_files_tags(ring, files, tags, count);
}

SMCD_EXPORT int io_uring_register_files_update(io_uring* ring, unsigned offset, const int* files, unsigned count) {
    before_registration(files, count);
    return real_io_uring_register_files_update(ring, offset, files, count);
}

SMCD_EXPORT int io_uring_register_files_update_tag(
    io_uring* ring, unsigned offset, const int* files, const __u64* tags, unsigned count) {
    before_registration(files, count);
    return real_io_uring_register_files_update_tag(ring, offset, files, tags, count);
}

SMCD_EXPORT int io_uring_setup(unsigned entries, io_uring_params* parameters) {
    return shim() != nullptr ? -ENOSYS : real_io_uring_setup(entries, parameters);
}
