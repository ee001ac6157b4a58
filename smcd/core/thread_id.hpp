// The kernel's id of the calling thread, cached. Floor 2.
#pragma once

#include <cstdint>

namespace smcd {

/// Never 0. One load after the first call of a thread; async-signal-safe.
[[nodiscard]] std::uint32_t thread_id() noexcept;

/// Must run in the child after fork(): the calling thread has a new id there.
void reset_thread_id() noexcept;

}  // namespace smcd
