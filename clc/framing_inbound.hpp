// Finding one message at the front of an inbound stream. Private to this room. Floor 1.
#pragma once

#include "clc/messages.hpp"

namespace smcd::clc {

enum class Front { incomplete, message, not_clc };

/// What stands first: a whole message (header filled, its bytes are inbound.first(header.length)), the beginning of one,
/// or something that cannot be CLC.
[[nodiscard]] Front front_of(std::span<const std::byte> inbound, Header& header) noexcept;

}  // namespace smcd::clc
