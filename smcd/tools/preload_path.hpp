// Where the preloaded library lies, and how it joins LD_PRELOAD. Floor 4, docs/smcu.md "smcu run".
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "smcd/base/result.hpp"

namespace smcd::tools {

inline constexpr std::string_view kPreloadName = "libsmcd-preload.so";

/// Folder of the running program, without a trailing slash.
[[nodiscard]] Result<std::string> own_folder();
/// Absolute path of the running program.
[[nodiscard]] Result<std::string> own_path();

/// Places to look in, best first, for a program in `folder`: build tree, multi-arch prefix,
/// installed folder.
[[nodiscard]] std::vector<std::string> preload_candidates(std::string_view folder);

/// The first candidate that is a readable file. ENOENT: none.
[[nodiscard]] Result<std::string> find_preload();

/// `existing` (value of LD_PRELOAD, may be empty) with `library` behind it. A library of that file
/// name that is already listed stays the only one: two of them in one process would both serve the
/// same sockets.
[[nodiscard]] std::string compose_preload(std::string_view existing, std::string_view library);

/// Whether LD_PRELOAD can express the path: the loader splits at spaces and colons, without any
/// quoting.
[[nodiscard]] bool is_preload_path(std::string_view path) noexcept;

} // namespace smcd::tools
