// FabricEvent: what a fabric tells a device of its peers, in the words of the ISM's event queue.
// Floor 1.
#pragma once

#include <cstdint>

namespace smcd::dev {

enum class FabricEventType : std::uint32_t {
    buffer = 0,   ///< about a DMB; `token` names it
    device = 1,   ///< about a GID, in `token`
    software = 2, ///< signal_event() of a peer, whose GID is in `token`
};

/// Codes of buffer and device events; those of software events are the sender's.
inline constexpr std::uint32_t kFabricDeviceError = 0x01;
inline constexpr std::uint32_t kFabricBufferUnregistered = 0x04;
inline constexpr std::uint32_t kFabricDeviceDisabled = 0x07;

struct FabricEvent {
    FabricEventType type = FabricEventType::buffer;
    std::uint32_t code = 0;
    std::uint64_t token = 0;   ///< a DMB's, or the first half of a GID
    std::uint64_t time_ns = 0; ///< monotonic, of its arrival
    std::uint64_t info = 0;
};

static_assert(sizeof(FabricEvent) == 32);

/// Codes of software events, which SMC-D gives their meaning.
inline constexpr std::uint32_t kSmcdShutdown = 0x80; ///< the sender has ended its link groups to us
inline constexpr std::uint32_t kSmcdTestLink = 0x83; ///< is to be answered
/// The information of a software event: link group id, VLAN id, and in the last 16 bits this.
inline constexpr unsigned kSmcdInfoCodeShift = 48;
inline constexpr std::uint64_t kSmcdTestRequest = 1;
inline constexpr std::uint64_t kSmcdTestResponse = 2;

} // namespace smcd::dev
