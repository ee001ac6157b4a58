#include "tests/diff/judge.hpp"

namespace smcd::diff {
namespace {

constexpr int kSeenEnough = 3; ///< of Judge::kRuns
constexpr int kPlainRuns = 24; ///< each with other pauses between the calls
constexpr int kRarelySeen = 7; ///< below: a candidate of shrink() gets more than one chance
constexpr int kChances = 4;

} // namespace

bool Judge::disagrees_with_itself(const Program& program, int runs) {
    bool disagrees = false;
    for (int i = 0; i < runs && !disagrees && plain_ != nullptr; ++i) {
        plain_->shuffle(static_cast<unsigned>(i));
        disagrees = plain_->run(program).difference.has_value();
    }
    return disagrees;
}

Verdict Judge::look_again(const Program& program) {
    seen_ = 0;
    for (int i = 0; i < kRuns; ++i) {
        seen_ += pair_.run(program).difference ? 1 : 0;
    }
    if (seen_ < kSeenEnough) {
        return Verdict::passing;
    }
    return disagrees_with_itself(program, kPlainRuns) ? Verdict::undetermined : Verdict::different;
}

bool Judge::still_different(const Program& candidate) {
    const int chances = seen_ < kRarelySeen ? kChances : 1;
    bool different = false;
    for (int i = 0; i < chances && !different; ++i) {
        different = pair_.run(candidate).difference.has_value();
    }
    return different && !disagrees_with_itself(candidate, kChances);
}

} // namespace smcd::diff
