// smcu-fabric: what `smcu fabric` and `smcu device` become, so that smcu needs no Protobuf.
// Floor 4.
#include <algorithm>
#include <exception>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "smcd/fabric/commands.hpp"
#include "smcd/tools/command.hpp"

namespace smcd::fabric {
namespace {

int run_program(std::vector<std::string> words) {
    CLI::App program("SMC-D in user space: fabrics and devices.", "smcu");
    program.require_subcommand(1);
    int status = tools::kExitOk;
    add_fabric(program, status);
    add_device(program, status);
    try {
        std::reverse(words.begin(), words.end()); // CLI11 takes them from the back
        program.parse(words);
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) {
            return program.exit(error); // help: printed here
        }
        tools::complain("", std::string(error.what()) + "; --help tells more");
        return tools::kExitUsage;
    }
    return status;
}

} // namespace
} // namespace smcd::fabric

int main(int argc, char** argv) {
    try {
        return smcd::fabric::run_program({argv + 1, argv + argc});
    } catch (const std::exception& error) {
        smcd::tools::complain({}, error.what());
        return smcd::tools::kExitFailure;
    }
}
