// What stands behind the opaque handles of <smcd/smcd.h>. Floor 4, docs/library.md.
#pragma once

#include <poll.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#include "smcd/include/smcd/smcd.h"
#include "smcd/runtime/process.hpp"
#include "smcd/runtime/stream.hpp"

struct smcd_ctx {
    explicit smcd_ctx(smcd::Config config) : process(std::move(config)) {}

    smcd::Process process;
    std::mutex mutex;
    std::vector<smcd_sock*> socks; ///< open ones, under the mutex
};

namespace smcd::library {

/// Bytes on their way between the application and TCP where a zero-copy call meets a connection
/// without a ring.
struct Bounce {
    static constexpr std::size_t kBytes = 65536;
    std::unique_ptr<std::byte[]> memory;
    std::size_t begin = 0; ///< unread, or unsent, bytes: [begin, end)
    std::size_t end = 0;

    [[nodiscard]] std::size_t size() const noexcept { return end - begin; }

    [[nodiscard]] bool empty() const noexcept { return begin == end; }

    /// false: there is none.
    [[nodiscard]] bool make_memory() noexcept {
        if (memory == nullptr) {
            memory.reset(new (std::nothrow) std::byte[kBytes]);
        }
        return memory != nullptr;
    }
};

enum class Reserved { nothing, ring, bounce };

/// The sending side's zero-copy state; one thread at a time.
struct SendState {
    Reserved reserved = Reserved::nothing;
    TxPath::Reservation ring; ///< of the ring, while `reserved` says so
    std::size_t deferred = 0; ///< its first bytes, copied by sends with MSG_MORE, not published
    std::size_t row_end = 0;  ///< up to here a row of MSG_MORE fits without a further look
    std::size_t room = 0;     ///< bytes that the spans hold; they outlive the reservation
    Bounce bounce;            ///< TCP: unsent bytes, and the space behind them
};

} // namespace smcd::library

struct smcd_sock {
    smcd_sock(smcd_ctx& context, smcd::Socket& inner, int number) noexcept
        : ctx(&context), socket(&inner), fd(number) {}

    smcd_ctx* ctx;
    smcd::Socket* socket;
    int fd;
    smcd::library::SendState tx;
    smcd::library::Bounce rx; ///< TCP: bytes that a peek has taken off the socket
    std::size_t rx_skip =
        0; ///< bytes consumed in a ring that was frozen meanwhile: they come again
    // Readiness, for smcd_get_event_fd().
    int set_fd = -1; ///< epoll set of the doorbell and, on TCP, of the socket
    int door = -1;
    bool tcp_in_set = false;

    [[nodiscard]] smcd::Process& process() const noexcept { return ctx->process; }

    [[nodiscard]] bool non_blocking(int flags) const noexcept {
        return (flags & MSG_DONTWAIT) != 0 || socket->is_non_blocking();
    }
};

namespace smcd::library {

/// -errno -> -1 with errno; anything else as it is.
template <typename T>
T finish(T value) noexcept {
    if (value < 0) {
        errno = static_cast<int>(-value);
        return -1;
    }
    return value;
}

inline ssize_t refuse(int error) noexcept {
    return -static_cast<ssize_t>(error);
}

/// Wraps a descriptor and its Socket; registers with the context. nullptr (ENOMEM): both are
/// closed.
smcd_sock* adopt(smcd_ctx& ctx, Socket& inner, int fd) noexcept;

/// The ring or TCP, whichever the connection is on. n or -errno.
ssize_t plain_send(smcd_sock& sock, std::span<const iovec> parts, int flags) noexcept;
ssize_t plain_receive(smcd_sock& sock, std::span<const iovec> parts, int flags) noexcept;

/// Whether flush_deferred() has anything to do.
inline bool has_deferred(const smcd_sock& sock) noexcept {
    return sock.tx.deferred != 0 || !sock.tx.bounce.empty();
}

/// Brings deferred bytes of the sending side on their way. 0, or -errno (EAGAIN: non-blocking, some
/// are left).
ssize_t flush_deferred(smcd_sock& sock, int flags) noexcept;

/// poll() mask as the socket's phase has it, the kernel's share included.
short ready_mask(smcd_sock& sock, short wanted) noexcept;

/// Asks the peer, and this process, to ring the doorbell at news of `wanted`.
void arm(smcd_sock& sock, short wanted, unsigned door) noexcept;

/// Gives back what smcd_get_event_fd() took.
void close_event_fd(smcd_sock& sock) noexcept;

} // namespace smcd::library
