// Where the options of `smcu run` end and the command begins. Floor 4.
#pragma once

#include <string>
#include <vector>

namespace smcd::tools {

struct RunWords {
    std::vector<std::string> own;     ///< options of `smcu run`
    std::vector<std::string> command; ///< the program and its arguments, untouched
};

/// Splits the words behind `smcu run`: the command begins at the first word that is neither an
/// option nor an option's value, or behind "--". The parser of the other commands would look for
/// options in the whole line.
[[nodiscard]] RunWords split_run_words(const std::vector<std::string>& words);

} // namespace smcd::tools
