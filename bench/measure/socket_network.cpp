// The paths that use the socket calls: TCP, UNIX sockets, and TCP under the preloaded library.
// Floor 4.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "bench/measure/endpoint.hpp"
#include "smcd/base/unique_fd.hpp"

namespace smcd::bench {
namespace {

constexpr int kBacklog = 4096;

class SocketEndpoint final : public Endpoint {
public:
    explicit SocketEndpoint(int fd) : fd_(fd) {}

    ~SocketEndpoint() override { ::close(fd_); }

    bool send(const std::byte* data, std::size_t bytes) override {
        while (bytes > 0) {
            const ssize_t n = ::send(fd_, data, bytes, MSG_NOSIGNAL);
            if (n < 0 && errno != EINTR) {
                return false;
            }
            const std::size_t done = n < 0 ? 0 : static_cast<std::size_t>(n);
            data += done;
            bytes -= done;
        }
        return true;
    }

    bool send_batch(const std::byte* data, std::size_t bytes, std::size_t count) override {
        for (std::size_t i = 0; i < count; ++i) {
            if (!send(data, bytes)) {
                return false;
            }
        }
        return true;
    }

    std::ptrdiff_t receive(std::byte* data, std::size_t bytes, bool wait) override {
        const ssize_t n = ::recv(fd_, data, bytes, wait ? 0 : MSG_DONTWAIT);
        if (n >= 0) {
            return n;
        }
        return !wait && (errno == EAGAIN || errno == EWOULDBLOCK) ? kNothing : kFailed;
    }

    std::ptrdiff_t drain(std::byte* buffer, std::size_t bytes) override {
        return receive(buffer, bytes, true);
    }

    void finish() override { ::shutdown(fd_, SHUT_WR); }

    [[nodiscard]] std::string congestion() const override {
        char name[32] = {};
        socklen_t length = sizeof(name) - 1;
        return ::getsockopt(fd_, IPPROTO_TCP, TCP_CONGESTION, name, &length) == 0 ? name : "";
    }

    [[nodiscard]] int fd() const override { return fd_; }

private:
    int fd_;
};

/// The kernel takes what it has; an unknown algorithm keeps the default, and the report says which.
void tune(int fd, const Plan& plan) {
    const int on = plan.nodelay ? 1 : 0;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (!plan.congestion.empty()) {
        ::setsockopt(fd,
                     IPPROTO_TCP,
                     TCP_CONGESTION,
                     plan.congestion.data(),
                     static_cast<socklen_t>(plan.congestion.size()));
    }
}

class SocketNetwork final : public Network {
public:
    explicit SocketNetwork(const Plan& plan) : plan_(plan) {}

    std::string listen() override {
        const UniqueFd fd(::socket(family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
        if (!is_unix()) {
            const int on = 1;
            ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
            tune(fd.get(), plan_);
        }
        Address address =
            is_unix() ? unix_address("smcu-bench-" + std::to_string(::getpid())) : tcp_address(0);
        if (::bind(fd.get(), address.any(), address.length) != 0 ||
            ::listen(fd.get(), kBacklog) != 0) {
            return {};
        }
        listener_ = UniqueFd(::dup(fd.get()));
        if (is_unix()) {
            return "smcu-bench-" + std::to_string(::getpid());
        }
        ::getsockname(listener_.get(), address.any(), &address.length);
        return std::to_string(ntohs(address.in.sin_port));
    }

    std::unique_ptr<Endpoint> accept() override {
        const int fd = ::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC);
        return wrap(fd);
    }

    std::unique_ptr<Endpoint> connect(const std::string& text) override {
        const int fd = ::socket(family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (!is_unix()) {
            tune(fd, plan_);
        }
        Address address = is_unix() ? unix_address(text)
                                    : tcp_address(static_cast<std::uint16_t>(std::stoul(text)));
        if (fd >= 0 && ::connect(fd, address.any(), address.length) != 0) {
            const int error = errno;
            ::close(fd);
            errno = error;
            return nullptr;
        }
        return fd < 0 ? nullptr : std::make_unique<SocketEndpoint>(fd);
    }

private:
    struct Address {
        union {
            sockaddr_in in;
            sockaddr_un un;
        };

        socklen_t length = 0;

        sockaddr* any() { return reinterpret_cast<sockaddr*>(&in); }
    };

    static Address tcp_address(std::uint16_t port) {
        Address address{};
        address.in.sin_family = AF_INET;
        address.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        address.in.sin_port = htons(port);
        address.length = sizeof(sockaddr_in);
        return address;
    }

    /// Abstract: nothing to clean up.
    static Address unix_address(const std::string& name) {
        Address address{};
        address.un = {};
        address.un.sun_family = AF_UNIX;
        std::memcpy(address.un.sun_path + 1, name.data(), name.size());
        address.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
        return address;
    }

    [[nodiscard]] bool is_unix() const { return plan_.path == Path::unix_socket; }

    [[nodiscard]] int family() const { return is_unix() ? AF_UNIX : AF_INET; }

    [[nodiscard]] std::unique_ptr<Endpoint> wrap(int fd) const {
        if (fd < 0) {
            return nullptr;
        }
        if (!is_unix()) {
            tune(fd, plan_);
        }
        return std::make_unique<SocketEndpoint>(fd);
    }

    Plan plan_;
    UniqueFd listener_;
};

} // namespace

std::unique_ptr<Network> make_socket_network(const Plan& plan) {
    return std::make_unique<SocketNetwork>(plan);
}

} // namespace smcd::bench
