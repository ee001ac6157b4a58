#include "tests/diff/settings.hpp"

#include <cstdio>
#include <cstdlib>
#include <random>
#include <sstream>

namespace smcd::diff {
namespace {

constexpr const char* kUsage = R"(usage: diff_test [OPTION...] [FILE...]
Runs random programs, or those in FILEs, in two worlds and compares them.
  --actor PATH    diff_actor; default: beside this program
  --wrap COMMAND  puts the library under the second world, e.g. "smcu run --"; without: plain TCP too
  --programs N    how many; default 1000
  --seed N        default: SMCD_SEED, or a fresh one
  --index N       the program of this number alone
  --failures N    goes on until so many different failures; default 1
  --canary        plants a difference; it must be found and be shrunk to three calls
  --print         prints the programs instead of running them
)";

std::vector<std::string> words_of(const std::string& text) {
    std::istringstream in(text);
    std::vector<std::string> words;
    for (std::string word; in >> word;) {
        words.push_back(word);
    }
    return words;
}

[[noreturn]] void usage() {
    std::fputs(kUsage, stderr);
    std::exit(2);
}

std::uint64_t default_seed() {
    const char* text = std::getenv("SMCD_SEED");
    return text != nullptr && *text != '\0' ? std::strtoull(text, nullptr, 10)
                                            : std::random_device{}();
}

} // namespace

Settings read_settings(int argc, char** argv) {
    Settings settings;
    const std::string self = argv[0];
    settings.actor = self.substr(0, self.rfind('/') + 1) + "diff_actor";
    settings.seed = default_seed();
    for (int i = 1; i < argc; ++i) {
        const std::string word = argv[i];
        const auto value = [&]() -> std::string {
            return i + 1 < argc ? argv[++i] : (usage(), "");
        };
        if (word == "--actor") {
            settings.actor = value();
        } else if (word == "--wrap") {
            settings.wrap = words_of(value());
        } else if (word == "--programs") {
            settings.programs = std::stoull(value());
        } else if (word == "--seed") {
            settings.seed = std::stoull(value());
        } else if (word == "--index") {
            settings.index = std::stoll(value());
        } else if (word == "--failures") {
            settings.failures_max = std::stoull(value());
        } else if (word == "--canary") {
            settings.canary = true;
        } else if (word == "--print") {
            settings.print = true;
        } else if (word.empty() || word[0] == '-') {
            usage();
        } else {
            settings.files.push_back(word);
        }
    }
    return settings;
}

} // namespace smcd::diff
