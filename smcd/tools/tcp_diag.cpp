#include "smcd/tools/tcp_bytes.hpp"

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cstddef>
#include <cstring>
#include <vector>

#include "smcd/base/unique_fd.hpp"
#include "smcd/tools/tcp_table.hpp"

namespace smcd::tools {
namespace {

using BytesByInode = std::unordered_map<std::uint64_t, TcpBytes>;

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
    request.body.idiag_states = ~(1U << kTcpListen);
    return ::send(fd, &request, sizeof(request), 0) == static_cast<ssize_t>(sizeof(request));
}

/// Reads the tcp_info attribute behind an inet_diag_msg.
void read_info(const nlmsghdr& header, TcpBytes& bytes) noexcept {
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
            bytes.tx = info.tcpi_bytes_acked;
            bytes.rx = info.tcpi_bytes_received;
            return;
        }
        at += RTA_ALIGN(attribute.rta_len);
    }
}

/// Takes one datagram apart. false: the dump is over.
bool read_datagram(const char* data, std::size_t size, BytesByInode& found) {
    const auto* header = reinterpret_cast<const nlmsghdr*>(data);
    for (auto left = static_cast<unsigned>(size); NLMSG_OK(header, left);
         header = NLMSG_NEXT(header, left)) {
        if (header->nlmsg_type == NLMSG_DONE || header->nlmsg_type == NLMSG_ERROR) {
            return false;
        }
        if (header->nlmsg_len < NLMSG_LENGTH(sizeof(inet_diag_msg))) {
            continue;
        }
        inet_diag_msg message{};
        std::memcpy(&message, NLMSG_DATA(header), sizeof(message));
        TcpBytes& bytes = found[message.idiag_inode];
        bytes.interface = message.id.idiag_if;
        read_info(*header, bytes);
    }
    return true;
}

} // namespace

BytesByInode read_tcp_bytes() {
    BytesByInode found;
    const UniqueFd fd(::socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
    constexpr timeval kPatience{2, 0};
    if (!fd.valid() ||
        ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof(kPatience)) != 0) {
        return found;
    }
    alignas(nlmsghdr) static thread_local char buffer[kDatagramBytes];
    for (const int family : {AF_INET, AF_INET6}) {
        bool more = ask(fd.get(), family);
        while (more) {
            const ssize_t n = ::recv(fd.get(), buffer, sizeof(buffer), 0);
            more = n > 0 && read_datagram(buffer, static_cast<std::size_t>(n), found);
        }
    }
    found.erase(0);
    return found;
}

} // namespace smcd::tools
