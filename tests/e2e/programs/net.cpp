// Socket set-up shared by the test programs: they print what they see and leave on the first error.
// Room tests/e2e, no protocol section.
#include "tests/e2e/programs/net.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace smcd::e2e {
namespace {

struct Address {
    sockaddr_storage storage{};
    socklen_t size = 0;

    [[nodiscard]] const sockaddr* get() const {
        return reinterpret_cast<const sockaddr*>(&storage);
    }
};

Address address_of(const std::string& host, std::uint16_t port) {
    Address address;
    if (host.find(':') == std::string::npos) {
        auto* v4 = reinterpret_cast<sockaddr_in*>(&address.storage);
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        address.size = sizeof *v4;
        if (::inet_pton(AF_INET, host.c_str(), &v4->sin_addr) != 1) {
            die("bad address %s", host.c_str());
        }
        return address;
    }
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    address.size = sizeof *v6;
    if (::inet_pton(AF_INET6, host.c_str(), &v6->sin6_addr) != 1) {
        die("bad address %s", host.c_str());
    }
    return address;
}

std::uint16_t port_of(const sockaddr_storage& storage) {
    if (storage.ss_family == AF_INET) {
        return ntohs(reinterpret_cast<const sockaddr_in*>(&storage)->sin_port);
    }
    return ntohs(reinterpret_cast<const sockaddr_in6*>(&storage)->sin6_port);
}

} // namespace

void die_errno(const char* what) {
    std::fprintf(stderr, "FAIL %s: %s\n", what, std::strerror(errno));
    std::exit(1);
}

void die(const char* format, ...) {
    std::va_list args;
    va_start(args, format);
    std::fputs("FAIL ", stderr);
    std::vfprintf(stderr, format, args);
    std::fputc('\n', stderr);
    va_end(args);
    std::exit(1);
}

int check(int result, const char* what) {
    if (result == -1) {
        die_errno(what);
    }
    return result;
}

int listen_on(const std::string& host, std::uint16_t port, int backlog) {
    const Address address = address_of(host, port);
    const int fd = check(::socket(address.storage.ss_family, SOCK_STREAM, 0), "socket");
    const int on = 1;
    check(::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), "SO_REUSEADDR");
    if (address.storage.ss_family == AF_INET6) {
        const int only = host == "::" ? 0 : 1;
        check(::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only), "IPV6_V6ONLY");
    }
    check(::bind(fd, address.get(), address.size), "bind");
    check(::listen(fd, backlog), "listen");
    return fd;
}

int connect_to(const std::string& host, std::uint16_t port) {
    const Address address = address_of(host, port);
    const int fd = check(::socket(address.storage.ss_family, SOCK_STREAM, 0), "socket");
    check(::connect(fd, address.get(), address.size), "connect");
    return fd;
}

int accept_one(int listener, std::uint16_t* port) {
    sockaddr_in peer{};
    socklen_t size = sizeof peer;
    for (;;) {
        const int fd = ::accept4(
            listener, reinterpret_cast<sockaddr*>(&peer), &size, SOCK_CLOEXEC);
        if (fd != -1 && port != nullptr) {
            *port = ntohs(peer.sin_port);
        }
        if (fd != -1 || errno != EINTR) {
            return check(fd, "accept4");
        }
    }
}

std::uint16_t local_port(int fd) {
    sockaddr_storage storage{};
    socklen_t size = sizeof storage;
    check(::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &size), "getsockname");
    return port_of(storage);
}

std::uint16_t peer_port(int fd) {
    sockaddr_storage storage{};
    socklen_t size = sizeof storage;
    check(::getpeername(fd, reinterpret_cast<sockaddr*>(&storage), &size), "getpeername");
    return port_of(storage);
}

void set_nonblocking(int fd, bool on) {
    const int flags = check(::fcntl(fd, F_GETFL), "F_GETFL");
    const int wanted = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
    check(::fcntl(fd, F_SETFL, wanted), "F_SETFL");
}

void allow_descriptors() {
    rlimit limit{};
    check(::getrlimit(RLIMIT_NOFILE, &limit), "getrlimit");
    limit.rlim_cur = limit.rlim_max;
    check(::setrlimit(RLIMIT_NOFILE, &limit), "setrlimit");
}

double now_s() {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

void announce_port(std::uint16_t port) {
    std::printf("port %u\n", static_cast<unsigned>(port));
    std::fflush(stdout);
}

std::string option(int argc, char** argv, const char* name, const char* fallback) {
    const std::string wanted = std::string("--") + name;
    for (int i = 1; i + 1 < argc; ++i) {
        if (wanted == argv[i]) {
            return argv[i + 1];
        }
    }
    return fallback;
}

std::uint64_t number_option(int argc, char** argv, const char* name, std::uint64_t fallback) {
    const std::string text = option(argc, argv, name, "");
    return text.empty() ? fallback : parse_number(text);
}

bool flag_option(int argc, char** argv, const char* name) {
    const std::string wanted = std::string("--") + name;
    for (int i = 1; i < argc; ++i) {
        if (wanted == argv[i]) {
            return true;
        }
    }
    return false;
}

std::uint64_t parse_number(const std::string& text) {
    char* end = nullptr;
    const std::uint64_t value = std::strtoull(text.c_str(), &end, 10);
    const std::string suffix = end;
    if (end == text.c_str() || (suffix != "" && suffix != "k" && suffix != "M" && suffix != "G")) {
        die("not a number: %s", text.c_str());
    }
    const unsigned shift = suffix == "k" ? 10 : suffix == "M" ? 20 : suffix == "G" ? 30 : 0;
    return value << shift;
}

} // namespace smcd::e2e
