// Programs that need help to run at our speed, known by name. Floor 4, docs/known-differences.md "programs".
#pragma once

#include <cstdint>

namespace smcd::preload {

/// sockperf's ping-pong has room for 600,000 round trips per second of its run and aborts beyond. Unless the command line
/// raises that (--mps, --burst) or counts messages (-n), a round trip takes at least this long, in nanoseconds; 0: no limit.
extern std::uint64_t round_trip_floor_ns;

/// Looks at the command line of the process; once, before any call is served.
void detect_quirks() noexcept;

/// Behind a receive of a process with a floor: waits until the round trip has lasted long enough.
void hold_round_trip() noexcept;

}  // namespace smcd::preload
