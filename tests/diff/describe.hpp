// Outcomes and views as text for people. Room tests/diff, no protocol section.
#pragma once

#include <string>

#include "tests/diff/wire.hpp"

namespace smcd::diff {

[[nodiscard]] std::string describe(const Outcome& outcome);
[[nodiscard]] std::string describe(const View& view);

} // namespace smcd::diff
