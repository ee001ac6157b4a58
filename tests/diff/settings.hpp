// The command line of diff_test. Room tests/diff, no protocol section.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace smcd::diff {

struct Settings {
    std::string actor;
    std::vector<std::string> wrap;
    std::uint64_t programs = 1000;
    std::uint64_t seed = 0;
    std::int64_t index = -1;
    std::uint64_t failures_max = 1;
    bool canary = false;
    bool print = false;
    std::vector<std::string> files;
};

/// Ends the process with a message if the command line makes no sense.
[[nodiscard]] Settings read_settings(int argc, char** argv);

} // namespace smcd::diff
