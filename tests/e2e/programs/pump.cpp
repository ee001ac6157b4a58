// One end of one verified connection: sends its stream, checks the peer's, both at once.
// Room tests/e2e, no protocol section.
#include "tests/e2e/programs/pump.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include "tests/e2e/programs/net.hpp"
#include "tests/e2e/programs/pattern.hpp"

namespace smcd::e2e {
namespace {

// The two directions of a connection and the connections of a run carry different streams.
std::uint64_t stream_seed(std::uint64_t seed, std::uint16_t port, bool from_client) {
    return pattern_word(seed, std::uint64_t{port} * 2 + (from_client ? 1 : 0));
}

} // namespace

Pump::Pump(int fd, const PumpOptions& options)
    : fd_(fd), options_(options), port_(options.client ? local_port(fd) : peer_port(fd)),
      tx_seed_(stream_seed(options.seed, port_, options.client)),
      rx_seed_(stream_seed(options.seed, port_, !options.client)), tx_random_(tx_seed_),
      rx_random_(rx_seed_ + 1), tx_mover_(options.call, options.blocking, tx_seed_ + 2),
      rx_mover_(options.call, options.blocking, rx_seed_ + 3), tx_buffer_(options.chunk_bytes),
      rx_buffer_(options.chunk_bytes) {}

std::size_t Pump::next_size(std::mt19937_64& random, std::uint64_t left) {
    std::uint64_t size = options_.chunk_bytes;
    if (options_.random_chunks) {
        const unsigned bits = static_cast<unsigned>(std::bit_width(size));
        const std::uint64_t bound = std::min(size, std::uint64_t{1} << (random() % bits));
        size = 1 + random() % bound;
    }
    return static_cast<std::size_t>(std::min(size, left));
}

Step Pump::failed(const char* what) const {
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
        return Step::blocked;
    }
    die("%s on connection of port %u after %llu sent, %llu received: %s",
        what,
        static_cast<unsigned>(port_),
        static_cast<unsigned long long>(tx_position_),
        static_cast<unsigned long long>(rx_position_),
        std::strerror(errno));
}

Step Pump::send_some() {
    const std::uint64_t left = options_.tx_bytes - tx_position_;
    if (left == 0) {
        check(::shutdown(fd_, SHUT_WR), "shutdown");
        tx_done_ = true;
        return Step::done;
    }
    const std::size_t size = next_size(tx_random_, left);
    pattern_fill(tx_buffer_.data(), size, tx_seed_, tx_position_);
    const ssize_t sent = tx_mover_.put(fd_, tx_buffer_.data(), size);
    if (sent == -1) {
        return failed("send");
    }
    if (sent == 0 || static_cast<std::size_t>(sent) > size) {
        die("send of %zu bytes returned %zd", size, sent);
    }
    tx_position_ += static_cast<std::uint64_t>(sent);
    return Step::progress;
}

Step Pump::receive_some() {
    const std::uint64_t left = options_.rx_bytes - rx_position_;
    if (left == 0) {
        return expect_end();
    }
    const std::size_t size = next_size(rx_random_, left);
    const Received got = rx_mover_.get(fd_, rx_buffer_.data(), size);
    if (got.size == -1) {
        return failed("recv");
    }
    if (got.size == 0 || static_cast<std::size_t>(got.size) > size) {
        die("recv of %zu bytes returned %zd at byte %llu of %llu (port %u)",
            size,
            got.size,
            static_cast<unsigned long long>(rx_position_),
            static_cast<unsigned long long>(options_.rx_bytes),
            static_cast<unsigned>(port_));
    }
    const auto count = static_cast<std::size_t>(got.size);
    if (!got.discarded) {
        const std::size_t at = pattern_mismatch(rx_buffer_.data(), count, rx_seed_, rx_position_);
        if (at != count) {
            die("wrong byte %llu (port %u): offset %zu of a recv of %zu",
                static_cast<unsigned long long>(rx_position_ + at),
                static_cast<unsigned>(port_),
                at,
                count);
        }
    }
    rx_position_ += count;
    return Step::progress;
}

Step Pump::expect_end() {
    char extra = 0;
    const int flags = options_.call == Call::dont_wait ? MSG_DONTWAIT : 0;
    const ssize_t got = ::recv(fd_, &extra, 1, flags);
    if (got == -1) {
        return failed("recv at the end");
    }
    if (got != 0) {
        die("a byte more than the %llu sent (port %u)",
            static_cast<unsigned long long>(options_.rx_bytes),
            static_cast<unsigned>(port_));
    }
    rx_done_ = true;
    return Step::done;
}

} // namespace smcd::e2e
