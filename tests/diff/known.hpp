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
};

/// Both worlds answered `op` otherwise.
[[nodiscard]] Known
known_outcome(const Op& op, const Outcome& plain, const Outcome& other, const Past& past);
/// Whether a call makes a connection return to TCP.
[[nodiscard]] bool leads_to_tcp(const Op& op);

} // namespace smcd::diff
