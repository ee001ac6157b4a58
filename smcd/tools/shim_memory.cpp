#include "smcd/tools/shim_memory.hpp"

#include <cstring>
#include <memory>
#include <set>

#include "smcd/core/relatives.hpp"
#include "smcd/runtime/statistics.hpp"
#include "smcd/tools/proc_files.hpp"
#include "smcd/tools/remote_memory.hpp"
#include "smcd/tools/text.hpp"

namespace smcd::tools {
namespace {

constexpr std::string_view kPageName = "/memfd:smcd-proc (deleted)";
constexpr std::string_view kChunkName = "/memfd:smcd-conn (deleted)";
constexpr std::size_t kMapsBytesMax = std::size_t{64} << 20U;
/// More chunks than a process of ours ever makes (ConnArena) and its ancestors together may leave
/// to it.
constexpr std::size_t kChunksPerProcessMax = 4096;

/// A copy of shared memory in which nobody writes any more. Relaxed: the copy is private.
template <typename T>
auto number(const std::atomic<T>& word) noexcept {
    return word.load(std::memory_order_relaxed);
}

ConnView view_of(const ConnBlock& block) noexcept {
    ConnView view;
    view.phase = number(block.phase);
    view.role = block.role;
    view.generation = number(block.generation);
    view.holders = count_holders(block.holders.load(std::memory_order_relaxed));
    view.flags = number(block.flags);
    view.fd = block.fd;
    view.pid = block.pid;
    view.reason = number(block.reason);
    view.peer_reason = number(block.peer_reason);
    view.inode = block.inode;
    view.since_ns = block.since_ns;
    view.local_token = block.local_token;
    view.remote_token = block.remote_token;
    view.size_class_local = block.size_class_local;
    view.size_class_remote = block.size_class_remote;
    view.device = block.device;
    view.tx_flags = number(block.tx.state_flags);
    view.rx_flags = number(block.rx.peer_flags);
    view.tx_producer = number(block.tx.producer);
    view.tx_peer_consumer = number(block.tx.peer_consumer);
    view.tx_bytes = number(block.tx.bytes);
    view.tx_calls = number(block.tx.calls);
    view.rx_peer_producer = number(block.rx.peer_producer);
    view.rx_consumer = number(block.rx.consumer);
    view.rx_published = number(block.rx.published);
    view.rx_bytes = number(block.rx.bytes);
    view.rx_calls = number(block.rx.calls);
    view.wakeups_sent = number(block.waits.wakeups_sent);
    view.wakeups_suppressed = number(block.waits.wakeups_suppressed);
    view.sleeps = number(block.waits.sleeps);
    view.spin_hits = number(block.waits.spin_hits);
    view.spin_misses = number(block.waits.spin_misses);
    const std::uint32_t begin = number(block.pre_begin);
    const std::uint32_t end = number(block.pre_end);
    view.pre_bytes = end > begin ? end - begin : 0;
    return view;
}

/// A value-initialised T filled from the bytes. The atomics of T are lock-free words: their bytes
/// are their value.
template <typename T>
std::unique_ptr<T> copy_of(std::span<const std::byte> bytes) {
    static_assert(std::is_standard_layout_v<T>);
    auto copy = std::make_unique<T>();
    std::memcpy(static_cast<void*>(copy.get()), bytes.data(), sizeof(T));
    return copy;
}

bool is_sane(const ConnView& view) noexcept {
    const bool named = view.inode != 0 || (view.phase == Phase::tcp && view.fd >= 0);
    return view.phase <= Phase::returning && named && view.pid != 0;
}

std::optional<std::vector<std::byte>>
copy_memory(pid_t pid, const MapsEntry& entry, std::size_t bytes, bool& denied) {
    if (entry.end - entry.begin < bytes) {
        return std::nullopt;
    }
    std::vector<std::byte> copy(bytes);
    const auto done = read_memory(pid, entry.begin, copy);
    denied = denied || done.error() == std::errc::operation_not_permitted ||
             done.error() == std::errc::permission_denied;
    return done ? std::optional(std::move(copy)) : std::nullopt;
}

/// The mappings of one process that carry our names.
struct Mappings {
    std::vector<MapsEntry> pages;
    std::vector<MapsEntry> chunks;
};

Mappings mappings_in(std::string_view maps) {
    Mappings found;
    for_each_line(maps, [&](std::string_view line) {
        if (!line.ends_with(kPageName) && !line.ends_with(kChunkName)) {
            return;
        }
        const auto entry = parse_maps_line(line);
        if (!entry) {
            return;
        }
        if (entry->name == kPageName) {
            found.pages.push_back(*entry);
        } else if (entry->name == kChunkName && found.chunks.size() < kChunksPerProcessMax) {
            found.chunks.push_back(*entry);
        }
    });
    return found;
}

class Scan {
public:
    void add(pid_t pid);

    [[nodiscard]] ShimSnapshot take() && { return std::move(snapshot_); }

private:
    void add_pages(ShimProcess& process, const std::vector<MapsEntry>& pages);
    void add_chunk(ShimProcess& process, const MapsEntry& entry);

