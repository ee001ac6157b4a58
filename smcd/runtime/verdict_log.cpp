#include "smcd/runtime/verdict_log.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "devices/api/device_kind.hpp"
#include "smcd/base/log.hpp"
#include "smcd/base/raw_syscall.hpp"

namespace smcd {
namespace {

struct PeerText {
    std::array<char, INET6_ADDRSTRLEN> host{'?'};
    unsigned port = 0;
};

PeerText peer_of(int fd) noexcept {
    PeerText text;
    sockaddr_storage address{};
    socklen_t length = sizeof(address);
    if (raw::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
        return text;
    }
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    const void* const host = address.ss_family == AF_INET6 ? static_cast<const void*>(&v6.sin6_addr) : &v4.sin_addr;
    ::inet_ntop(address.ss_family, host, text.host.data(), text.host.size());
    text.port = ntohs(address.ss_family == AF_INET6 ? v6.sin6_port : v4.sin_port);
    return text;
}

}  // namespace

void log_verdict(const Socket& socket, Phase phase, Reason reason) noexcept {
    if (!log_enabled(LogLevel::debug)) [[likely]] {
        return;
    }
    const int saved = errno;
    const PeerText peer = peer_of(socket.fd);
    const char* const role = socket.block->role == Role::client ? "to" : "from";
    if (phase == Phase::smc) {
        log_line("fd %d, %s %s port %u: accelerated, %s", socket.fd.get(), role, peer.host.data(), peer.port,
                 dev::device_name(dev::DeviceId::of(socket.block->device)).c_str());
    } else {
        log_line("fd %d, %s %s port %u: TCP, %s (%s)", socket.fd.get(), role, peer.host.data(), peer.port,
                 reason_name(reason).data(), reason_text(reason).data());
    }
    errno = saved;
}

}  // namespace smcd
