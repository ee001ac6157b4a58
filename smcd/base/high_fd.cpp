// Moves hidden descriptors out of the application's way. Floor 0.
#include "smcd/base/high_fd.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "smcd/base/hidden_fds.hpp"
#include "smcd/base/limits.hpp"
#include "smcd/base/raw_syscall.hpp"

namespace smcd {
namespace {

constexpr std::uint64_t kSmallTable = 1024;

// fcntl() is an interposed name inside the preloaded library, hence the raw call.
Result<UniqueFd> keep_with_cloexec(UniqueFd fd) noexcept {
    const long flags = raw::fcntl(fd.get(), F_GETFD);
    if (flags < 0 || raw::fcntl(fd.get(), F_SETFD, flags | FD_CLOEXEC) < 0) {
        return errno_error();
    }
    hide_fd(fd.get());
    return fd;
}

} // namespace

int high_fd_base(std::uint64_t soft_limit) noexcept {
    const std::uint64_t reserve =
        soft_limit <= kSmallTable ? kHighFdReserveSmall : kHighFdReserveLarge;
    if (soft_limit <= reserve) {
        return 0;
    }
    return static_cast<int>(std::min<std::uint64_t>(soft_limit - reserve, kHighFdBaseMax));
}

Result<UniqueFd> lift_fd(UniqueFd fd) noexcept {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return keep_with_cloexec(std::move(fd));
    }
    const int base = high_fd_base(limit.rlim_cur);
    if (base == 0 || fd.get() >= base) {
        return keep_with_cloexec(std::move(fd));
    }
    const long lifted = raw::fcntl(fd.get(), F_DUPFD_CLOEXEC, base);
    if (lifted < 0) {
        return keep_with_cloexec(std::move(fd));
    }
    hide_fd(static_cast<int>(lifted));
    return UniqueFd(static_cast<int>(lifted));
}

} // namespace smcd
