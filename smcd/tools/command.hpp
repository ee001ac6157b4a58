// The sub-commands of smcu. Each file that defines one parses, works and prints; main() only
// collects them. Floor 4.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace CLI {
class App; // its header takes seconds to compile
}

namespace smcd::tools {

/// Exit statuses. 1 and 2 as usual; 125 to 127 as env(1) has them for starting a program.
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitOnTcp = 10;        ///< check: the connection stays on TCP
inline constexpr int kExitDisturbed = 10;    ///< check --isolation: a CPU is not left alone
inline constexpr int kExitNoConnection = 20; ///< check: there is no connection
inline constexpr int kExitLauncher = 125;    ///< run: smcu itself failed
inline constexpr int kExitNotExecutable = 126;
inline constexpr int kExitNotFound = 127;

/// Each adds its sub-command to the program; `status` is where its callback leaves the exit status.
/// `command`: the words that run_words.hpp cut off; it and `status` must outlive the parsing.
void add_run(CLI::App& program, int& status, const std::vector<std::string>& command);
void add_ss(CLI::App& program, int& status);
void add_stats(CLI::App& program, int& status);
void add_check(CLI::App& program, int& status);
void add_explain(CLI::App& program, int& status);
void add_info(CLI::App& program, int& status);
/// `ueid` and `seid`.
void add_eids(CLI::App& program, int& status);
/// Commands that are programs of their own beside smcu: bench, jitter, fabric, device.
[[nodiscard]] bool is_sibling(std::string_view command);
/// For the help alone: their words go to become_sibling(), unread.
void add_siblings(CLI::App& program);
/// Replaces this process by the program of words[0]. Returns, with an exit status, only when that is
/// not possible.
[[nodiscard]] int become_sibling(const std::vector<std::string>& words);
/// The commands that `check` and `info` start under the library; not listed in the help.
void add_internal(CLI::App& program, int& status);

/// "smcu COMMAND: text" on stderr.
void complain(std::string_view command, std::string_view text);

} // namespace smcd::tools
