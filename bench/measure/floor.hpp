// What the machine can do at all: the ground that results stand on, measured in the same run.
// Floor 4.
#pragma once

#include <cstddef>

#include "report.pb.h"

namespace smcd::bench {

struct FloorPlan {
    int first_cpu = -1;
    int second_cpu = -1;
    std::size_t copy_bytes = 64'000;
    double seconds = 0.2; ///< for each of the primitives
};

/// One measurement of each primitive; two threads where two are needed.
[[nodiscard]] Floor measure_floor(const FloorPlan& plan);

} // namespace smcd::bench
