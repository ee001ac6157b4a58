// KernelIdentity: which kernel and which namespaces this process lives in. Floor 0.
//
// /proc tells it, and a program that has called chroot() has no /proc any more; it keeps what it saw before.
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace smcd {

struct KernelIdentity {
    bool known = false; ///< otherwise the rest is zero
    std::array<char, 36> boot_id{};
    std::uint64_t net_device = 0; ///< network namespace: device and inode of /proc/self/ns/net
    std::uint64_t net_inode = 0;
    std::uint32_t pid_inode = 0;  ///< PID namespace
};

/// What /proc tells now; where it tells nothing, what it told at the first call. Thread: any; four system calls.
[[nodiscard]] KernelIdentity kernel_identity() noexcept;

/// FNV-1a of the boot id, for names of this kernel.
[[nodiscard]] std::uint64_t boot_hash(const KernelIdentity& identity) noexcept;

}  // namespace smcd
