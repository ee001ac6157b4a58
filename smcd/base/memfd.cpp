// Creating and checking sealed memory files. Floor 0.
#include "smcd/base/memfd.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/memfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "smcd/base/error.hpp"
#include "smcd/base/limits.hpp"
#include "smcd/base/raw_syscall.hpp"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

namespace smcd {
namespace {

constexpr int kSizeSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

// Hosts with vm.memfd_noexec=2 refuse memory files that could be executed; kernels before 6.3
// refuse the flag.
long open_memfd(const char* name) noexcept {
    constexpr unsigned kFlags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    const long fd = ::syscall(SYS_memfd_create, name, kFlags | MFD_NOEXEC_SEAL);
    if (fd >= 0 || errno != EINVAL) {
        return fd;
    }
    return ::syscall(SYS_memfd_create, name, kFlags);
}

} // namespace

Result<void> size_memfd(int fd, std::size_t size_bytes) noexcept {
    rlimit limit{};
    if (::getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < size_bytes) {
        return Error(std::errc::file_too_large); // the kernel would kill us for trying
    }
    if (::ftruncate(fd, static_cast<off_t>(size_bytes)) != 0) {
        return errno_error();
    }
    return {};
}

Result<UniqueFd> create_memfd(const char* name, std::size_t size_bytes) noexcept {
    if (size_bytes == 0 || size_bytes > kMemfdBytesMax) {
        return Error(std::errc::invalid_argument);
    }
    const long raw = open_memfd(name);
    if (raw < 0) {
        return errno_error();
    }
    UniqueFd fd(static_cast<int>(raw));
    SMCD_TRY_VOID(size_memfd(fd.get(), size_bytes));
    return fd;
}

Result<void> seal_memfd(int fd, int extra_seals) noexcept {
    if (raw::fcntl(fd, F_ADD_SEALS, kSizeSeals | extra_seals) != 0) {
        return errno_error();
    }
    return {};
}

Result<UniqueFd> create_sealed_memfd(const char* name, std::size_t size_bytes) noexcept {
    SMCD_TRY(UniqueFd fd, create_memfd(name, size_bytes));
    SMCD_TRY_VOID(seal_memfd(fd.get()));
    return fd;
}

Result<void> check_sealed_memfd(int fd, std::size_t size_bytes) noexcept {
    struct stat file {};

    struct statfs filesystem {};

    if (::fstat(fd, &file) != 0 || ::fstatfs(fd, &filesystem) != 0) {
        return errno_error();
    }
    if (!S_ISREG(file.st_mode) || filesystem.f_type != TMPFS_MAGIC) {
        return engine_error(Errc::unsafe_memory);
    }
    // Seals before size: once they are seen, the size cannot change any more.
    const long seals = raw::fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & kSizeSeals) != kSizeSeals) {
        return engine_error(Errc::unsafe_memory);
    }
    if (::fstat(fd, &file) != 0) {
        return errno_error();
    }
    if (file.st_size < 0 || static_cast<std::size_t>(file.st_size) != size_bytes) {
        return engine_error(Errc::unsafe_memory);
    }
    return {};
}

} // namespace smcd
