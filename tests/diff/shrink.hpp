// Makes a failing program as small as it gets. Room tests/diff, no protocol section.
#pragma once

#include <functional>

#include "tests/diff/program.hpp"

namespace smcd::diff {

/// `fails` must hold for `program`; the result fails too, and none of its calls can be left out or
/// made simpler by the rules of this file. At most `tries_max` runs.
[[nodiscard]] Program
shrink(Program program, const std::function<bool(const Program&)>& fails, int tries_max);

} // namespace smcd::diff
