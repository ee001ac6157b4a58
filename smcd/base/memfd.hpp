// Sealed memory files: how we make the memory that peers share, and how we check what a peer sends
// us. Floor 0. The check stands between a hostile descriptor and mmap(): what passes cannot raise
// SIGBUS (docs/shared-memory.md).
#pragma once

#include <cstddef>

#include "smcd/base/result.hpp"
#include "smcd/base/unique_fd.hpp"

namespace smcd {

/// Gives a new memory file its size. Errors: EFBIG where RLIMIT_FSIZE forbids it (ftruncate() would raise
/// SIGXFSZ), those of ftruncate().
[[nodiscard]] Result<void> size_memfd(int fd, std::size_t size_bytes) noexcept;

/// A memfd of exactly size_bytes (1 .. kMemfdBytesMax), zeroed, CLOEXEC, not sealed yet.
/// Errors: EINVAL (size), those of memfd_create() and size_memfd().
[[nodiscard]] Result<UniqueFd> create_memfd(const char* name, std::size_t size_bytes) noexcept;

/// Fixes the size for good: seals SHRINK, GROW and SEAL, and extra_seals (such as
/// F_SEAL_FUTURE_WRITE) with them.
[[nodiscard]] Result<void> seal_memfd(int fd, int extra_seals = 0) noexcept;

/// create_memfd() and seal_memfd() in one step.
[[nodiscard]] Result<UniqueFd> create_sealed_memfd(const char* name,
                                                   std::size_t size_bytes) noexcept;

/// Whether a received descriptor is a regular file on tmpfs, sealed SHRINK|GROW|SEAL, of exactly
/// size_bytes. Nothing less will do: hugetlb files answer F_GET_SEALS too, and an unsealed file can
/// be truncated under our mapping. Mapping it may still fail (EPERM when the peer added write
/// seals). Errors: Errc::unsafe_memory for a descriptor that fails the check; EBADF when it is not
/// open.
[[nodiscard]] Result<void> check_sealed_memfd(int fd, std::size_t size_bytes) noexcept;

} // namespace smcd
