#include "smcd/core/thread_id.hpp"

#include <sys/syscall.h>
#include <unistd.h>

namespace smcd {

constinit thread_local std::uint32_t cached_thread_id = 0;

std::uint32_t ask_thread_id() noexcept {
    cached_thread_id = static_cast<std::uint32_t>(::syscall(SYS_gettid));
    return cached_thread_id;
}

void reset_thread_id() noexcept {
    cached_thread_id = 0;
}

}  // namespace smcd
