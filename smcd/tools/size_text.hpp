// Sizes on the command line, as smc_run takes them: digits and optionally one of k, K, m, M.
// Floor 4.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace smcd::tools {

/// Largest size that makes sense for a socket buffer (SO_RCVBUF is an int).
inline constexpr std::uint64_t kSizeBytesMax = 0x7FFF'FFFF;

/// Bytes of "65536", "64k", "1M"; nothing when the text is no size, zero, or above kSizeBytesMax.
[[nodiscard]] std::optional<std::uint64_t> parse_size_text(std::string_view text) noexcept;

} // namespace smcd::tools
