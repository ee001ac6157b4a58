// `smcu bench`: a program of its own beside smcu, which becomes it. Floor 4, docs/bench.md.
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include <CLI/CLI.hpp>

#include "smcd/tools/command.hpp"
#include "smcd/tools/preload_path.hpp"

namespace smcd::tools {

int become_bench(const std::vector<std::string>& words) {
    const auto folder = own_folder();
    std::string path = (folder ? *folder + "/" : std::string()) + "smcu-bench";
    std::vector<char*> argv{path.data()};
    for (const std::string& word : words) {
        argv.push_back(const_cast<char*>(
            word.c_str())); // NOLINT(cppcoreguidelines-pro-type-const-cast): execv copies
    }
    argv.push_back(nullptr);
    ::execv(argv[0], argv.data());
    const int error = errno;
    complain("bench",
             "cannot start " + path + ": " +
                 std::strerror(error)); // NOLINT(concurrency-mt-unsafe): one thread
    return error == ENOENT ? kExitNotFound : kExitNotExecutable;
}

void add_bench(CLI::App& program) {
    program.add_subcommand("bench", "Measure our paths beside TCP and UNIX sockets");
}

} // namespace smcd::tools
