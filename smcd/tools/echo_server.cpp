#include "smcd/tools/echo_server.hpp"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "smcd/tools/command.hpp"

namespace smcd::tools {
namespace {

constexpr std::size_t kClientsMax = 256;
constexpr int kBacklog = 64;

int bound_socket(const EchoOptions& options) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int on = 1;
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(options.port);
    address.sin_addr.s_addr = htonl(options.all_addresses ? INADDR_ANY : INADDR_LOOPBACK);
    if (fd < 0 || ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
        ::listen(fd, kBacklog) != 0) {
        return -1;
    }
    return fd;
}

void announce(int fd) {
    sockaddr_in address{};
    socklen_t length = sizeof(address);
    ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length);
    std::printf("port %u\n", static_cast<unsigned>(ntohs(address.sin_port)));
    std::fflush(stdout);
}

/// Returns whether the client stays.
bool echo_once(int fd) {
    std::array<char, 65536> buffer{};
    const ssize_t n = ::recv(fd, buffer.data(), buffer.size(), 0);
    if (n < 0) {
        return errno == EINTR || errno == EAGAIN;
    }
    ssize_t sent = 0;
    while (sent < n) {
        const ssize_t step =
            ::send(fd, buffer.data() + sent, static_cast<std::size_t>(n - sent), MSG_NOSIGNAL);
        if (step <= 0) {
            return false;
        }
        sent += step;
    }
    return n > 0;
}

} // namespace

int serve_echo(const EchoOptions& options) {
    const int listener = bound_socket(options);
    if (listener < 0) {
        // NOLINTNEXTLINE(concurrency-mt-unsafe): one thread
        complain("check",
                 "cannot listen on port " + std::to_string(options.port) + ": " +
                     std::strerror(errno));
        return kExitFailure;
    }
    announce(listener);
    std::vector<pollfd> waiting{
        {listener, POLLIN, 0}
    };
    for (;;) {
        waiting.front().events = waiting.size() > kClientsMax ? 0 : POLLIN;
        if (::poll(waiting.data(), waiting.size(), -1) < 0 && errno != EINTR) {
            return kExitFailure;
        }
        for (std::size_t i = waiting.size(); i-- > 1;) {
            if (waiting[i].revents != 0 && !echo_once(waiting[i].fd)) {
                ::close(waiting[i].fd);
                waiting.erase(waiting.begin() + static_cast<std::ptrdiff_t>(i));
            }
        }
        if (waiting.front().revents != 0) {
            const int client = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
            if (client >= 0) {
                waiting.push_back({client, POLLIN, 0});
            }
        }
    }
}

} // namespace smcd::tools
