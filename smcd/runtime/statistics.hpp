// Statistics: what this process has done, for `smcu stats` and for the line that SMCD_STATS_FILE asks for. Floor 3.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>

#include "smcd/base/mapping.hpp"
#include "smcd/base/reason.hpp"
#include "smcd/core/conn_block.hpp"

namespace smcd {

inline constexpr std::size_t kReasonSlots = 32;
inline constexpr std::size_t kDeviceSlots = 8;

/// Of closed connections over one device.
struct DeviceCounters {
    std::atomic<std::uint32_t> device; ///< dev::DeviceId; 0: free slot
    std::atomic<std::uint64_t> connections;
    std::atomic<std::uint64_t> tx_bytes;
    std::atomic<std::uint64_t> rx_bytes;
};

/// Counters of one process, in a mapping named "smcd-proc" that tools read from outside.
struct alignas(64) ProcessPage {
    std::uint64_t magic;
    std::uint32_t version;
    std::uint32_t pid;
    std::uint64_t started_ns;
    std::atomic<std::uint64_t> connections_smc; ///< accelerated since the start
    std::atomic<std::uint64_t> connections_tcp; ///< ended up on TCP
    std::atomic<std::uint64_t> connections_live;
    std::atomic<std::uint64_t> listeners;
    std::atomic<std::uint64_t> handshake_errors; ///< handshakes that could only end in a reset
    // Of closed connections; live ones are added by the reader.
    std::atomic<std::uint64_t> dmb_tx_bytes;
    std::atomic<std::uint64_t> dmb_rx_bytes;
    std::atomic<std::uint64_t> tcp_tx_bytes;
    std::atomic<std::uint64_t> tcp_rx_bytes;
    std::atomic<std::uint64_t> wakeups_sent;
    std::atomic<std::uint64_t> wakeups_suppressed;
    std::atomic<std::uint64_t> sleeps;
    std::atomic<std::uint64_t> spin_hits;
    std::atomic<std::uint64_t> spin_misses;
    std::array<std::atomic<std::uint32_t>, kReasonSlots> reason_codes; ///< 0: free slot
    std::array<std::atomic<std::uint64_t>, kReasonSlots> reason_counts;
    std::array<DeviceCounters, kDeviceSlots> devices;
};
inline constexpr std::uint64_t kProcessPageMagic = 0x736D63642D70726FULL; // "smcd-pro"
inline constexpr std::uint32_t kProcessPageVersion = 1;
static_assert(sizeof(ProcessPage) <= 4096);

class Statistics {
public:
    /// Maps the page; without memory the counters live in a private one.
    Statistics();
    [[nodiscard]] ProcessPage& page() noexcept { return *page_; }
    void count_tcp(Reason reason) noexcept;
    /// Adds a connection that ends to the totals.
    void absorb(const ConnBlock& block) noexcept;
    /// Fresh page for a child of fork().
    void after_fork_in_child() noexcept;
    /// The process's JSON line, live connections not included; ends with a newline.
    [[nodiscard]] std::string json_line() const;

private:
    void map_page() noexcept;
    void absorb_by_device(const ConnBlock& block) noexcept;

    Mapping mapping_;
    ProcessPage* page_ = nullptr;
    ProcessPage fallback_{};
};

}  // namespace smcd
