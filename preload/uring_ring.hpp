// UringRing: what liburing.so.2 keeps of a ring, as far as its submission queue. Floor 4.
#pragma once

#include <linux/io_uring.h>

#include <cstddef>

namespace smcd::preload {

/// The head of liburing's struct io_uring_sq and io_uring_cq; the same in all of its versions 2.x.
struct UringQueue {
    unsigned* kernel_head;
    unsigned* kernel_tail;
    unsigned* kernel_mask;
    unsigned* kernel_entries;
    unsigned* kernel_flags;
    unsigned* kernel_lost;
};

/// The head of liburing's struct io_uring.
struct UringRing {
    struct Submissions {
        UringQueue queue;
        unsigned* array;
        io_uring_sqe* entries;
        unsigned head; ///< the first entry that the application has filled, and the kernel has not been told of
        unsigned tail;
        std::size_t bytes;
        void* memory;
        unsigned own[4];
    } submissions;
    struct Completions {
        UringQueue queue;
        io_uring_cqe* entries;
        std::size_t bytes;
        void* memory;
        unsigned own[4];
    } completions;
    unsigned flags; ///< IORING_SETUP_*
};

}  // namespace smcd::preload
