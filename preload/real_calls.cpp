#include "preload/real_calls.hpp"

#include <dlfcn.h>

#include <atomic>
#include <string_view>

namespace smcd::preload {
namespace {

constinit RealCalls table;
constinit std::atomic<bool> resolved{false};

template <typename Function>
void resolve(Function& target, const char* name) noexcept {
    void* symbol = ::dlsym(RTLD_NEXT, name);
    // POSIX guarantees the conversion for functions found by dlsym().
    target = reinterpret_cast<Function>(symbol);
}

/// The others are looked up at their first call. A name that is not there makes dlsym() allocate, and an allocator that begins
/// with a call of ours (jemalloc reads a file) would wait for itself.
constexpr bool is_of_libc(std::string_view family) noexcept {
    return family != "liburing";
}

}  // namespace

const RealCalls& real_calls() noexcept {
    if (!resolved.load(std::memory_order_acquire)) [[unlikely]] {
        // Idempotent: two threads that race store the same pointers.
#define SMCD_CALL(name, family, status, note) \
    if constexpr (is_of_libc(#family)) {      \
        resolve(table.name, #name);           \
    }
#include "preload/calls.def"
#undef SMCD_CALL
        resolved.store(true, std::memory_order_release);
    }
    return table;
}

}  // namespace smcd::preload
