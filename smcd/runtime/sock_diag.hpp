// SockDiag: asks the kernel about one TCP socket of this network namespace by address ("get one"). Floor 3.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <mutex>
#include <vector>

#include "smcd/base/result.hpp"
#include "smcd/base/unique_fd.hpp"

namespace smcd {

/// An address and port of TCP; IPv4-mapped IPv6 addresses are kept as IPv4.
struct TcpAddress {
    int family = AF_UNSPEC;      ///< AF_INET or AF_INET6; AF_UNSPEC: not a TCP address
    std::uint16_t port_be = 0;
    std::uint32_t address_be[4] = {0, 0, 0, 0};

    static TcpAddress from(const sockaddr* address, socklen_t length) noexcept;
    /// One end of a socket, by getsockname() or getpeername(); AF_UNSPEC where the call fails.
    template <typename Call>
    static TcpAddress of(int fd, Call&& call) noexcept {
        sockaddr_storage name{};
        socklen_t length = sizeof(name);
        const bool known = call(fd, reinterpret_cast<sockaddr*>(&name), &length) == 0;
        return known ? from(reinterpret_cast<const sockaddr*>(&name), length) : TcpAddress{};
    }
    [[nodiscard]] bool is_loopback() const noexcept;
    friend bool operator==(const TcpAddress&, const TcpAddress&) noexcept = default;
};

struct DiagSocket {
    std::uint8_t state = 0; ///< kernel's TCP state number
    std::uint32_t inode = 0;
    std::uint32_t uid = 0;
};
inline constexpr std::uint8_t kTcpListen = 10;

/// Any thread; one query at a time. About 2 us each, no dump.
class SockDiag {
public:
    /// The socket that would receive a segment to `to` from `from` (nullptr: a SYN from anywhere, finds listeners).
    /// ENOENT: none. Other errors: sock_diag is not available here.
    Result<DiagSocket> find(const TcpAddress& to, const TcpAddress* from);
    /// Inodes of all listeners on that port (for SO_REUSEPORT groups). A dump.
    Result<std::vector<std::uint32_t>> listeners_on_port(int family, std::uint16_t port_be);

    void after_fork_in_child() noexcept;
    std::mutex& mutex() noexcept { return mutex_; }

private:
    Result<void> open();
    Result<void> send_request(const TcpAddress& to, const TcpAddress* from, bool dump);

    std::mutex mutex_;
    UniqueFd fd_;
    std::uint32_t sequence_ = 0;
};

}  // namespace smcd
