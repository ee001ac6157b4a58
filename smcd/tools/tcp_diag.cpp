#include "smcd/tools/tcp_diag.hpp"

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <utility>

#include "smcd/base/unique_fd.hpp"

namespace smcd::tools {
namespace {

struct Request {
    nlmsghdr header;
    inet_diag_req_v2 body;
};

/// What the kernel sends at most in one datagram of a dump.
constexpr std::size_t kDatagramBytes = 32768;

bool ask(int fd, int family) noexcept {
    Request request{};
    request.header.nlmsg_len = sizeof(request);
    request.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
    request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    request.body.sdiag_family = static_cast<std::uint8_t>(family);
    request.body.sdiag_protocol = IPPROTO_TCP;
    request.body.idiag_ext = 1U << (INET_DIAG_INFO - 1U);
    request.body.idiag_states = ~0U;
    return ::send(fd, &request, sizeof(request), 0) == static_cast<ssize_t>(sizeof(request));
}

/// Reads the tcp_info attribute behind an inet_diag_msg.
void read_info(const nlmsghdr& header, TcpSocket& socket) noexcept {
    const auto* message = static_cast<const char*>(NLMSG_DATA(&header));
    const char* at = message + NLMSG_ALIGN(sizeof(inet_diag_msg));
    const char* end = reinterpret_cast<const char*>(&header) + header.nlmsg_len;
    while (end - at >= static_cast<std::ptrdiff_t>(sizeof(rtattr))) {
        rtattr attribute{};
        std::memcpy(&attribute, at, sizeof(attribute));
        if (attribute.rta_len < sizeof(rtattr) || attribute.rta_len > end - at) {
            return;
        }
        constexpr std::size_t kNeeded = offsetof(tcp_info, tcpi_bytes_received) + sizeof(__u64);
        if (attribute.rta_type == INET_DIAG_INFO && attribute.rta_len >= RTA_LENGTH(kNeeded)) {
            tcp_info info{};
            std::memcpy(&info, at + RTA_LENGTH(0), kNeeded);
            socket.tx_bytes = info.tcpi_bytes_acked;
            socket.rx_bytes = info.tcpi_bytes_received;
            return;
        }
        at += RTA_ALIGN(attribute.rta_len);
    }
}

TcpSocket socket_of(const inet_diag_msg& message) {
    const bool is_v6 = message.idiag_family == AF_INET6;
    TcpSocket socket;
    socket.local = tcp_address_text(message.id.idiag_src, ntohs(message.id.idiag_sport), is_v6);
    socket.peer = tcp_address_text(message.id.idiag_dst, ntohs(message.id.idiag_dport), is_v6);
    socket.state = message.idiag_state;
    socket.uid = message.idiag_uid;
    socket.inode = message.idiag_inode;
    socket.interface = message.id.idiag_if;
    return socket;
}

enum class Dump { goes_on, complete, refused };

/// Takes one datagram apart.
Dump read_datagram(const char* data, std::size_t size, TcpTable& found) {
    const auto* header = reinterpret_cast<const nlmsghdr*>(data);
    for (auto left = static_cast<unsigned>(size); NLMSG_OK(header, left);
         header = NLMSG_NEXT(header, left)) {
        if (header->nlmsg_type == NLMSG_DONE) {
            return Dump::complete;
        }
        if (header->nlmsg_type == NLMSG_ERROR) {
            return Dump::refused;
        }
        inet_diag_msg message{};
        if (header->nlmsg_len < NLMSG_LENGTH(sizeof(message))) {
            continue;
        }
        std::memcpy(&message, NLMSG_DATA(header), sizeof(message));
        if (message.idiag_inode != 0) {
            TcpSocket socket = socket_of(message);
            read_info(*header, socket);
            found.insert_or_assign(socket.inode, std::move(socket));
        }
    }
    return Dump::goes_on;
}

Dump read_dump(int fd, int family, TcpTable& found) {
    alignas(nlmsghdr) std::array<char, kDatagramBytes> buffer{};
    Dump dump = ask(fd, family) ? Dump::goes_on : Dump::refused;
    while (dump == Dump::goes_on) {
        const ssize_t n = ::recv(fd, buffer.data(), buffer.size(), 0);
        dump = n > 0 ? read_datagram(buffer.data(), static_cast<std::size_t>(n), found)
                     : Dump::refused;
    }
    return dump;
}

} // namespace

std::optional<TcpTable> read_tcp_diag() {
    const UniqueFd fd(::socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
    constexpr timeval kPatience{2, 0};
    if (!fd.valid() ||
        ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof(kPatience)) != 0) {
        return std::nullopt;
    }
    TcpTable found;
    if (read_dump(fd.get(), AF_INET, found) != Dump::complete) {
        return std::nullopt;
    }
    // Refused where the kernel has no IPv6: then it has no such sockets either.
    static_cast<void>(read_dump(fd.get(), AF_INET6, found));
    return found;
}

} // namespace smcd::tools
