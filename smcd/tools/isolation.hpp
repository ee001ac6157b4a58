// What keeps a CPU from being left alone: read from /sys and /proc, nothing is changed. Floor 4,
// docs/smcu.md "smcu check --isolation".
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace smcd::tools {

enum class Standing {
    good,
    bad,
    unknown, ///< the kernel does not show it here, as in many virtual machines
};

struct Finding {
    int cpu = -1; ///< -1: the machine
    std::string_view what;
    Standing standing = Standing::unknown;
    std::string detail; ///< what was seen
    std::string remedy; ///< a command, or words of the kernel's command line; empty when good
};

/// CPUs of "0,2-3" in that order, as the kernel writes lists; nothing when the text is no list.
/// Empty text is the empty list.
[[nodiscard]] std::optional<std::vector<int>> parse_cpu_list(std::string_view text);

/// Seven findings for each CPU, in the order isolated, tickless, callbacks, interrupts, tasks,
/// frequency, sibling; behind them one of the machine: locked memory. `root` stands before "/sys"
/// and "/proc".
[[nodiscard]] std::vector<Finding> find_disturbances(const std::vector<int>& cpus,
                                                     const std::string& root = {});

/// `smcu check --isolation`: prints the findings. Exit status: 0 all good, 10 one is not, 2 no such
/// CPU.
[[nodiscard]] int check_isolation(const std::string& cpus, bool json);

} // namespace smcd::tools
