// Helpers of the tests of smcd/base: what is open, and under which limits. Floor 4.
#pragma once

#include <fcntl.h>
#include <sys/resource.h>

#include "smcd/base/unique_fd.hpp"

namespace smcd::test {

[[nodiscard]] inline bool is_open(int fd) {
    return ::fcntl(fd, F_GETFD) >= 0;
}

[[nodiscard]] inline bool has_cloexec(int fd) {
    return (::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0;
}

/// Some open descriptor without CLOEXEC.
[[nodiscard]] inline UniqueFd open_null() {
    return UniqueFd(::open("/dev/null", O_RDWR));
}

/// Sets the soft limit of open descriptors and restores it when it goes.
class SoftFdLimit {
public:
    explicit SoftFdLimit(rlim_t soft) {
        ::getrlimit(RLIMIT_NOFILE, &saved_);
        const rlimit changed{soft, saved_.rlim_max};
        applied_ = ::setrlimit(RLIMIT_NOFILE, &changed) == 0;
    }

    SoftFdLimit(const SoftFdLimit&) = delete;
    SoftFdLimit& operator=(const SoftFdLimit&) = delete;

    ~SoftFdLimit() { ::setrlimit(RLIMIT_NOFILE, &saved_); }

    [[nodiscard]] bool applied() const { return applied_; }

private:
    rlimit saved_{};
    bool applied_ = false;
};

} // namespace smcd::test
