// What every exported function does first and last. Floor 4.
#pragma once

#include <cerrno>
#include <utility>

#include "preload/calls/calls.hpp"
#include "smcd/runtime/stream.hpp"

#define SMCD_EXPORT extern "C" __attribute__((visibility("default")))

namespace smcd::preload {

/// The last step of a call: -errno becomes -1 and errno; errno is untouched on success.
inline ssize_t finish(ssize_t value) noexcept {
    if (value < 0) [[unlikely]] {
        errno = static_cast<int>(-value);
        return -1;
    }
    return value;
}

inline int finish_int(ssize_t value) noexcept {
    return static_cast<int>(finish(value));
}

/// Keeps errno as the caller had it across our bookkeeping.
class ErrnoKeeper {
public:
    ErrnoKeeper() noexcept : saved_(errno) {}
    ~ErrnoKeeper() { errno = saved_; }
    ErrnoKeeper(const ErrnoKeeper&) = delete;
    ErrnoKeeper& operator=(const ErrnoKeeper&) = delete;

private:
    int saved_;
};

/// The connection that a data call must take to us, or nullptr: one load and a few branches.
inline Socket* served(int fd) noexcept {
    Shim* self = shim();
    return self == nullptr ? nullptr : self->table.active(fd);
}

/// Whether the number is by now a connection whose bytes are not TCP's: another one than that which has gone there, as none comes
/// back.
inline bool is_ours_again(int fd) noexcept {
    const Socket* const socket = served(fd);
    const Phase phase = socket == nullptr ? Phase::tcp : socket->phase();
    return phase == Phase::smc || phase == Phase::connecting || phase == Phase::handshake;
}

/// Runs `ours` for a connection of ours; `real` when it is none, or has returned to TCP meanwhile. kUseTcp of a connection that
/// another thread has closed in between: its number may be another's, which is looked up.
template <typename Ours, typename Real>
inline ssize_t dispatch(int fd, Ours&& ours, Real&& real) {
    for (;;) {
        Socket* socket = served(fd);
        if (socket == nullptr) [[likely]] {
            return real();
        }
        const int saved = errno;
        const ssize_t value = ours(*shim(), *socket);
        if (value == kUseTcp) [[unlikely]] {
            if (is_ours_again(fd)) {
                continue;
            }
            return real();
        }
        errno = saved;
        return finish(value);
    }
}

}  // namespace smcd::preload
