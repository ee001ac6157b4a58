#include "smcd/runtime/sock_diag.hpp"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>

#include <array>
#include <cstring>

#include "smcd/base/high_fd.hpp"
#include "smcd/base/raw_syscall.hpp"

namespace smcd {
namespace {

struct Request {
    nlmsghdr header;
    inet_diag_req_v2 body;
};

constexpr std::size_t kReplyBytes = 16384;

}  // namespace

TcpAddress TcpAddress::from(const sockaddr* address, socklen_t length) noexcept {
    TcpAddress result;
    if (address == nullptr) {
        return result;
    }
    if (address->sa_family == AF_INET && length >= sizeof(sockaddr_in)) {
        sockaddr_in in{};
        std::memcpy(&in, address, sizeof(in));
        result.family = AF_INET;
        result.port_be = in.sin_port;
        // Connecting to 0.0.0.0 means this host.
        result.address_be[0] = in.sin_addr.s_addr == 0 ? htonl(INADDR_LOOPBACK) : in.sin_addr.s_addr;
    } else if (address->sa_family == AF_INET6 && length >= sizeof(sockaddr_in6)) {
        sockaddr_in6 in{};
        std::memcpy(&in, address, sizeof(in));
        result.port_be = in.sin6_port;
        if (IN6_IS_ADDR_V4MAPPED(&in.sin6_addr)) {
            result.family = AF_INET;
            std::memcpy(result.address_be, &in.sin6_addr.s6_addr[12], 4);
        } else {
            result.family = AF_INET6;
            const in6_addr any = IN6ADDR_ANY_INIT;
            const in6_addr loopback = IN6ADDR_LOOPBACK_INIT;
            const bool is_any = std::memcmp(&in.sin6_addr, &any, sizeof(any)) == 0;
            std::memcpy(result.address_be, is_any ? &loopback : &in.sin6_addr, 16);
        }
    }
    return result;
}

bool TcpAddress::is_loopback() const noexcept {
    if (family == AF_INET) {
        return (ntohl(address_be[0]) >> 24U) == 127;
    }
    const in6_addr loopback = IN6ADDR_LOOPBACK_INIT;
    return family == AF_INET6 && std::memcmp(address_be, &loopback, sizeof(loopback)) == 0;
}

Result<void> SockDiag::open() {
    if (fd_.valid()) {
        return {};
    }
    UniqueFd fd(raw::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
    if (!fd.valid()) {
        return errno_error();
    }
    const timeval patience{.tv_sec = 0, .tv_usec = 200'000};
    raw::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    SMCD_TRY(fd_, lift_fd(std::move(fd)));
    return {};
}

Result<void> SockDiag::send_request(const TcpAddress& to, const TcpAddress* from, bool dump) {
    SMCD_TRY_VOID(open());
    Request request{};
    request.header.nlmsg_len = sizeof(request);
    request.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
    request.header.nlmsg_flags =
        static_cast<std::uint16_t>(dump ? NLM_F_REQUEST | NLM_F_DUMP : NLM_F_REQUEST);
    request.header.nlmsg_seq = ++sequence_;
    request.body.sdiag_family = static_cast<std::uint8_t>(to.family);
    request.body.sdiag_protocol = IPPROTO_TCP;
    request.body.idiag_states = dump ? 1U << kTcpListen : ~0U;
    request.body.id.idiag_sport = to.port_be;
    std::memcpy(request.body.id.idiag_src, to.address_be, sizeof(to.address_be));
    if (from != nullptr) {
        request.body.id.idiag_dport = from->port_be;
        std::memcpy(request.body.id.idiag_dst, from->address_be, sizeof(from->address_be));
    }
    request.body.id.idiag_cookie[0] = INET_DIAG_NOCOOKIE;
    request.body.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
    if (raw::sendto(fd_.get(), &request, sizeof(request), 0, nullptr, 0) < 0) {
        return errno_error();
    }
    return {};
}

Result<DiagSocket> SockDiag::find(const TcpAddress& to, const TcpAddress* from) {
    const std::lock_guard guard(mutex_);
    SMCD_TRY_VOID(send_request(to, from, false));
    alignas(nlmsghdr) std::array<char, kReplyBytes> reply;
    for (;;) {
        const ssize_t n = raw::recvfrom(fd_.get(), reply.data(), reply.size(), 0, nullptr, nullptr);
        if (n < static_cast<ssize_t>(sizeof(nlmsghdr))) {
            return n < 0 ? errno_error() : Error(std::errc::protocol_error);
        }
        const auto* header = reinterpret_cast<const nlmsghdr*>(reply.data());
        if (header->nlmsg_seq != sequence_) {
            continue;  // the late answer to a query that was given up
        }
        if (header->nlmsg_type == NLMSG_ERROR) {
            const auto* error = static_cast<const nlmsgerr*>(NLMSG_DATA(header));
            return errno_error(-error->error);
        }
        if (header->nlmsg_len < NLMSG_LENGTH(sizeof(inet_diag_msg))) {
            return Error(std::errc::protocol_error);
        }
        const auto* found = static_cast<const inet_diag_msg*>(NLMSG_DATA(header));
        return DiagSocket{found->idiag_state, found->idiag_inode, found->idiag_uid};
    }
}

Result<std::vector<std::uint32_t>> SockDiag::listeners_on_port(int family, std::uint16_t port_be) {
    const std::lock_guard guard(mutex_);
    TcpAddress to;
    to.family = family;
    to.port_be = port_be;
    SMCD_TRY_VOID(send_request(to, nullptr, true));
    std::vector<std::uint32_t> inodes;
    alignas(nlmsghdr) std::array<char, kReplyBytes> reply;
    for (;;) {
        ssize_t n = raw::recvfrom(fd_.get(), reply.data(), reply.size(), 0, nullptr, nullptr);
        if (n < 0) {
            return errno_error();
        }
        auto rest = static_cast<unsigned>(n);
        for (auto* header = reinterpret_cast<nlmsghdr*>(reply.data()); NLMSG_OK(header, rest);
             header = NLMSG_NEXT(header, rest)) {
            if (header->nlmsg_seq != sequence_) {
                continue;
            }
            if (header->nlmsg_type == NLMSG_DONE || header->nlmsg_type == NLMSG_ERROR) {
                return inodes;
            }
            const auto* found = static_cast<const inet_diag_msg*>(NLMSG_DATA(header));
            if (found->id.idiag_sport == port_be) {
                inodes.push_back(found->idiag_inode);
            }
        }
    }
}

void SockDiag::after_fork_in_child() noexcept {
    fd_.reset();
}

}  // namespace smcd
