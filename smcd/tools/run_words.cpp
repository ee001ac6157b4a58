#include "smcd/tools/run_words.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <string_view>

namespace smcd::tools {
namespace {

/// Options whose value may be the next word. run.cpp defines them.
constexpr std::array<std::string_view, 4> kLongWithValue{
    "--rcvbuf", "--sndbuf", "--profile", "--device"};
constexpr std::string_view kShortWithValue = "rt";

/// Whether the value of this option is the next word ("-r 64k", "-dr 64k"), not part of this one
/// ("-r64k").
bool takes_next_word(std::string_view option) noexcept {
    if (option.starts_with("--")) {
        return std::find(kLongWithValue.begin(), kLongWithValue.end(), option) !=
               kLongWithValue.end();
    }
    const auto at = option.find_first_of(kShortWithValue);
    return at != std::string_view::npos && at + 1 == option.size();
}

} // namespace

RunWords split_run_words(const std::vector<std::string>& words) {
    std::size_t i = 0;
    while (i < words.size() && words[i].size() > 1 && words[i].front() == '-' && words[i] != "--") {
        i += takes_next_word(words[i]) ? 2 : 1;
    }
    i = std::min(i, words.size());
    RunWords split;
    split.own.assign(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(i));
    i += i < words.size() && words[i] == "--" ? 1 : 0;
    split.command.assign(words.begin() + static_cast<std::ptrdiff_t>(i), words.end());
    return split;
}

} // namespace smcd::tools
