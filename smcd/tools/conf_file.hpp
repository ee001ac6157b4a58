// Changing one setting of the configuration file. Floor 4, docs/configuration.md "File".
#pragma once

#include <string>
#include <string_view>

#include "smcd/base/result.hpp"

namespace smcd::tools {

/// The text with that setting: its last line changed in place, earlier ones removed, or a line
/// added at the end. An empty value removes the setting. All other lines stay as they are.
[[nodiscard]] std::string
with_setting(std::string_view text, std::string_view name, std::string_view value);

/// The text of a file; empty when it is not there. Errors: those of open() and read().
[[nodiscard]] Result<std::string> read_text(const std::string& path);
/// Replaces the file at once, by another of the same permissions (0644 for a new one). Errors:
/// those of open(), write() and rename().
[[nodiscard]] Result<void> replace_text(const std::string& path, std::string_view text);

} // namespace smcd::tools
