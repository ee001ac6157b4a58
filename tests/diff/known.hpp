// The differences that docs/known-differences.md names, as the tester meets them. Room tests/diff,
// no protocol section.
#pragma once

#include <string>

#include "tests/diff/wire.hpp"

namespace smcd::diff {

struct Known {
    const char* name = nullptr; ///< nullptr: none, a bug
    bool ends = false;          ///< what follows cannot be compared
};

/// What happened before in the program.
struct Past {
    bool left = false; ///< a call has made a connection return to TCP
    bool forked = false;
    bool outer_edge = false;        ///< a set is in another one, edge-triggered
    bool closed_of_several = false; ///< a descriptor went that a relative may have, too
    bool ended = false;             ///< a side has shut something down, or closed
    bool half_closed = false;       ///< by shutdown()
    bool substituted = false;       ///< behind that, a call wanted the connection on TCP
};

/// Both worlds answered `op` otherwise.
[[nodiscard]] Known
known_outcome(const Op& op, const Outcome& plain, const Outcome& other, const Past& past);
/// The descriptor looks otherwise in both worlds: whether it only lacks the error of a reset that calls on a substitute
/// did not draw.
[[nodiscard]] bool lacks_reset(const View& plain, const View& other, const Past& past);
/// Whether a call makes a connection return to TCP.
[[nodiscard]] bool leads_to_tcp(const Op& op);

} // namespace smcd::diff
