// Sample: starts the two workers of a plan and puts together what they tell. Floor 4.
#pragma once

#include "bench/measure/histogram.hpp"
#include "bench/measure/plan.hpp"
#include "report.pb.h"

namespace smcd::bench {

struct Measured {
    Sample sample;
    Histogram latency;
    std::string congestion;
};

/// How long a sample may take, in seconds, before it counts as hanging: several times what it takes on a slow TCP.
[[nodiscard]] double patience_s(const Plan& plan) noexcept;

/// Runs one sample; blocks for its time and some more. A failure stands in sample.failed and
/// sample.reason.
[[nodiscard]] Measured run_sample(const Plan& plan);

/// The same; a sample whose handshake ran out of time, which says something about the load of the
/// machine only, is repeated, at most twice.
[[nodiscard]] Measured run_settled(const Plan& plan);

/// Fills the percentiles from a histogram; `scale`: what of each recorded time counts (half of a
/// round trip: 0.5).
void fill_percentiles(Percentiles& percentiles, const Histogram& histogram, double scale);

/// The share of a recorded time that the mode reports as its latency.
[[nodiscard]] constexpr double latency_scale(Mode mode) noexcept {
    return mode == Mode::pingpong || mode == Mode::mixed ? 0.5 : 1.0;
}

} // namespace smcd::bench
