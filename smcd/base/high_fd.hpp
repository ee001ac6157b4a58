// High descriptors: our hidden descriptors live above the numbers that an application uses. Floor
// 0. A program may count on the lowest free number, close a range, or put a low number into an
// fd_set.
#pragma once

#include <cstdint>

#include "smcd/base/result.hpp"
#include "smcd/base/unique_fd.hpp"

namespace smcd {

/// First number for hidden descriptors under that soft RLIMIT_NOFILE: limit - 128 for limits up to
/// 1024, else min(limit - 256, 8192). 0: the table is too small to set numbers apart.
[[nodiscard]] int high_fd_base(std::uint64_t soft_limit) noexcept;

/// Moves a descriptor to a number at or above the base, with CLOEXEC, and hides it (hidden_fds.hpp). Where that fails (table full,
/// limit lowered) the descriptor keeps its number and gets CLOEXEC. Thread: any. Async-signal-safe;
/// raw system calls only. Errors: EBADF (not an open descriptor).
[[nodiscard]] Result<UniqueFd> lift_fd(UniqueFd fd) noexcept;

} // namespace smcd
