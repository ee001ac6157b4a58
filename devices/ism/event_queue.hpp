// EventQueue: the 15 events that an ISM device keeps for its program. Floor 2, docs/protocol.md
// "devices". What comes while it is full is lost and counted, as on the hardware.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <optional>

#include "devices/api/fabric_event.hpp"

namespace smcd::dev {

class EventQueue {
public:
    static constexpr std::uint64_t kEntries = 15;

    /// false: the queue is full, the event is lost. Thread: any.
    bool push(const FabricEvent& event);
    /// The oldest; nothing when there is none. Thread: any.
    std::optional<FabricEvent> pop();
    /// Events lost since the start.
    [[nodiscard]] std::uint64_t overruns() const;

private:
    mutable std::mutex mutex_;
    std::uint64_t written_ = 0; ///< the header's idx: entries written so far
    std::uint64_t read_ = 0;
    std::uint64_t overruns_ = 0;
    std::array<FabricEvent, kEntries> entries_{};
};

} // namespace smcd::dev
