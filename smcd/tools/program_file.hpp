// Looks at a program file before it is started: will the dynamic loader preload a library into it?
// Floor 4.
#pragma once

#include <string>
#include <string_view>

#include "smcd/base/result.hpp"

namespace smcd::tools {

enum class Preloadable {
    yes,
    statically_linked, ///< no dynamic loader is involved
    privileged,        ///< set-uid, set-gid or file capabilities: the loader refuses
    other_machine,     ///< not the machine type that the library is built for
    other_loader,      ///< not the C library's loader: preloading could break the program
    unknown,           ///< unreadable or no known format; started as usual
};

/// A sentence for a warning; empty for `yes` and `unknown`.
[[nodiscard]] std::string_view describe(Preloadable answer) noexcept;

/// The file that execvp(name) would start. ENOENT or EACCES as execvp would say.
[[nodiscard]] Result<std::string> find_program(const std::string& name);

/// Inspects the file; for a script its interpreter.
[[nodiscard]] Preloadable inspect_program(const std::string& path);

} // namespace smcd::tools
