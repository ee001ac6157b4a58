// The results as text and as JSON. Floor 4.
#pragma once

#include <string>

#include "bench/jitter/run.hpp"

namespace smcd::jitter {

struct Results {
    Plan plan;
    MachineReport machine;
    TransportReport transport;
};

/// "both", "one side" or "none": whose memory is locked and who polls all the time.
[[nodiscard]] std::string isolation_of(const Results& results);

[[nodiscard]] std::string text_of(const Results& results);
/// Schema smcu.jitter/1.
[[nodiscard]] std::string json_of(const Results& results);

} // namespace smcd::jitter
