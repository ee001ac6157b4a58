// One end of one verified connection: sends its stream, checks the peer's, both at once.
// Room tests/e2e, no protocol section.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "tests/e2e/programs/calls.hpp"

namespace smcd::e2e {

/// What one end does. Both ends derive the seeds of the streams from `seed` and the client's port.
struct PumpOptions {
    Call call = Call::send_recv;
    std::uint64_t tx_bytes = 0;
    std::uint64_t rx_bytes = 0;
    std::uint64_t seed = 1;
    std::size_t chunk_bytes = 65536; // the largest single call
    bool random_chunks = false;      // sizes from 1 to chunk_bytes, small ones as likely as large
    bool blocking = true;
    bool client = false;
};

enum class Step {
    progress, // bytes moved: try again
    blocked,  // EAGAIN: wait for readiness
    done,     // this direction is finished; never call again
};

/// Thread: send_some() and receive_some() may run in two threads, each in one at a time.
/// Errors: every wrong byte, count or errno ends the program with a message.
class Pump {
public:
    Pump(int fd, const PumpOptions& options);

    [[nodiscard]] int fd() const { return fd_; }

    [[nodiscard]] bool sending() const { return !tx_done_; }

    [[nodiscard]] bool receiving() const { return !rx_done_; }

    [[nodiscard]] bool finished() const { return tx_done_ && rx_done_; }

    /// One call; the last one shuts the sending direction down.
    Step send_some();

    /// One call; after the last byte, expects the peer's end of stream.
    Step receive_some();

private:
    [[nodiscard]] std::size_t next_size(std::mt19937_64& random, std::uint64_t left);
    Step expect_end();
    [[nodiscard]] Step failed(const char* what) const;

    int fd_;
    PumpOptions options_;
    std::uint16_t port_;
    std::uint64_t tx_seed_;
    std::uint64_t rx_seed_;
    std::uint64_t tx_position_ = 0;
    std::uint64_t rx_position_ = 0;
    bool tx_done_ = false;
    bool rx_done_ = false;
    std::mt19937_64 tx_random_;
    std::mt19937_64 rx_random_;
    Mover tx_mover_;
    Mover rx_mover_;
    std::vector<char> tx_buffer_;
    std::vector<char> rx_buffer_;
};

} // namespace smcd::e2e
