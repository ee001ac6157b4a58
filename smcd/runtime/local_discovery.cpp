#include "smcd/runtime/local_discovery.hpp"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstddef>
#include <cstdio>
#include <cstring>

#include "smcd/base/high_fd.hpp"
#include "smcd/base/raw_syscall.hpp"

namespace smcd {
namespace {

constexpr int kMarkTos = 0x1C; ///< DSCP 000111: "local use" pool (xxxx11), ECN bits zero
constexpr int kOtherNetworkTos = 0x3C; ///< DSCP 001111, of the same pool
constexpr int kDscpMask = 0xFC;

struct BeaconName {
    sockaddr_un address{};
    socklen_t length = 0;

    BeaconName(char kind, std::uint32_t inode) noexcept {
        address.sun_family = AF_UNIX;
        // sun_path[0] stays 0: abstract namespace, nothing to clean up.
        const int n = std::snprintf(address.sun_path + 1,
                                    sizeof(address.sun_path) - 1,
                                    "smcd/%c/%u",
                                    kind,
                                    inode);
        length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 +
                                        static_cast<std::size_t>(n));
    }
};

int int_option(int fd, int level, int name, int fallback) noexcept {
    int value = 0;
    socklen_t length = sizeof(value);
    return raw::getsockopt(fd, level, name, &value, &length) == 0 ? value : fallback;
}

/// DSCP octet of a saved SYN, or -1.
int syn_tos(const unsigned char* syn, socklen_t length) noexcept {
    if (length >= 20 && (syn[0] >> 4U) == 4) {
        return syn[1];
    }
    if (length >= 40 && (syn[0] >> 4U) == 6) {
        return ((syn[0] & 0x0FU) << 4U) | (syn[1] >> 4U);
    }
    return -1;
}

constexpr char kPlain = 'l';
constexpr char kGroup = 'g';

}  // namespace

bool LocalDiscovery::has_beacon(char kind, std::uint32_t inode) {
    const std::lock_guard guard(beacon_mutex_);
    if (!beacon_probe_.valid()) {
        auto lifted = lift_fd(UniqueFd(raw::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)));
        if (!lifted) {
            return false;
        }
        beacon_probe_ = *std::move(lifted);
    }
    const BeaconName name(kind, inode);
    return raw::connect(beacon_probe_.get(),
                        reinterpret_cast<const sockaddr*>(&name.address),
                        name.length) == 0;
}

/// A SYN may reach any member of a SO_REUSEPORT group: all of them must speak SMC.
Reason LocalDiscovery::check_group(const TcpAddress& to) {
    for (const int family : {AF_INET, AF_INET6}) {
        const auto inodes = diag_.listeners_on_port(family, to.port_be);
        if (!inodes) {
            return Reason::discovery_unavailable;
        }
        for (const std::uint32_t inode : *inodes) {
            if (!has_beacon(kGroup, inode)) {
                return Reason::listener_group_mixed;
            }
        }
    }
    return Reason::none;
}

Reason LocalDiscovery::probe(const sockaddr* address, socklen_t length, bool& beyond) {
    beyond = false;
    const TcpAddress to = TcpAddress::from(address, length);
    if (to.family == AF_UNSPEC) {
        return Reason::not_local;
    }
    const auto listener = diag_.find(to, nullptr);
    if (!listener) {
        return listener.error() == std::errc::no_such_file_or_directory
                   ? Reason::not_local
                   : Reason::discovery_unavailable;
    }
    if (listener->state != kTcpListen) {
        return Reason::not_local;
    }
    if (has_beacon(kPlain, listener->inode)) {
        return Reason::none;
    }
    if (has_beacon(kGroup, listener->inode)) {
        return check_group(to);
    }
    return Reason::peer_no_smc;
}

DiscoveryMark LocalDiscovery::mark(int fd, MarkKind kind) {
    DiscoveryMark mark;
    const int value = kind == MarkKind::proposal ? kMarkTos : kOtherNetworkTos;
    // An AF_INET6 socket may turn out to carry IPv4 (mapped addresses): both octets are set.
    mark.tos = int_option(fd, IPPROTO_IP, IP_TOS, -1);
    if (mark.tos >= 0 &&
        raw::setsockopt(fd, IPPROTO_IP, IP_TOS, &value, sizeof(value)) == 0) {
        mark.set = true;
    }
    mark.tclass = int_option(fd, IPPROTO_IPV6, IPV6_TCLASS, -1);
    if (mark.tclass >= 0 &&
        raw::setsockopt(fd, IPPROTO_IPV6, IPV6_TCLASS, &value, sizeof(value)) == 0) {
        mark.set = true;
    }
    return mark;
}

void LocalDiscovery::unmark(int fd, const DiscoveryMark& mark) {
    if (mark.tos >= 0) {
        raw::setsockopt(fd, IPPROTO_IP, IP_TOS, &mark.tos, sizeof(mark.tos));
    }
    if (mark.tclass >= 0) {
        raw::setsockopt(fd, IPPROTO_IPV6, IPV6_TCLASS, &mark.tclass, sizeof(mark.tclass));
    }
}

Reason LocalDiscovery::confirm(int fd, bool /*beyond*/) {
    const TcpAddress from = TcpAddress::of(fd, raw::getsockname);
    const TcpAddress to = TcpAddress::of(fd, raw::getpeername);
    if (from.family == AF_UNSPEC || to.family == AF_UNSPEC) {
        return Reason::not_local;
    }
    if (from == to) {
        return Reason::self_connect;
    }
    const auto server_end = diag_.find(to, &from);
    if (!server_end || server_end->state == kTcpListen) {
        return Reason::not_local;
    }
    return Reason::none;
}

Result<UniqueFd> LocalDiscovery::announce(int listen_fd) {
    struct stat info {};
    if (::fstat(listen_fd, &info) != 0) {
        return errno_error();
    }
    const int save = 1;
    if (raw::setsockopt(listen_fd, IPPROTO_TCP, TCP_SAVE_SYN, &save, sizeof(save)) != 0) {
        return errno_error();
    }
    SMCD_TRY(UniqueFd beacon, lift_fd(UniqueFd(raw::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0))));
    const bool group = int_option(listen_fd, SOL_SOCKET, SO_REUSEPORT, 0) != 0;
    const BeaconName name(group ? kGroup : kPlain, static_cast<std::uint32_t>(info.st_ino));
    if (raw::bind(beacon.get(), reinterpret_cast<const sockaddr*>(&name.address), name.length) != 0) {
        return errno_error();
    }
    return beacon;
}

Marked LocalDiscovery::is_marked(int accepted_fd) {
    unsigned char syn[128];
    socklen_t length = sizeof(syn);
    if (raw::getsockopt(accepted_fd, IPPROTO_TCP, TCP_SAVED_SYN, syn, &length) != 0 || length == 0) {
        return Marked::unknown;
    }
    const int tos = syn_tos(syn, length);
    if (tos >= 0 && (tos & kDscpMask) == kOtherNetworkTos) {
        return Marked::other_network;
    }
    return tos >= 0 && (tos & kDscpMask) == kMarkTos ? Marked::yes : Marked::no;
}

void LocalDiscovery::before_fork() {
    diag_.mutex().lock();
    beacon_mutex_.lock();
}

void LocalDiscovery::after_fork(bool in_child) {
    if (in_child) {
        // A shared netlink socket would mix up the answers of parent and child.
        diag_.after_fork_in_child();
        beacon_probe_.reset();
    }
    beacon_mutex_.unlock();
    diag_.mutex().unlock();
}

}  // namespace smcd
