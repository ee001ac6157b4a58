// Random programs. Room tests/diff, no protocol section.
#pragma once

#include <cstdint>

#include "tests/diff/program.hpp"

namespace smcd::diff {

/// The program that belongs to a seed; the same everywhere.
[[nodiscard]] Program generate(std::uint64_t seed);

} // namespace smcd::diff
