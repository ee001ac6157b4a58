// Errc: the engine's own error category, for what no errno value says. Floor 0.
// Everything else in a Result is an errno value of the generic category.
#pragma once

#include <system_error>

#include "smcd/base/result.hpp"

namespace smcd {

enum class Errc : int {
    unsafe_memory = 1, ///< a received descriptor is not the sealed memory that was agreed on
    peer_violation,    ///< a peer's cursor, message or signal contradicts the protocol
    peer_gone,         ///< the peer process has died or closed its side
    over_budget,       ///< one of our own limits (limits.hpp) would be exceeded
    switched_off,      ///< configuration or policy forbids acceleration here
    slow_memory,       ///< a mapping is so slow that TCP is better
    fabric_gone,       ///< the memory of a fabric was removed, or its server has another one now
};

/// The category of Errc; constant, never destroyed before its users.
[[nodiscard]] const std::error_category& engine_category() noexcept;

[[nodiscard]] inline std::error_code make_error_code(Errc code) noexcept {
    return {static_cast<int>(code), engine_category()};
}

/// An Errc as the error half of a Result.
[[nodiscard]] inline Error engine_error(Errc code) noexcept {
    return Error(make_error_code(code));
}

} // namespace smcd

template <>
struct std::is_error_code_enum<smcd::Errc> : std::true_type {};