    ShimSnapshot snapshot_;
    std::set<ChunkId> pages_;
    bool denied_ = false;
    bool foreign_ = false;
};

void Scan::add_pages(ShimProcess& process, const std::vector<MapsEntry>& pages) {
    for (const MapsEntry& entry : pages) {
        // A child between fork() and its own page, or inside vfork(), shows its parent's: counted
        // once.
        if (!pages_.emplace(entry.device, entry.inode).second) {
            continue;
        }
        const auto copy = copy_memory(process.pid, entry, sizeof(ProcessPage), denied_);
        if (!copy) {
            continue;
        }
        auto counters = decode_page(*copy);
        foreign_ = foreign_ || !counters;
        if (counters) {
            process.counters = std::move(counters);
        }
    }
}

void Scan::add_chunk(ShimProcess& process, const MapsEntry& entry) {
    const ChunkId id{entry.device, entry.inode};
    if (!snapshot_.chunks.contains(id)) {
        const auto copy = copy_memory(process.pid, entry, sizeof(ConnChunk), denied_);
        const auto again = copy_memory(process.pid, entry, sizeof(ConnChunk), denied_);
        if (!copy || !again) {
            return;
        }
        auto view = decode_chunk(*copy, *again);
        if (!view) {
            foreign_ = true;
            return;
        }
        snapshot_.chunks.emplace(id, *std::move(view));
    }
    process.chunks.push_back(id);
}

void Scan::add(pid_t pid) {
    const auto maps = read_proc(pid, "maps", kMapsBytesMax);
    if (!maps) {
        return;
    }
    const Mappings found = mappings_in(*maps);
    if (found.pages.empty() && found.chunks.empty()) {
        return;
    }
    denied_ = false;
    foreign_ = false;
    ShimProcess process;
    process.pid = pid;
    process.command = command_of(pid);
    add_pages(process, found.pages);
    for (const MapsEntry& entry : found.chunks) {
        add_chunk(process, entry);
    }
    snapshot_.denied += denied_ ? 1 : 0;
    snapshot_.foreign += foreign_ ? 1 : 0;
    snapshot_.processes.push_back(std::move(process));
}

} // namespace

std::optional<ProcessCounters> decode_page(std::span<const std::byte> bytes) {
    if (bytes.size() < sizeof(ProcessPage)) {
        return std::nullopt;
    }
    const auto page = copy_of<ProcessPage>(bytes);
    if (page->magic != kProcessPageMagic || page->version != kProcessPageVersion) {
        return std::nullopt;
    }
    ProcessCounters counters;
    counters.started_ns = page->started_ns;
    counters.accelerated = number(page->connections_smc);
    counters.tcp = number(page->connections_tcp);
    counters.live = number(page->connections_live);
    counters.listeners = number(page->listeners);
    counters.handshake_errors = number(page->handshake_errors);
    counters.dmb_tx_bytes = number(page->dmb_tx_bytes);
    counters.dmb_rx_bytes = number(page->dmb_rx_bytes);
    counters.tcp_tx_bytes = number(page->tcp_tx_bytes);
    counters.tcp_rx_bytes = number(page->tcp_rx_bytes);
    counters.wakeups_sent = number(page->wakeups_sent);
    counters.wakeups_suppressed = number(page->wakeups_suppressed);
    counters.sleeps = number(page->sleeps);
    counters.spin_hits = number(page->spin_hits);
    counters.spin_misses = number(page->spin_misses);
    for (std::size_t i = 0; i < kReasonSlots; ++i) {
        if (number(page->reason_codes[i]) != 0) {
            counters.reasons.emplace_back(number(page->reason_codes[i]),
                                          number(page->reason_counts[i]));
        }
    }
    return counters;
}

std::optional<ConnChunkView> decode_chunk(std::span<const std::byte> bytes,
                                          std::span<const std::byte> again) {
    if (bytes.size() < sizeof(ConnChunk) || again.size() < sizeof(ConnChunk)) {
        return std::nullopt;
    }
    const auto first = copy_of<ConnChunk>(bytes);
    const auto second = copy_of<ConnChunk>(again);
    const ConnChunkHeader& header = second->header;
    if (header.magic != kConnChunkMagic || header.version != kConnChunkVersion ||
        header.block_bytes != sizeof(ConnBlock) || header.block_count != kBlocksPerChunk) {
        return std::nullopt;
    }
    ConnChunkView chunk;
    chunk.creator = static_cast<pid_t>(header.pid);
    for (std::size_t i = 0; i < kBlocksPerChunk; ++i) {
        const ConnView view = view_of(second->blocks[i]);
        const bool same_owner = number(first->blocks[i].generation) == view.generation &&
                                first->blocks[i].inode == view.inode;
        if (view.in_use() && same_owner && is_sane(view)) {
            chunk.blocks.push_back(view);
        }
    }
    return chunk;
}

ShimSnapshot scan_processes(std::optional<pid_t> only) {
    Scan scan;
    if (only) {
        scan.add(*only);
        return std::move(scan).take();
    }
    for (const pid_t pid : list_pids()) {
        scan.add(pid);
    }
    return std::move(scan).take();
}

} // namespace smcd::tools
