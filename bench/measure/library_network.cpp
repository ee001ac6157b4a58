// The paths through libsmcd: its copying and its zero-copy calls. Floor 4.
#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <smcd/smcd.hpp>

#include "bench/measure/endpoint.hpp"

namespace smcd::bench {
namespace {

constexpr std::size_t kLine = 64;

class LibraryEndpoint : public Endpoint {
public:
    explicit LibraryEndpoint(smcd_sock* sock) : connection_(sock) {}

    bool send(const std::byte* data, std::size_t bytes) override {
        return ::smcd_send(sock(), data, bytes, 0) == static_cast<ssize_t>(bytes);
    }

    bool send_batch(const std::byte* data, std::size_t bytes, std::size_t count) override {
        for (std::size_t i = 0; i < count; ++i) {
            const int flags = i + 1 < count ? MSG_MORE : 0;
            if (::smcd_send(sock(), data, bytes, flags) != static_cast<ssize_t>(bytes)) {
                return false;
            }
        }
        return true;
    }

    std::ptrdiff_t receive(std::byte* data, std::size_t bytes, bool wait) override {
        return told(::smcd_recv(sock(), data, bytes, wait ? 0 : MSG_DONTWAIT), wait);
    }

    std::ptrdiff_t drain(std::byte* buffer, std::size_t bytes) override {
        return receive(buffer, bytes, true);
    }

    void finish() override { ::smcd_shutdown(sock(), SHUT_WR); }

    void settle() override { ::smcd_wait_verdict(sock(), -1); }

protected:
    static std::ptrdiff_t told(ssize_t n, bool wait) {
        if (n >= 0) {
            return n;
        }
        return !wait && errno == EAGAIN ? kNothing : kFailed;
    }

    [[nodiscard]] smcd_sock* sock() const { return connection_.get(); }

private:
    Connection connection_;
};

/// Messages are made and looked at in the ring itself.
class ZeroCopyEndpoint final : public LibraryEndpoint {
public:
    using LibraryEndpoint::LibraryEndpoint;

    bool send(const std::byte* data, std::size_t bytes) override {
        while (bytes > 0) {
            smcd_span spans[2];
            const ssize_t room = ::smcd_send_reserve(sock(), spans, bytes, 0);
            if (room <= 0) {
                return false;
            }
            const std::size_t n = std::min(bytes, static_cast<std::size_t>(room));
            const std::size_t first = std::min(n, spans[0].bytes);
            std::memcpy(spans[0].data, data, first);
            std::memcpy(spans[1].data, data + first, n - first);
            if (::smcd_send_commit(sock(), n) != 0) {
                return false;
            }
            data += n;
            bytes -= n;
        }
        return true;
    }

    bool send_batch(const std::byte* data, std::size_t bytes, std::size_t count) override {
        while (count > 0) {
            smcd_span spans[2];
            const ssize_t room = ::smcd_send_reserve(sock(), spans, bytes * count, 0);
            if (room <= 0) {
                return false;
            }
            const std::size_t whole = std::min(count, spans[0].bytes / bytes);
            if (whole == 0) { // the message that crosses the ring's edge
                if (!send(data, bytes)) {
                    return false;
                }
                --count;
                continue;
            }
            auto* to = static_cast<std::byte*>(spans[0].data);
            if (bytes == kLine) {
                fill_lines(to, data, whole);
            } else {
                for (std::size_t i = 0; i < whole; ++i) {
                    std::memcpy(to + i * bytes, data, bytes);
                }
            }
            if (::smcd_send_commit(sock(), whole * bytes) != 0) {
                return false;
            }
            count -= whole;
        }
        return true;
    }

