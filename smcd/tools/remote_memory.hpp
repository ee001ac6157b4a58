// Reads the memory of another process without stopping it. Floor 4, no protocol.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "smcd/base/result.hpp"

namespace smcd::tools {

/// Fills `out` from `address` of the process, or says why not: ESRCH gone, EPERM not allowed,
/// EFAULT not mapped (also a mapping that is longer than its file). The bytes may change while they
/// are copied. Blocks: as long as the kernel needs to bring the pages in, which the other process
/// can delay; see ScanWatchdog.
[[nodiscard]] Result<void> read_memory(pid_t pid, std::uint64_t address, std::span<std::byte> out);

/// Ends this program by SIGALRM's default action if it still exists after `seconds`. A process that
/// is inspected can delay page faults at will (userfaultfd), and only a fatal signal interrupts
/// that wait.
class ScanWatchdog {
public:
    explicit ScanWatchdog(unsigned seconds) noexcept;
    ScanWatchdog(const ScanWatchdog&) = delete;
    ScanWatchdog& operator=(const ScanWatchdog&) = delete;
    ~ScanWatchdog();
};

} // namespace smcd::tools
