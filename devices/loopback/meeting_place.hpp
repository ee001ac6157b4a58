// MeetingPlace: where the processes of one fabric find each other's rendezvous. Floor 2,
// docs/shared-memory.md "links".
#pragma once

#include <cstdint>
#include <string>

namespace smcd::dev {

struct MeetingPlace {
    std::uint16_t fabric =
        0; ///< 0: the loopback device's, else that of another device on our links
    /// Of UNIX sockets; empty: abstract names, which reach as far as the network namespace.
    std::string folder;
};

} // namespace smcd::dev
