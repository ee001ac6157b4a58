#include "smcd/runtime/fabric_discovery.hpp"

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "smcd/base/raw_syscall.hpp"
#include "smcd/runtime/process.hpp"

namespace smcd {
namespace {

dev::AnnouncedAddress announced(const TcpAddress& address) noexcept {
    dev::AnnouncedAddress result;
    result.family = address.family == AF_INET ? 4 : 6;
    result.port = ntohs(address.port_be);
    std::memcpy(result.address.data(), address.address_be, result.family == 4 ? 4 : 16);
    return result;
}

/// Whether the socket is bound to all addresses (TcpAddress reads that as the loopback address, as
/// connect() does).
bool is_wildcard(int fd) noexcept {
    sockaddr_storage name{};
    socklen_t length = sizeof(name);
    if (raw::getsockname(fd, reinterpret_cast<sockaddr*>(&name), &length) != 0) {
        return false;
    }
    if (name.ss_family == AF_INET) {
        return reinterpret_cast<const sockaddr_in&>(name).sin_addr.s_addr == INADDR_ANY;
    }
    return name.ss_family == AF_INET6 &&
           IN6_IS_ADDR_UNSPECIFIED(&reinterpret_cast<const sockaddr_in6&>(name).sin6_addr);
}

bool is_v6_only(int fd) noexcept {
    int value = 0;
    socklen_t length = sizeof(value);
    return raw::getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &value, &length) == 0 && value != 0;
}

/// Addresses of the interfaces of this network namespace that other machines can mean.
std::vector<TcpAddress> interface_addresses() {
    std::vector<TcpAddress> found;
    ifaddrs* list = nullptr;
    if (::getifaddrs(&list) != 0) {
        return found;
    }
    const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> owner(list, ::freeifaddrs);
    for (const ifaddrs* item = list; item != nullptr; item = item->ifa_next) {
        if (item->ifa_addr == nullptr || (item->ifa_flags & IFF_LOOPBACK) != 0) {
            continue;
        }
        const int family = item->ifa_addr->sa_family;
        const auto* v6 = reinterpret_cast<const sockaddr_in6*>(item->ifa_addr);
        if (family == AF_INET || (family == AF_INET6 && !IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr))) {
            found.push_back(TcpAddress::from(
                item->ifa_addr, family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6)));
        }
    }
    return found;
}

/// The addresses at which others reach the listener.
std::vector<dev::AnnouncedAddress> addresses_of(int listen_fd) {
    const TcpAddress own = TcpAddress::of(listen_fd, raw::getsockname);
    std::vector<dev::AnnouncedAddress> result;
    if (own.family == AF_UNSPEC || own.port_be == 0) {
        return result;
    }
    if (!is_wildcard(listen_fd)) {
        if (!own.is_loopback()) {
            result.push_back(announced(own));
        }
        return result;
    }
    int family = 0;
    socklen_t length = sizeof(family);
    raw::getsockopt(listen_fd, SOL_SOCKET, SO_DOMAIN, &family, &length);
    const bool takes_v6 = family == AF_INET6;
    const bool takes_v4 = !takes_v6 || !is_v6_only(listen_fd);
    for (TcpAddress address : interface_addresses()) {
        if (address.family == AF_INET ? takes_v4 : takes_v6) {
            address.port_be = own.port_be;
            result.push_back(announced(address));
        }
    }
    return result;
}

} // namespace

FabricDiscovery::FabricDiscovery(Process& process)
    : process_(process), rules_(parse_static_rules(process.config().static_peers)) {}

/// The fabric, joined under the id that the other devices have; nullptr: there is none.
dev::IvshmemDevice* FabricDiscovery::fabric() {
    dev::IvshmemDevice* const joined = process_.fabric();
    for (const auto& device : process_.devices().all()) {
        if (joined == nullptr || device.get() == joined) {
            break;
        }
        if (const auto group = device->link_group_id(); group) {
            joined->prefer_group(*group);
            break;
        }
    }
    return joined;
}

/// Reason::none: the listener at that address speaks SMC although it is not in this network
/// namespace.
Reason FabricDiscovery::look_beyond(const TcpAddress& address) {
    if (address.family == AF_UNSPEC || address.is_loopback()) {
        return Reason::not_local;
    }
    const auto covers = [&](const StaticRule& rule) { return rule.covers(address); };
    if (std::any_of(rules_.begin(), rules_.end(), covers)) {
        return Reason::none;
    }
    dev::IvshmemDevice* const joined = fabric();
    if (joined == nullptr) {
        return process_.devices().lacks_fabric(process_.config()) ? Reason::fabric_unavailable
                                                                  : Reason::not_local;
    }
    switch (joined->find_listener(announced(address))) {
    case dev::IvshmemDevice::Found::yes:
        return Reason::none;
    case dev::IvshmemDevice::Found::other_network:
        return Reason::other_network;
    case dev::IvshmemDevice::Found::gone:
        return Reason::fabric_unavailable;
    case dev::IvshmemDevice::Found::no:
        break;
    }
    return Reason::not_local;
}

Reason FabricDiscovery::probe(const sockaddr* address, socklen_t length, bool& beyond) {
    const Reason local = local_.probe(address, length, beyond);
    if (local != Reason::not_local && local != Reason::discovery_unavailable) {
        return local;
    }
    const Reason found = look_beyond(TcpAddress::from(address, length));
    beyond = found == Reason::none;
    return found == Reason::not_local ? local : found;
}

/// A server may close its listener as soon as it has our connection, so the directory is not asked
/// again.
Reason FabricDiscovery::confirm(int fd, bool beyond) {
    if (!beyond) {
        return local_.confirm(fd, beyond);
    }
    const TcpAddress own = TcpAddress::of(fd, raw::getsockname);
    return own == TcpAddress::of(fd, raw::getpeername) ? Reason::self_connect : Reason::none;
}

UniqueFd FabricDiscovery::announce_beyond(int listen_fd) {
    dev::IvshmemDevice* const joined = fabric();
    if (joined == nullptr) {
        if (process_.devices().lacks_fabric(process_.config())) {
            process_.progress().look_after_devices(); // it may come
        }
        return {};
    }
    const auto addresses = addresses_of(listen_fd);
    if (addresses.empty()) {
        return {};
    }
    auto lease = joined->announce(addresses);
    return lease ? *std::move(lease) : UniqueFd();
}

void FabricDiscovery::withdraw() {
    if (dev::IvshmemDevice* joined = process_.devices().fabric(); joined != nullptr) {
        joined->withdraw_unheld();
    }
}

} // namespace smcd
