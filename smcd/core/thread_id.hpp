// The kernel's id of the calling thread, cached. Floor 2.
#pragma once

#include <cstdint>

namespace smcd {

/// 0: not asked for yet. The model costs one instruction in place of a call, and needs a few bytes of the static TLS block:
/// what is there at the start, or the reserve that the loader keeps for dlopen().
extern constinit thread_local std::uint32_t cached_thread_id [[gnu::tls_model("initial-exec")]];
std::uint32_t ask_thread_id() noexcept;

/// Never 0. One load after the first call of a thread; async-signal-safe.
[[nodiscard]] inline std::uint32_t thread_id() noexcept {
    const std::uint32_t id = cached_thread_id;
    return id != 0 ? id : ask_thread_id();
}

/// Must run in the child after fork(): the calling thread has a new id there.
void reset_thread_id() noexcept;

}  // namespace smcd
