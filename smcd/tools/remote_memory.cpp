#include "smcd/tools/remote_memory.hpp"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <csignal>
#include <string>

#include "smcd/base/unique_fd.hpp"

namespace smcd::tools {
namespace {

/// The same by /proc/PID/mem, for kernels and sandboxes without process_vm_readv().
Result<void> read_by_file(pid_t pid, std::uint64_t address, std::span<std::byte> out) {
    const std::string path = "/proc/" + std::to_string(pid) + "/mem";
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd.valid()) {
        return errno_error();
    }
    while (!out.empty()) {
        const ssize_t n = ::pread(fd.get(), out.data(), out.size(), static_cast<off_t>(address));
        if (n <= 0) {
            return n == 0 ? Error(std::errc::bad_address) : errno_error();
        }
        out = out.subspan(static_cast<std::size_t>(n));
        address += static_cast<std::uint64_t>(n);
    }
    return {};
}

} // namespace

Result<void> read_memory(pid_t pid, std::uint64_t address, std::span<std::byte> out) {
    const iovec local{out.data(), out.size()};
    // NOLINTNEXTLINE(performance-no-int-to-ptr): an address of another process, never followed here
    const iovec remote{reinterpret_cast<void*>(address), out.size()};
    const ssize_t n = ::process_vm_readv(pid, &local, 1, &remote, 1, 0);
    if (n == static_cast<ssize_t>(out.size())) {
        return {};
    }
    if (n >= 0) {
        return Error(std::errc::bad_address);
    }
    if (errno == EPERM || errno == ENOSYS) {
        return read_by_file(pid, address, out);
    }
    return errno_error();
}

ScanWatchdog::ScanWatchdog(unsigned seconds) noexcept {
    ::signal(SIGALRM, SIG_DFL); // NOLINT(cert-err33-c): cannot fail for SIGALRM
    ::alarm(seconds);
}

ScanWatchdog::~ScanWatchdog() {
    ::alarm(0);
}

} // namespace smcd::tools
