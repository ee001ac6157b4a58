// Attachment points: where the memory of a region comes from. Floor 2, docs/shared-memory.md
// "regions".
//
//   a plain file, a devdax node       the path
//   a PCI function of QEMU's ivshmem  ".../resource2" below /sys/bus/pci, or "pci" for the first
//   one a fabric server                   the path of its UNIX socket: memory and doorbells come
//   over it
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "devices/ivshmem/server_link.hpp"
#include "smcd/base/mapping.hpp"
#include "smcd/base/result.hpp"
#include "smcd/base/unique_fd.hpp"

namespace smcd::dev::ivshmem {

struct AttachPoint {
    UniqueFd file; ///< the memory
    std::uint64_t bytes = 0;
    ServerLink server; ///< connected when a server gave the memory
    Mapping registers; ///< BAR0, in a guest with a doorbell
    bool device_memory = false;
};

/// Opens it; a fabric server is waited for, at most two seconds. Errors: ENOENT (no such path, no
/// such PCI function), EINVAL (not memory), EACCES (a server of another user, neither us nor root),
/// Errc::unsafe_memory (what a server sent can shrink), EPROTO (it does not speak ivshmem), those
/// of open() and connect().
[[nodiscard]] Result<AttachPoint> open_attach_point(const std::string& path);

/// Path of the memory of the first ivshmem function below `pci_root`; ENOENT: there is none.
[[nodiscard]] Result<std::string> find_pci_memory(const std::string& pci_root);

/// Our ivshmem id, from BAR0.
[[nodiscard]] std::uint32_t read_own_id(const Mapping& registers) noexcept;

/// Rings vector 0 of the peer with that ivshmem id through BAR0.
void ring_register(const Mapping& registers, std::uint32_t ivshmem_id) noexcept;

} // namespace smcd::dev::ivshmem
