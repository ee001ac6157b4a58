// smcu: the one command of this project. Floor 4, docs/smcu.md.
#include <algorithm>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "smcd/tools/command.hpp"
#include "smcd/tools/run_words.hpp"

namespace smcd::tools {
namespace {

constexpr const char* kFooter = "'smcu COMMAND --help' explains a command.\n"
                                "Exit status: 0 done, 1 failed, 2 wrong usage; run: that of the "
                                "program, or 125 to 127 as env(1);\n"
                                "check: 0 accelerated, 10 on TCP, 20 no connection.";

/// The words of the command line, without what belongs to the command that `smcu run` starts.
std::vector<std::string> own_words(std::vector<std::string> words,
                                   std::vector<std::string>& command) {
    if (words.empty() || words.front() != "run") {
        return words;
    }
    RunWords split = split_run_words({words.begin() + 1, words.end()});
    command = std::move(split.command);
    split.own.insert(split.own.begin(), "run");
    return split.own;
}

int run_program(const std::vector<std::string>& arguments) {
    if (!arguments.empty() && is_sibling(arguments.front())) {
        return become_sibling(arguments);
    }
    CLI::App program("SMC-D in user space: TCP connections of one host through shared memory.",
                     "smcu");
    program.set_version_flag("--version,-V", "smcu " SMCD_VERSION);
    program.require_subcommand(1);
    program.footer(kFooter);
    int status = kExitOk;
    std::vector<std::string> command;
    std::vector<std::string> words = own_words(arguments, command);
    add_run(program, status, command);
    add_ss(program, status);
    add_stats(program, status);
    add_check(program, status);
    add_explain(program, status);
    add_info(program, status);
    add_eids(program, status);
    add_siblings(program);
    add_internal(program, status);
    try {
        std::reverse(words.begin(), words.end()); // CLI11 takes them from the back
        program.parse(words);
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) {
            return program.exit(error); // help or version: printed here
        }
        const bool runs = program.got_subcommand("run");
        complain(runs ? "run" : "", std::string(error.what()) + "; --help tells more");
        // `run` speaks like env(1): a status below 125 belongs to the program that it starts.
        return runs ? kExitLauncher : kExitUsage;
    }
    return status;
}

} // namespace
} // namespace smcd::tools

int main(int argc, char** argv) {
    try {
        return smcd::tools::run_program({argv + 1, argv + argc});
    } catch (const std::exception& error) {
        smcd::tools::complain({}, error.what());
        return smcd::tools::kExitFailure;
    }
}
