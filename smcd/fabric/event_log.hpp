// What happened at a fabric server, for `smcu fabric events`: the last kEventsMax of them. Floor 4,
// docs/fabric.md "management".
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

namespace smcd::fabric {

enum class Happening {
    serving,          ///< the server has begun
    client_connected, ///< by the ivshmem protocol
    client_ended,     ///< closed its connection, or died
    client_dropped,   ///< sent something, or took nothing
    client_refused,   ///< no descriptor or id was free
    drained,
    undrained,
};

struct FabricEvent {
    std::uint64_t number = 0; ///< from 1
    std::chrono::system_clock::time_point when;
    Happening what = Happening::serving;
    std::optional<std::uint32_t> client; ///< its ivshmem id
    std::optional<std::uint32_t> peers;  ///< how many a drain concerned
};

/// Thread: that of the server.
class EventLog {
public:
    static constexpr std::size_t kEventsMax = 256;

    void add(Happening what,
             std::optional<std::uint32_t> client = {},
             std::optional<std::uint32_t> peers = {}) {
        if (events_.size() == kEventsMax) {
            events_.pop_front();
        }
        events_.push_back({++count_, std::chrono::system_clock::now(), what, client, peers});
    }

    /// The oldest that is kept comes first.
    [[nodiscard]] const std::deque<FabricEvent>& events() const noexcept { return events_; }

private:
    std::deque<FabricEvent> events_;
    std::uint64_t count_ = 0;
};

} // namespace smcd::fabric
