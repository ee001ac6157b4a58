// Whether a difference that was seen once is one: it must come again, and TCP must always agree
// with itself. Room tests/diff, no protocol section.
#pragma once

#include "tests/diff/runner.hpp"

namespace smcd::diff {

enum class Verdict : std::uint8_t {
    different,
    passing,     ///< it hardly comes again: a moment of a busy machine, or of the handshake
    undetermined ///< plain TCP itself does not always show the same
};

class Judge {
public:
    /// `pair` has seen the difference. `plain` has plain TCP in both worlds; nullptr: so has
    /// `pair`.
    Judge(Runner& pair, Runner* plain) : pair_(pair), plain_(plain) {}

    [[nodiscard]] Verdict look_again(const Program& program);

    /// For shrink(): whether the candidate, too, is different, as far as a few runs tell.
    [[nodiscard]] bool still_different(const Program& candidate);

    /// Of the last look_again(): how often the difference came, and of how many runs.
    [[nodiscard]] int times_seen() const { return seen_; }

    static constexpr int kRuns = 10;

private:
    bool disagrees_with_itself(const Program& program, int runs);

    Runner& pair_;
    Runner* plain_;
    int seen_ = 0;
};

} // namespace smcd::diff
