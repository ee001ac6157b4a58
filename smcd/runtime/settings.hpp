// Settings: what the environment says, and where it says nothing, the configuration file. Floor 3,
// docs/configuration.md "File".
//
// One line each, `name = value`; names are those of the variables without SMCD_, in lower case. '#'
// begins a comment line. A later line replaces an earlier one.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace smcd {

/// Where the file is: $SMCD_CONF (empty: there is none), else /etc/smcd.conf.
[[nodiscard]] std::string settings_path();

struct SettingLine {
    std::string name;
    std::string value;
};

/// A line of the file; nothing: a comment, an empty line, or one without '='.
[[nodiscard]] std::optional<SettingLine> parse_setting(std::string_view line);

class Settings {
public:
    /// Reads the file, at most 64 KiB of it; one that is not there is empty. Never blocks on
    /// anything but a regular file.
    [[nodiscard]] static Settings read(const std::string& path);
    /// The text of a file.
    [[nodiscard]] static Settings parse(std::string_view text);

    /// "SMCD_PNETID", or the variable of smc-tools, or `pnetid` of the file; nullptr: not set.
    /// Valid as long as this object and the environment.
    [[nodiscard]] const char* value(const char* name, const char* alias = nullptr) const noexcept;

private:
    std::vector<std::pair<std::string, std::string>> values_; ///< by the name of the variable
};

} // namespace smcd
