// How `smcu ss` shows connections: a table for people, JSON for programs. Floor 4, docs/smcu.md
// "smcu ss".
#pragma once

#include <string>
#include <vector>

#include "smcd/tools/connections.hpp"

namespace smcd::tools {

/// The columns of smcss first, then ours. `extended` adds a line of cursors and counters below each
/// row with a record.
[[nodiscard]] std::string connections_table(const std::vector<Connection>& connections,
                                            bool extended);

enum class JsonForm { indented, one_line };

/// One object, schema smcu.ss/1, ends with a newline. Members are only ever added.
[[nodiscard]] std::string connections_json(const std::vector<Connection>& connections,
                                           JsonForm form);

} // namespace smcd::tools
