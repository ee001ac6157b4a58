#include "bench/measure/words.hpp"

#include <sched.h>

#include <array>
#include <charconv>
#include <sstream>
#include <utility>

#include "smcd/tools/size_text.hpp"

namespace smcd::bench {
namespace {

constexpr std::uint64_t kSizeMax = 64U << 20U;
constexpr std::array<std::pair<std::string_view, Mode>, 9> kAliases{
    {{"ping-pong", Mode::pingpong},
     {"pp", Mode::pingpong},
     {"tp", Mode::stream},
     {"throughput", Mode::stream},
     {"message-rate", Mode::rate},
     {"crr", Mode::request},
     {"ul", Mode::load},
     {"under-load", Mode::load},
     {"connections", Mode::many}}
};

std::vector<std::string> split(const std::string& text) {
    std::vector<std::string> words;
    std::istringstream stream(text);
    for (std::string word; std::getline(stream, word, ',');) {
        words.push_back(word);
    }
    return words;
}

std::optional<int> cpu_of(const std::string& word) noexcept {
    int cpu = -1;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), cpu);
    const bool whole = error == std::errc() && end == word.data() + word.size();
    return whole && cpu >= 0 && cpu < CPU_SETSIZE ? std::optional(cpu) : std::nullopt;
}

} // namespace

std::optional<Mode> mode_of_word(std::string_view word) noexcept {
    for (const auto& [alias, mode] : kAliases) {
        if (alias == word) {
            return mode;
        }
    }
    return parse_mode(word);
}

bool parse_sizes(const std::string& text, std::vector<std::uint64_t>& sizes) {
    for (const std::string& word : split(text)) {
        const auto bytes = tools::parse_size_text(word);
        if (!bytes || *bytes == 0 || *bytes > kSizeMax) {
            return false;
        }
        sizes.push_back(*bytes);
    }
    return true;
}

bool parse_paths(const std::string& text, bool subjects, std::vector<Path>& paths) {
    paths.clear();
    if (!subjects && text == "none") {
        return true;
    }
    for (const std::string& word : split(text)) {
        const auto path = parse_path(word);
        if (!path || is_subject(*path) != subjects) {
            return false;
        }
        paths.push_back(*path);
    }
    return !paths.empty();
}

bool parse_cpus(const std::string& text, Options& options) {
    if (text == "two" || text == "same" || text == "none") {
        options.placement = text == "two"    ? Placement::two_cpus
                            : text == "same" ? Placement::same_cpu
                                             : Placement::none;
        return true;
    }
    const auto words = split(text);
    if (words.size() != 2 || !cpu_of(words[0]) || !cpu_of(words[1])) {
        return false;
    }
    options.placement = Placement::given;
    options.server_cpu = *cpu_of(words[0]);
    options.client_cpu = *cpu_of(words[1]);
    return true;
}

} // namespace smcd::bench
