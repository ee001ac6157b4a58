// Profiles: how the waiters of a process, or of one connection, wait. Floor 3,
// docs/configuration.md "Profiles".
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "smcd/core/spin.hpp"

namespace smcd {

struct Channel;

struct Profile {
    std::string_view name;
    SpinLimits spin;
    bool pins_memory =
        false; ///< what a connection touches is present and locked before its first byte
};

/// All there are, the default first. Valid for ever.
[[nodiscard]] std::span<const Profile> profiles() noexcept;
/// nullptr: there is none of that name.
[[nodiscard]] const Profile* find_profile(std::string_view name) noexcept;
/// "balanced, latency, ...": for messages.
[[nodiscard]] std::string profile_names();

/// Makes the pages of an accelerated connection present and locks them (mlock): afterwards none of
/// its calls faults. Where RLIMIT_MEMLOCK forbids the lock they are only present, and the log says
/// so. Blocks for as long as that takes, 0.5 us per page of new memory. Thread: the one that sets
/// the channel up.
void pin_memory(const Channel& channel) noexcept;
/// Takes the locks off; the pages stay where they are. They do not count against the limit any
/// more.
void unpin_memory(const Channel& channel) noexcept;

} // namespace smcd
