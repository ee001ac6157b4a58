// A process that publishes what the library publishes, or garbage instead: a child with mappings of
// the same names.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "smcd/core/conn_block.hpp"
#include "smcd/runtime/statistics.hpp"

namespace smcd::tools::testing {

/// Runs `prepare` in a child, which then waits until the object is destroyed. The constructor
/// returns when `prepare` is done; what it returns is numbers(). Mappings and sockets made there
/// stay open.
class FakeProcess {
public:
    using Numbers = std::vector<std::uint64_t>;

    explicit FakeProcess(const std::function<Numbers()>& prepare);
    FakeProcess(const FakeProcess&) = delete;
    FakeProcess& operator=(const FakeProcess&) = delete;
    ~FakeProcess();

    [[nodiscard]] pid_t pid() const noexcept { return pid_; }

    [[nodiscard]] const Numbers& numbers() const noexcept { return numbers_; }

private:
    pid_t pid_ = -1;
    int hold_ = -1; ///< closing it ends the child
    Numbers numbers_;
};

/// Shared memory of that name, as memfd_create() names it. `file_bytes` may be less than
/// `map_bytes`.
std::byte* map_named(const char* name, std::size_t map_bytes, std::size_t file_bytes);

/// A page and a chunk with valid headers.
ProcessPage& publish_page();
ConnChunk& publish_chunk();

/// A valid connection in use.
void fill(ConnBlock& block, Phase phase, std::uint64_t inode);

/// A listener on 127.0.0.1, a client of it, and the accepted socket; inodes in `inodes`, same
/// order.
struct TcpTrio {
    int listener = -1;
    int client = -1;
    int server = -1;
    std::uint64_t inodes[3] = {0, 0, 0};
};

TcpTrio make_trio();

} // namespace smcd::tools::testing
