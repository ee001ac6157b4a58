// Changing the configuration file. Floor 4, docs/configuration.md "File".
#include "smcd/tools/conf_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <vector>

#include "smcd/base/unique_fd.hpp"
#include "smcd/runtime/settings.hpp"
#include "smcd/tools/text.hpp"

namespace smcd::tools {

std::string with_setting(std::string_view text, std::string_view name, std::string_view value) {
    std::vector<std::string> lines;
    std::size_t last = 0; // line of the setting, plus one
    for_each_line(text, [&](std::string_view line) {
        const auto setting = parse_setting(line);
        if (setting && setting->name == name) {
            if (last != 0) {
                lines[last - 1].clear();
            }
            lines.emplace_back("\n");
            last = lines.size();
            return;
        }
        lines.push_back(std::string(line) + "\n");
    });
    if (last == 0) {
        lines.emplace_back();
        last = lines.size();
    }
    lines[last - 1] = value.empty() ? "" : std::string(name) + " = " + std::string(value) + "\n";
    std::string result;
    for (const std::string& line : lines) {
        result += line;
    }
    return result;
}

Result<std::string> read_text(const std::string& path) {
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd.valid()) {
        if (errno == ENOENT) {
            return std::string();
        }
        return errno_error();
    }
    std::string text;
    std::array<char, 4096> piece{};
    for (;;) {
        const ssize_t n = ::read(fd.get(), piece.data(), piece.size());
        if (n < 0) {
            return errno_error();
        }
        if (n == 0) {
            return text;
        }
        text.append(piece.data(), static_cast<std::size_t>(n));
    }
}

Result<void> replace_text(const std::string& path, std::string_view text) {
    struct stat old {};

    constexpr mode_t kNewFile = 0644;
    const mode_t mode = ::stat(path.c_str(), &old) == 0 ? old.st_mode & 07777U : kNewFile;
    std::string name = path + ".XXXXXX";
    const UniqueFd fd(::mkostemp(name.data(), O_CLOEXEC));
    if (!fd.valid()) {
        return errno_error();
    }
    const bool written =
        ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
        ::fchmod(fd.get(), mode) == 0 && ::fsync(fd.get()) == 0 &&
        ::rename(name.c_str(), path.c_str()) == 0;
    if (!written) {
        const Error error = errno_error();
        ::unlink(name.c_str());
        return error;
    }
    return {};
}

} // namespace smcd::tools
