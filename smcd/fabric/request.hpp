// Asking a fabric server, for commands: errors are told, answers are printed. Floor 4.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "management.pb.h"

namespace smcd::fabric {

/// The answer, or nothing: why not stands on stderr.
[[nodiscard]] std::optional<pb::Reply>
ask_fabric(const char* command, const std::string& folder, const pb::Request& request);

/// Sends it and says how many peers it concerned; the exit status.
[[nodiscard]] int
ask_to_drain(const char* command, const std::string& folder, const pb::Request& request, bool json);

/// One JSON object on stdout: "schema", then the message under that key (or its members, if empty).
void print_json(const char* schema, const char* key, const google::protobuf::Message& message);

/// "64 MiB".
[[nodiscard]] std::string bytes_text(std::uint64_t bytes);

} // namespace smcd::fabric
