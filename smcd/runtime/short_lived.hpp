// ShortLived: destinations whose connections end before acceleration pays. Floor 3.
//
// Setting up shared memory costs more than one request on TCP. A process that opens many connections to one address and
// closes each after a few messages leaves them on TCP for a while, then tries one again. Only a burst counts: connections
// of moderate number, however short, are accelerated. docs/decisions/0004-short-connections.md.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>

#include "smcd/runtime/sock_diag.hpp"

namespace smcd {

class ShortLived {
public:
    /// Whether a connection to that address should stay on TCP. Thread: any.
    [[nodiscard]] bool skip(const TcpAddress& to, std::uint64_t now_ns);
    /// An accelerated connection to that address has ended, the server has declined one, or the client has closed it
    /// during the handshake. paid: it moved enough to be worth its set-up.
    void on_end(const TcpAddress& to, bool paid, std::uint64_t now_ns);

    void before_fork() { mutex_.lock(); }
    void after_fork() { mutex_.unlock(); }

private:
    struct Entry {
        TcpAddress to;
        std::uint32_t shorts = 0;       ///< short connections in a row, within one burst
        std::uint64_t burst_since_ns = 0;
        std::uint64_t pause_ns = 0;     ///< length of the last pause; doubles while it goes on
        std::uint64_t paused_until_ns = 0;
    };
    Entry& entry_of(const TcpAddress& to) noexcept;

    std::mutex mutex_;
    std::array<Entry, 64> entries_{}; ///< by hash; a collision forgets the older
};

/// Whether a connection of that many bytes, calls and nanoseconds was worth its set-up.
[[nodiscard]] bool was_worth_it(std::uint64_t bytes, std::uint64_t calls, std::uint64_t lived_ns) noexcept;

}  // namespace smcd
