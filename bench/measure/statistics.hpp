// Medians with intervals that assume nothing about the distribution. Floor 4.
#pragma once

#include <vector>

namespace smcd::bench {

struct Interval {
    double median = 0;
    double low = 0;
    double high = 0;
    double coverage = 0; ///< probability that the true median lies in [low, high]
};

/// Median and the narrowest interval between two order statistics that covers it with 95 %; with
/// fewer than six values there is none, and the smallest and the largest are given with what they
/// cover.
[[nodiscard]] Interval interval_of(std::vector<double> values);

} // namespace smcd::bench