    std::ptrdiff_t receive(std::byte* data, std::size_t bytes, bool wait) override {
        smcd_span spans[2];
        const ssize_t n = ::smcd_recv_peek(sock(), spans, 1, wait ? 0 : MSG_DONTWAIT);
        if (n <= 0) {
            return told(n, wait);
        }
        const std::size_t taken = std::min(bytes, static_cast<std::size_t>(n));
        const std::size_t first = std::min(taken, spans[0].bytes);
        look(spans[0].data, first);
        look(spans[1].data, taken - first);
        static_cast<void>(data); // nothing is copied
        return ::smcd_recv_consume(sock(), taken) == 0 ? static_cast<std::ptrdiff_t>(taken)
                                                       : kFailed;
    }

    bool receive_mark(std::byte& mark) override {
        return LibraryEndpoint::receive(&mark, 1, true) == 1;
    }

private:
    /// The common size as a constant: no call per message.
    static void fill_lines(std::byte* to, const std::byte* data, std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) {
            std::memcpy(to + i * kLine, data, kLine);
        }
    }

    /// Reads one word of each cache line, so that it really travels.
    void look(const void* data, std::size_t bytes) {
        const auto* bytes_of = static_cast<const std::byte*>(data);
        std::uint64_t sum = 0;
        for (std::size_t i = 0; i + sizeof(sum) <= bytes; i += kLine) {
            std::uint64_t word = 0;
            std::memcpy(&word, bytes_of + i, sizeof(word));
            sum += word;
        }
        seen_ += sum;
        asm volatile("" : : "r"(seen_));
    }

    std::uint64_t seen_ = 0;
};

class LibraryNetwork final : public Network {
public:
    explicit LibraryNetwork(const Plan& plan) : zero_copy_(plan.path == Path::zerocopy) {
        smcd_options options{};
        options.size = sizeof(options);
        options.profile = plan.profile.empty() ? nullptr : plan.profile.c_str();
        std::error_code error;
        context_ = Context::create(error, &options);
    }

    [[nodiscard]] bool valid() const { return static_cast<bool>(context_); }

    std::string listen() override {
        std::error_code error;
        sockaddr_in address = loopback(0);
        listener_ = Listener::listen(context_, any(address), sizeof(address), error, 4096);
        if (error) {
            return {};
        }
        socklen_t length = sizeof(address);
        ::getsockname(::smcd_fd(listener_.get()), reinterpret_cast<sockaddr*>(&address), &length);
        return std::to_string(ntohs(address.sin_port));
    }

    std::unique_ptr<Endpoint> accept() override {
        return wrap(::smcd_accept(listener_.get(), nullptr, nullptr, 0));
    }

    std::unique_ptr<Endpoint> connect(const std::string& text) override {
        const sockaddr_in address = loopback(static_cast<std::uint16_t>(std::stoul(text)));
        smcd_sock* sock = ::smcd_socket(context_.get(), AF_INET, 0);
        if (sock != nullptr && ::smcd_connect(sock, any(address), sizeof(address)) != 0) {
            ::smcd_close(sock);
            return nullptr;
        }
        return wrap(sock);
    }

private:
    static sockaddr_in loopback(std::uint16_t port) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        address.sin_port = htons(port);
        return address;
    }

    static const sockaddr* any(const sockaddr_in& address) {
        return reinterpret_cast<const sockaddr*>(&address);
    }

    [[nodiscard]] std::unique_ptr<Endpoint> wrap(smcd_sock* sock) const {
        if (sock == nullptr) {
            return nullptr;
        }
        if (zero_copy_) {
            return std::make_unique<ZeroCopyEndpoint>(sock);
        }
        return std::make_unique<LibraryEndpoint>(sock);
    }

    bool zero_copy_;
    Context context_;
    Listener listener_;
};

} // namespace

std::unique_ptr<Network> make_library_network(const Plan& plan) {
    auto network = std::make_unique<LibraryNetwork>(plan);
    if (!network->valid()) {
        return nullptr;
    }
    return network;
}

std::unique_ptr<Network> make_network(const Plan& plan) {
    const bool through_library = plan.path == Path::library || plan.path == Path::zerocopy;
    return through_library ? make_library_network(plan) : make_socket_network(plan);
}

} // namespace smcd::bench
