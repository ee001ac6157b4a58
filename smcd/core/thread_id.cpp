#include "smcd/core/thread_id.hpp"

#include <sys/syscall.h>
#include <unistd.h>

namespace smcd {
namespace {

thread_local std::uint32_t cached_id = 0;

}  // namespace

std::uint32_t thread_id() noexcept {
    if (cached_id == 0) [[unlikely]] {
        cached_id = static_cast<std::uint32_t>(::syscall(SYS_gettid));
    }
    return cached_id;
}

void reset_thread_id() noexcept {
    cached_id = 0;
}

}  // namespace smcd
