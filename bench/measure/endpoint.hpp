// Endpoint: one end of a connection on the path under test; the same benchmark runs over all of
// them. Floor 4.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "bench/measure/plan.hpp"

namespace smcd::bench {

/// What drain() and receive() say besides a number of bytes.
inline constexpr std::ptrdiff_t kEnded = 0;
inline constexpr std::ptrdiff_t kFailed = -1;
inline constexpr std::ptrdiff_t kNothing = -2; ///< only when not waiting

class Endpoint {
public:
    Endpoint() = default;
    Endpoint(const Endpoint&) = delete;
    Endpoint& operator=(const Endpoint&) = delete;
    virtual ~Endpoint() = default;

    /// Sends everything; blocks. false: the connection is broken.
    virtual bool send(const std::byte* data, std::size_t bytes) = 0;
    /// Sends `count` messages of `bytes` each, as few publications as the path allows.
    virtual bool send_batch(const std::byte* data, std::size_t bytes, std::size_t count) = 0;
    /// Up to `bytes`; a path without copies only looks at them and leaves `data` alone.
    virtual std::ptrdiff_t receive(std::byte* data, std::size_t bytes, bool wait) = 0;
    /// Takes what is there, at most about `bytes`; looks at each cache line of it, into `buffer` if
    /// it must copy.
    virtual std::ptrdiff_t drain(std::byte* buffer, std::size_t bytes) = 0;

    /// Blocks until exactly that many came. false: end or error.
    bool receive_all(std::byte* data, std::size_t bytes) {
        while (bytes > 0) {
            const std::ptrdiff_t n = receive(data, bytes, true);
            if (n <= 0) {
                return false;
            }
            data += n;
            bytes -= static_cast<std::size_t>(n);
        }
        return true;
    }

    /// The first byte of a connection, which tells what it is for. false: end or error.
    virtual bool receive_mark(std::byte& mark) { return receive_all(&mark, 1); }

    /// No more will be sent; the peer sees the end behind what was.
    virtual void finish() = 0;

    /// Waits for the handshake's verdict where the path has one.
    virtual void settle() {}

    /// The kernel's settings of the connection; empty where there are none.
    [[nodiscard]] virtual std::string congestion() const { return {}; }

    /// Descriptor for epoll; -1: none.
    [[nodiscard]] virtual int fd() const { return -1; }
};

/// One process's way to make connections on a path.
class Network {
public:
    Network() = default;
    Network(const Network&) = delete;
    Network& operator=(const Network&) = delete;
    virtual ~Network() = default;

    /// Starts to listen; the address for connect(), empty when it failed.
    virtual std::string listen() = 0;
    /// nullptr: failed, errno tells.
    virtual std::unique_ptr<Endpoint> accept() = 0;
    virtual std::unique_ptr<Endpoint> connect(const std::string& address) = 0;
};

/// The plan's path, with its settings. nullptr: the library could not start.
[[nodiscard]] std::unique_ptr<Network> make_network(const Plan& plan);
[[nodiscard]] std::unique_ptr<Network> make_socket_network(const Plan& plan);
[[nodiscard]] std::unique_ptr<Network> make_library_network(const Plan& plan);

} // namespace smcd::bench
