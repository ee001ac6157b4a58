// The configuration file. Floor 3, docs/configuration.md "File".
#include "smcd/runtime/settings.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>

#include "smcd/base/raw_syscall.hpp"
#include "smcd/base/unique_fd.hpp"

namespace smcd {
namespace {

constexpr const char* kDefaultPath = "/etc/smcd.conf";
constexpr std::size_t kFileBytesMax = 64U << 10U;
constexpr std::string_view kPrefix = "SMCD_";

std::string_view trimmed(std::string_view text) noexcept {
    constexpr std::string_view kBlanks = " \t\r";
    const auto first = text.find_first_not_of(kBlanks);
    if (first == std::string_view::npos) {
        return {};
    }
    return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

char upper(char letter) noexcept {
    return letter >= 'a' && letter <= 'z' ? static_cast<char>(letter - 'a' + 'A') : letter;
}

} // namespace

std::string settings_path() {
    const char* path = std::getenv("SMCD_CONF");
    return path == nullptr ? kDefaultPath : path;
}

std::optional<SettingLine> parse_setting(std::string_view line) {
    line = trimmed(line);
    const auto equals = line.find('=');
    if (line.empty() || line.front() == '#' || equals == std::string_view::npos) {
        return std::nullopt;
    }
    return SettingLine{std::string(trimmed(line.substr(0, equals))),
                       std::string(trimmed(line.substr(equals + 1)))};
}

Settings Settings::read(const std::string& path) {
    const UniqueFd fd(path.empty() ? -1
                                   : raw::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));

    struct stat info {};

    if (!fd.valid() || ::fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode)) {
        return {};
    }
    std::string text(kFileBytesMax, '\0');
    std::size_t length = 0;
    while (length < text.size()) {
        const ssize_t n = raw::read(fd.get(), text.data() + length, text.size() - length);
        if (n <= 0) {
            break;
        }
        length += static_cast<std::size_t>(n);
    }
    return parse(std::string_view(text).substr(0, length));
}

Settings Settings::parse(std::string_view text) {
    Settings settings;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        if (const auto setting = parse_setting(text.substr(0, end)); setting) {
            std::string name(kPrefix);
            std::transform(
                setting->name.begin(), setting->name.end(), std::back_inserter(name), upper);
            settings.values_.emplace_back(std::move(name), setting->value);
        }
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return settings;
}

const char* Settings::value(const char* name, const char* alias) const noexcept {
    if (const char* set = std::getenv(name); set != nullptr) {
        return set;
    }
    if (const char* set = alias == nullptr ? nullptr : std::getenv(alias); set != nullptr) {
        return set;
    }
    const auto found = std::find_if(values_.rbegin(), values_.rend(), [name](const auto& entry) {
        return entry.first == name;
    });
    return found == values_.rend() ? nullptr : found->second.c_str();
}

} // namespace smcd
