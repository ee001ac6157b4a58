#include "bench/measure/plan.hpp"

#include <array>
#include <cstdlib>
#include <utility>

namespace smcd::bench {
namespace {

constexpr std::array<std::pair<Mode, std::string_view>, 8> kModes{
    {{Mode::pingpong, "pingpong"},
     {Mode::stream, "stream"},
     {Mode::rate, "rate"},
     {Mode::connect, "connect"},
     {Mode::request, "request"},
     {Mode::many, "many"},
     {Mode::load, "load"},
     {Mode::mixed, "mixed"}}
};
constexpr std::array<std::pair<Path, std::string_view>, 5> kPaths{
    {{Path::tcp, "tcp"},
     {Path::unix_socket, "unix"},
     {Path::shim, "shim"},
     {Path::library, "library"},
     {Path::zerocopy, "zerocopy"}}
};

template <typename Table, typename Key>
std::string_view name_in(const Table& table, Key key) noexcept {
    for (const auto& [value, name] : table) {
        if (value == key) {
            return name;
        }
    }
    return "?";
}

constexpr std::size_t kWords = 15;

double number(const std::string& word) noexcept {
    return std::strtod(word.c_str(), nullptr);
}

std::uint32_t small(const std::string& word) noexcept {
    return static_cast<std::uint32_t>(std::strtoul(word.c_str(), nullptr, 10));
}

/// An empty word would be lost on a command line's way through shells and eyes.
std::string filled(const std::string& word) {
    return word.empty() ? "-" : word;
}

} // namespace

std::string_view name_of(Mode mode) noexcept {
    return name_in(kModes, mode);
}

std::string_view name_of(Path path) noexcept {
    return name_in(kPaths, path);
}

std::optional<Mode> parse_mode(std::string_view name) noexcept {
    for (const auto& [value, word] : kModes) {
        if (word == name) {
            return value;
        }
    }
    return std::nullopt;
}

std::optional<Path> parse_path(std::string_view name) noexcept {
    for (const auto& [value, word] : kPaths) {
        if (word == name) {
            return value;
        }
    }
    return std::nullopt;
}

std::vector<std::string> Plan::words() const {
    return {std::string(name_of(mode)),
            std::string(name_of(path)),
            std::to_string(message_bytes),
            std::to_string(seconds),
            std::to_string(count),
            std::to_string(warmup_s),
            std::to_string(connections),
            std::to_string(active),
            std::to_string(batch),
            std::to_string(rate),
            nodelay ? "1" : "0",
            filled(congestion),
            filled(profile),
            std::to_string(client_cpu),
            std::to_string(server_cpu)};
}

std::optional<Plan> parse_plan(const std::vector<std::string>& words) {
    if (words.size() != kWords) {
        return std::nullopt;
    }
    const auto mode = parse_mode(words[0]);
    const auto path = parse_path(words[1]);
    if (!mode || !path) {
        return std::nullopt;
    }
    Plan plan;
    plan.mode = *mode;
    plan.path = *path;
    plan.message_bytes = std::strtoull(words[2].c_str(), nullptr, 10);
    plan.seconds = number(words[3]);
    plan.count = std::strtoull(words[4].c_str(), nullptr, 10);
    plan.warmup_s = number(words[5]);
    plan.connections = small(words[6]);
    plan.active = small(words[7]);
    plan.batch = small(words[8]);
    plan.rate = number(words[9]);
    plan.nodelay = words[10] == "1";
    plan.congestion = words[11] == "-" ? "" : words[11];
    plan.profile = words[12] == "-" ? "" : words[12];
    plan.client_cpu = static_cast<int>(std::strtol(words[13].c_str(), nullptr, 10));
    plan.server_cpu = static_cast<int>(std::strtol(words[14].c_str(), nullptr, 10));
    return plan;
}

} // namespace smcd::bench
