// Random numbers for tokens and ids. Floor 0.
// Tokens keep accidents apart; who may share memory is decided by credentials, never by a token.
#pragma once

#include <cstdint>

namespace smcd {

/// Never 0. From getrandom(); where that is forbidden (seccomp) from the process's start-up entropy
/// mixed with time, pid and a counter. Thread: any. Async-signal-safe. Does not fail.
[[nodiscard]] std::uint64_t random_u64() noexcept;
[[nodiscard]] std::uint32_t random_u32() noexcept;

/// The fallback of random_u64() alone; for tests. May be 0.
[[nodiscard]] std::uint64_t weak_random_u64() noexcept;

} // namespace smcd
