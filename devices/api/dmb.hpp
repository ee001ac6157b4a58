// Dmb and RemoteDmb: the two views of a direct memory buffer. Floor 1 (docs/protocol.md "devices").
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "devices/api/bells.hpp"
#include "smcd/base/ids.hpp"

namespace smcd::dev {

/// What a caller wants registered.
struct DmbRequest {
    Gid remote_gid;           ///< the only device that may write the DMB
    LinkGroupId remote_group; ///< emulated devices: which peer behind that device
    SizeClass size_class;     ///< DMB of 16 KiB << size_class bytes, CDC area included
};

/// A DMB that we own and receive into. Valid until unregister_dmb(token).
struct Dmb {
    DmbToken token;
    SbaIndex index;
    SizeClass size_class;
    std::span<std::byte>
        memory; ///< CDC area (32 bytes), then the ring; writable by the peer at any time
    Bells* bells = nullptr; ///< our wake-up words; copying devices look at them for the peer
    /// Whether the writer can end a futex sleep on the bells. If not, a sleeper looks again after
    /// short steps.
    bool peer_wakes = true;
};

/// A peer's DMB, attached: writing it is delivering. Valid until detach_dmb(token), whatever the
/// owner does.
struct RemoteDmb {
    DmbToken token;
    SbaIndex index; ///< on the owner's device
    SizeClass size_class;
    std::span<std::byte> memory; ///< the owner's memory
    Bells* bells = nullptr;      ///< the owner's wake-up words
    void* route = nullptr;       ///< the device's own handle for signal(); opaque
    void* user = nullptr;        ///< the holder's own: devices only hand it back
};

} // namespace smcd::dev
