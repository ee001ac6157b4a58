// EventQueue: the 15 events that an ISM device keeps for its program. Floor 2, docs/protocol.md
// "devices". What comes while it is full is lost and counted, as on the hardware.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <optional>

namespace smcd::dev {

enum class IsmEventType : std::uint32_t {
    buffer = 0,   ///< about a DMB; `token` names it
    device = 1,   ///< about a GID, in `token`
    software = 2, ///< signal_event() of a peer, whose GID is in `token`
};

/// Codes of buffer and device events; those of software events are the sender's.
inline constexpr std::uint32_t kIsmDeviceError = 0x01;
inline constexpr std::uint32_t kIsmBufferUnregistered = 0x04;
inline constexpr std::uint32_t kIsmDeviceDisabled = 0x07;

struct IsmEvent {
    IsmEventType type = IsmEventType::buffer;
    std::uint32_t code = 0;
    std::uint64_t token = 0;   ///< a DMB's, or the first half of a GID
    std::uint64_t time_ns = 0; ///< monotonic, of its arrival
    std::uint64_t info = 0;
};

static_assert(sizeof(IsmEvent) == 32);

class EventQueue {
public:
    static constexpr std::uint64_t kEntries = 15;

    /// false: the queue is full, the event is lost. Thread: any.
    bool push(const IsmEvent& event);
    /// The oldest; nothing when there is none. Thread: any.
    std::optional<IsmEvent> pop();
    /// Events lost since the start.
    [[nodiscard]] std::uint64_t overruns() const;

private:
    mutable std::mutex mutex_;
    std::uint64_t written_ = 0; ///< the header's idx: entries written so far
    std::uint64_t read_ = 0;
    std::uint64_t overruns_ = 0;
    std::array<IsmEvent, kEntries> entries_{};
};

} // namespace smcd::dev
