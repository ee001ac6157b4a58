// What processes under the preloaded library publish about themselves: ProcessPage and ConnBlocks,
// found by the names of their mappings, copied and validated. Floor 4, docs/smcu.md "where the
// figures come from".
#pragma once

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "smcd/core/conn_block.hpp"

namespace smcd::tools {

/// One ConnBlock as plain numbers, as it was at one moment.
struct ConnView {
    Phase phase = Phase::unused;
    Role role = Role::client;
    std::uint32_t generation = 0;
    std::uint32_t holders = 0;
    std::uint32_t flags = 0;
    std::int32_t fd = -1;
    std::uint32_t pid = 0;
    std::uint32_t reason = 0;
    std::uint32_t peer_reason = 0;
    std::uint64_t inode = 0; ///< 0: the socket's number is `fd` in process `pid`
    std::uint64_t since_ns = 0;
    std::uint64_t local_token = 0;
    std::uint64_t remote_token = 0;
    std::uint32_t size_class_local = 0;
    std::uint32_t size_class_remote = 0;
    std::uint32_t device = 0; ///< dev::DeviceId
    std::uint32_t tx_flags = 0;
    std::uint32_t rx_flags = 0;
    std::uint64_t tx_producer = 0;
    std::uint64_t tx_peer_consumer = 0;
    std::uint64_t tx_bytes = 0;
    std::uint64_t tx_calls = 0;
    std::uint64_t rx_peer_producer = 0;
    std::uint64_t rx_consumer = 0;
    std::uint64_t rx_published = 0;
    std::uint64_t rx_bytes = 0;
    std::uint64_t rx_calls = 0;
    std::uint64_t wakeups_sent = 0;
    std::uint64_t wakeups_suppressed = 0;
    std::uint64_t sleeps = 0;
    std::uint64_t spin_hits = 0;
    std::uint64_t spin_misses = 0;
    std::uint32_t pre_bytes = 0; ///< waiting in the pre-buffer for the verdict

    /// In use, as far as the block itself tells; its socket must be open somewhere, too.
    [[nodiscard]] bool in_use() const noexcept {
        return holders != 0 && phase != Phase::unused && phase != Phase::closed;
    }
};

/// A ProcessPage as plain numbers.
struct ProcessCounters {
    std::uint64_t started_ns = 0;
    std::uint64_t accelerated = 0;
    std::uint64_t tcp = 0;
    std::uint64_t live = 0;
    std::uint64_t listeners = 0;
    std::uint64_t handshake_errors = 0;
    std::uint64_t dmb_tx_bytes = 0;
    std::uint64_t dmb_rx_bytes = 0;
    std::uint64_t tcp_tx_bytes = 0;
    std::uint64_t tcp_rx_bytes = 0;
    std::uint64_t wakeups_sent = 0;
    std::uint64_t wakeups_suppressed = 0;
    std::uint64_t sleeps = 0;
    std::uint64_t spin_hits = 0;
    std::uint64_t spin_misses = 0;
    std::vector<std::pair<std::uint32_t, std::uint64_t>> reasons; ///< code, connections
};

/// Connections of one mapping; fork() makes several processes share it.
struct ConnChunkView {
    pid_t creator = 0;
    std::vector<ConnView> blocks; ///< those in use
};

/// A mapping's identity on this machine: device and inode of its memory.
using ChunkId = std::pair<std::uint64_t, std::uint64_t>;

struct ShimProcess {
    pid_t pid = 0;
    std::string command;
    std::optional<ProcessCounters> counters; ///< nothing: unreadable or not understood
    std::vector<ChunkId> chunks;
};

struct ShimSnapshot {
    std::vector<ShimProcess> processes; ///< ascending pid
    std::map<ChunkId, ConnChunkView> chunks;
    std::size_t denied = 0;  ///< processes under the library whose memory we may not read
    std::size_t foreign = 0; ///< ... whose pages are of another version, or damaged
};

/// Looks at every process that may be looked at, or at one. Never fails; never trusts what it
/// reads.
[[nodiscard]] ShimSnapshot scan_processes(std::optional<pid_t> only = std::nullopt);

/// The ProcessPage in these bytes; nothing when magic or version differ or bytes are missing.
[[nodiscard]] std::optional<ProcessCounters> decode_page(std::span<const std::byte> bytes);

/// The blocks in use of the ConnChunk in these bytes; nothing when its header is not ours.
/// `again` is a second copy of the same memory: blocks that changed hands between the two are left
/// out.
[[nodiscard]] std::optional<ConnChunkView> decode_chunk(std::span<const std::byte> bytes,
                                                        std::span<const std::byte> again);

} // namespace smcd::tools
