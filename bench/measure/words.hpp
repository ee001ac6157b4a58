// The words of the command line that CLI11 leaves to us: modes with their aliases, lists of sizes,
// paths, CPUs. Floor 4.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bench/measure/campaign.hpp"

namespace smcd::bench {

/// Our name of a mode, or one that sockperf and netperf made known (pp, tp, ul, crr).
[[nodiscard]] std::optional<Mode> mode_of_word(std::string_view word) noexcept;

/// "14,64k,1M": each 1 B to 64 MiB; an empty text leaves the list empty. false: not such a list.
[[nodiscard]] bool parse_sizes(const std::string& text, std::vector<std::uint64_t>& sizes);

/// "shim,library"; subjects: ours, else TCP and UNIX sockets, or "none". false: a word is no such
/// path.
[[nodiscard]] bool parse_paths(const std::string& text, bool subjects, std::vector<Path>& paths);

/// "two", "same", "none" or "SERVER,CLIENT".
[[nodiscard]] bool parse_cpus(const std::string& text, Options& options);

} // namespace smcd::bench
