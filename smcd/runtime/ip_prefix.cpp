#include "smcd/runtime/ip_prefix.hpp"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <linux/if_vlan.h>
#include <linux/sockios.h>
#include <netinet/in.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>

#include "smcd/base/raw_syscall.hpp"
#include "smcd/runtime/sock_diag.hpp"

namespace smcd {
namespace {

TcpAddress address_of(const sockaddr* address) noexcept {
    if (address == nullptr) {
        return {};
    }
    const bool v4 = address->sa_family == AF_INET;
    return v4 || address->sa_family == AF_INET6
               ? TcpAddress::from(address, v4 ? sizeof(sockaddr_in) : sizeof(sockaddr_in6))
               : TcpAddress{};
}

/// The interface that has the address; nullptr: none.
const ifaddrs* find_interface(const ifaddrs* list, const TcpAddress& own) noexcept {
    for (const ifaddrs* item = list; item != nullptr; item = item->ifa_next) {
        TcpAddress address = address_of(item->ifa_addr);
        address.port_be = own.port_be;
        if (address.family != AF_UNSPEC && item->ifa_netmask != nullptr && address == own) {
            return item;
        }
    }
    return nullptr;
}

/// The VLAN whose interface this is; 0: of none. false: that cannot be found out.
bool read_vlan(int fd, const char* interface, std::uint16_t& id) noexcept {
    vlan_ioctl_args question{};
    question.cmd = GET_VLAN_VID_CMD;
    if (std::strlen(interface) >= sizeof(question.device1)) {
        return false;
    }
    std::strcpy(question.device1, interface);
    if (raw::ioctl(fd, SIOCGIFVLAN, &question) == 0) {
        id = static_cast<std::uint16_t>(question.u.VID);
        return true;
    }
    return errno != ENODEV && errno != EPERM && errno != EACCES; // no VLAN, or a kernel without any
}

void take_ipv4(const ifaddrs& item, clc::Version1& v1) noexcept {
    const std::uint32_t mask =
        ntohl(reinterpret_cast<const sockaddr_in*>(item.ifa_netmask)->sin_addr.s_addr);
    v1.ipv4_subnet =
        ntohl(reinterpret_cast<const sockaddr_in*>(item.ifa_addr)->sin_addr.s_addr) & mask;
    v1.ipv4_prefix_length = static_cast<std::uint8_t>(std::popcount(mask));
}

void take_ipv6(const ifaddrs& item, clc::Version1& v1) noexcept {
    const auto& address = reinterpret_cast<const sockaddr_in6*>(item.ifa_addr)->sin6_addr;
    const auto& mask = reinterpret_cast<const sockaddr_in6*>(item.ifa_netmask)->sin6_addr;
    if (IN6_IS_ADDR_LINKLOCAL(&address)) {
        return;
    }
    clc::Ipv6Prefix prefix;
    for (std::size_t i = 0; i < prefix.prefix.size(); ++i) {
        prefix.prefix[i] = static_cast<std::byte>(address.s6_addr[i] & mask.s6_addr[i]);
        prefix.length = static_cast<std::uint8_t>(
            prefix.length + std::popcount(static_cast<unsigned>(mask.s6_addr[i])));
    }
    v1.ipv6_prefixes.add(prefix);
}

} // namespace

bool read_prefixes(int fd, clc::Version1& v1) {
    sockaddr_storage name{};
    socklen_t length = sizeof(name);
    ifaddrs* list = nullptr;
    if (raw::getsockname(fd, reinterpret_cast<sockaddr*>(&name), &length) != 0 ||
        ::getifaddrs(&list) != 0) {
        return false;
    }
    const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> owner(list, ::freeifaddrs);
    const TcpAddress own = TcpAddress::from(reinterpret_cast<const sockaddr*>(&name), length);
    const ifaddrs* interface = find_interface(list, own);
    if (interface == nullptr) {
        return false;
    }
    v1.vlan_known = read_vlan(fd, interface->ifa_name, v1.vlan);
    if (interface->ifa_addr->sa_family == AF_INET) {
        take_ipv4(*interface, v1);
        return true;
    }
    for (const ifaddrs* item = list; item != nullptr; item = item->ifa_next) {
        if (item->ifa_addr != nullptr && item->ifa_addr->sa_family == AF_INET6 &&
            item->ifa_netmask != nullptr &&
            std::string_view(item->ifa_name) == interface->ifa_name) {
            take_ipv6(*item, v1);
        }
    }
    return v1.ipv6_prefixes.count > 0;
}

} // namespace smcd
