// The preset `rfc`: the four benchmarks with which SMC-D loopback was proposed for the Linux
// kernel, beside the figures published there. Floor 4.
#pragma once

#include "bench/measure/campaign.hpp"

namespace smcd::bench {

/// Exit status. Programs that are not installed are left out, and it says so.
int run_rfc(const Options& options);

} // namespace smcd::bench
