#include "preload/substitute.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <new>
#include <optional>
#include <span>

#include "smcd/base/raw_syscall.hpp"
#include "smcd/base/unique_fd.hpp"
#include "smcd/core/direction_lock.hpp"
#include "smcd/runtime/stream.hpp"

namespace smcd::preload {
namespace {

struct Pair {
    UniqueFd ours;   ///< to be filled and closed
    UniqueFd theirs; ///< for the application
};

struct Loopback {
    explicit Loopback(int domain) noexcept {
        if (domain == AF_INET6) {
            v6.sin6_family = AF_INET6;
            v6.sin6_addr = IN6ADDR_LOOPBACK_INIT;
        } else {
            v4.sin_family = AF_INET;
            v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        }
    }
    union {
        sockaddr any{};
        sockaddr_in v4;
        sockaddr_in6 v6;
    };
    socklen_t size = sizeof(sockaddr_in6);
};

std::optional<Pair> tcp_pair(int domain) noexcept {
    Loopback here(domain);
    const UniqueFd listener(raw::socket(domain, SOCK_STREAM | SOCK_CLOEXEC, 0));
    UniqueFd one(raw::socket(domain, SOCK_STREAM | SOCK_CLOEXEC, 0));
    here.size = domain == AF_INET6 ? sizeof(here.v6) : sizeof(here.v4);
    if (!listener.valid() || !one.valid() || raw::bind(listener.get(), &here.any, here.size) != 0 ||
        raw::listen(listener.get(), 1) != 0 ||
        raw::getsockname(listener.get(), &here.any, &here.size) != 0 ||
        raw::connect(one.get(), &here.any, here.size) != 0) {
        return {};
    }
    UniqueFd two(raw::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!two.valid()) {
        return {};
    }
    return Pair{std::move(two), std::move(one)};
}

/// Where there is no loopback interface, as in a new network namespace.
std::optional<Pair> unix_pair() noexcept {
    std::array<int, 2> fds{};
    if (raw::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()) != 0) {
        return {};
    }
    return Pair{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

std::optional<Pair> make_pair(int fd) noexcept {
    int domain = AF_INET;
    socklen_t length = sizeof(domain);
    raw::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length);
    auto pair = tcp_pair(domain);
    return pair ? std::move(pair) : unix_pair();
}

/// All of it at once, or nothing that matters: an unfinished pair is thrown away.
bool fill(int fd, const char* bytes, std::size_t count) noexcept {
    while (count > 0) {
        const ssize_t n = raw::send(fd, bytes, count, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n <= 0) {
            return false;
        }
        bytes += n;
        count -= static_cast<std::size_t>(n);
    }
    return true;
}

struct Option {
    int level;
    int name;
};

constexpr Option kOptions[] = {
    {SOL_SOCKET,  SO_RCVTIMEO     },
    {SOL_SOCKET,  SO_SNDTIMEO     },
    {SOL_SOCKET,  SO_LINGER       },
    {SOL_SOCKET,  SO_KEEPALIVE    },
    {SOL_SOCKET,  SO_REUSEADDR    },
    {SOL_SOCKET,  SO_REUSEPORT    },
    {SOL_SOCKET,  SO_PRIORITY     },
    {SOL_SOCKET,  SO_ZEROCOPY     },
    {IPPROTO_TCP, TCP_INQ         },
    {IPPROTO_TCP, TCP_NODELAY     },
    {IPPROTO_TCP, TCP_KEEPIDLE    },
    {IPPROTO_TCP, TCP_KEEPINTVL   },
    {IPPROTO_TCP, TCP_KEEPCNT     },
    {IPPROTO_TCP, TCP_USER_TIMEOUT},
};

void copy_settings(const Socket& socket, int to) noexcept {
    for (const auto& [level, name] : kOptions) {
        std::array<std::byte, sizeof(timeval)> value{};
        socklen_t length = value.size();
        if (raw::getsockopt(socket.fd, level, name, value.data(), &length) == 0) {
            raw::setsockopt(to, level, name, value.data(), length);
        }
    }
    const auto low_water = static_cast<int>(socket.low_water);
    raw::setsockopt(to, SOL_SOCKET, SO_RCVLOWAT, &low_water, sizeof(low_water));
    if (socket.is_non_blocking()) {
        raw::fcntl(to, F_SETFL, raw::fcntl(to, F_GETFL) | O_NONBLOCK);
    }
    if ((socket.block->flags.load(std::memory_order_acquire) & kFlagShutWrite) != 0) {
        raw::shutdown(to, SHUT_WR);
    }
}

/// A new connection could not show the error.
bool was_reset(const ConnBlock& block) noexcept {
    return (block.flags.load(std::memory_order_acquire) & kFlagReset) != 0 ||
           (block.rx.peer_flags.load(std::memory_order_acquire) & kPeerConnAbort) != 0;
}

std::uint64_t inode_of(int fd) noexcept {
    struct stat info {};
    return ::fstat(fd, &info) == 0 ? info.st_ino : 0;
}

/// Every number of this process (of a vfork child: its own) that is still the connection.
void replace_numbers(Shim& shim, const Socket& socket, int by, bool forget) noexcept {
    for (int fd = 0; fd < shim.table.end(); ++fd) {
        if (shim.table.socket(fd) != &socket || inode_of(fd) != socket.inode) {
            continue;
        }
        const int flags = raw::fcntl(fd, F_GETFD);
        if (forget) {
            shim.forget(fd);
        }
        raw::dup3(by, fd, (flags & FD_CLOEXEC) != 0 ? O_CLOEXEC : 0);
    }
}

/// Takes what is unread out of the ring and puts it into `to`. Another thread that reads meanwhile has its bytes before, or
/// waits: it would find the end while these are on their way. Unless relatives go on with the ring (`shared`), it goes by
/// the phase then. false: nothing is unread, or `to` does not take it; nothing has changed.
bool move_unread(Process& process, Socket& socket, std::span<char> space, int to, bool shared, bool stays) noexcept {
    // Our own calls below run inside this guard, as those of a signal handler would.
    const DirectionGuard reading(socket.live_block().rx.lock);
    const std::uint32_t unread = stream_unread(process, socket);
    const iovec whole{space.data(), std::min<std::size_t>(unread, space.size())};
    if (unread == 0 || !socket.accelerated() ||
        stream_receive(process, socket, {&whole, 1}, MSG_PEEK | MSG_DONTWAIT) != unread ||
        !fill(to, space.data(), unread)) {
        return false;
    }
    if (!stays) {
        static_cast<void>(stream_receive(process, socket, {&whole, 1}, MSG_DONTWAIT));
    }
    if (!shared) {
        socket.live_block().flags.fetch_or(kFlagFrozen, std::memory_order_acq_rel);
    }
    return true;
}

}  // namespace

bool substitute(Shim& shim, Socket& socket, Reason reason, bool for_relatives_too) noexcept {
    const int saved = errno;
    const auto give_up = [saved] {
        errno = saved;
        return false;
    };
    if (!socket.accelerated()) {
        return give_up();
    }
    const std::uint32_t most = stream_unread(shim.process, socket); // and what the peer has said last
    const std::unique_ptr<char[]> bytes(new (std::nothrow) char[most + 1]);
    auto pair = make_pair(socket.fd);
    if (was_reset(*socket.block) || bytes == nullptr || !pair) {
        return give_up();
    }
    // Relatives keep their numbers and the connection.
    const bool vfork_child = shim.in_vfork_child();
    const bool shared = vfork_child || socket.block->holders.load(std::memory_order_acquire) > 1;
    // Nobody takes what comes on the new descriptor for the peer's: the progress thread looks under this lock. Where
    // relatives have the connection, this process forgets it first.
    std::optional<DirectionGuard> deciding;
    if (!shared) {
        deciding.emplace(socket.live_block().handshake_lock);
    }
    if ((deciding && deciding->nested()) || !move_unread(shim.process, socket, {bytes.get(), most},
                                                               pair->ours.get(), shared, shared && for_relatives_too)) {
        return give_up();
    }
    copy_settings(socket, pair->theirs.get());
    if (!shared) {
        shim.process.progress().unwatch(socket);
    }
    replace_numbers(shim, socket, pair->theirs.get(), shared && !vfork_child);
    if (!shared) {
        socket.inode = inode_of(pair->theirs.get());
        shim.process.set_phase(socket, Phase::tcp, reason);
    }
    errno = saved;
    return true;
}

}  // namespace smcd::preload
