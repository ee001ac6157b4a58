// Starts programs under the preloaded library: what `smcu run` and `smcu check` have in common.
// Floor 4.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "smcd/base/result.hpp"

namespace smcd::tools {

/// Environment variables to set, besides LD_PRELOAD.
using Settings = std::vector<std::pair<std::string, std::string>>;

/// Puts the library into LD_PRELOAD of this process's environment, for programs that it starts.
/// Errors: ENOENT no library beside this program or in the installed place; EINVAL its path has a
/// space or a colon.
[[nodiscard]] Result<void> preload_into_environment();

/// One sentence for an error of preload_into_environment().
[[nodiscard]] std::string describe_preload_error(std::error_code error);

/// Sets the variables in this process's environment.
void apply(const Settings& settings);

/// A child under the library whose standard output we read.
struct Child {
    int pid = -1;
    int output = -1; ///< read end of a pipe; the caller closes it
};

/// Starts this very program with the arguments, under the library if `preloaded`. Child gets
/// SIGTERM when we die.
[[nodiscard]] Result<Child> start_self(const std::vector<std::string>& arguments, bool preloaded);

/// Lines of a child's output, and its end, each bounded in time.
/// ETIMEDOUT: nothing came within the time. ENODATA: the child closed its output.
[[nodiscard]] Result<std::string> read_line(const Child& child, int timeout_ms);

/// SIGTERM, then SIGKILL after a while; waits. Returns the wait status.
int stop(const Child& child);

} // namespace smcd::tools
