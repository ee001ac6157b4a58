// Commands that are programs of their own beside smcu, which becomes them: what they link is not
// for every `smcu run`. Floor 4, docs/smcu.md.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <CLI/CLI.hpp>

#include "smcd/tools/command.hpp"
#include "smcd/tools/preload_path.hpp"

namespace smcd::tools {
namespace {

struct Sibling {
    const char* command;
    const char* program;
    bool wants_command; ///< as its first word
    const char* help;
};

constexpr std::array<Sibling, 4> kSiblings{
    {
     {"bench", "smcu-bench", false, "Measure our paths beside TCP and UNIX sockets"},
     {"jitter", "smcu-jitter", false, "Tell the noise of the machine and of the transport apart"},
     {"fabric", "smcu-fabric", true, "Serve and show shared memory between machines"},
     {"device", "smcu-fabric", true, "Show the devices of this configuration, drain one"},
     }
};

const Sibling* find(std::string_view command) {
    const auto* found = std::find_if(kSiblings.begin(), kSiblings.end(), [&](const Sibling& entry) {
        return entry.command == command;
    });
    return found == kSiblings.end() ? nullptr : found;
}

} // namespace

bool is_sibling(std::string_view command) {
    return find(command) != nullptr;
}

int become_sibling(const std::vector<std::string>& words) {
    const Sibling& sibling = *find(words.front());
    const auto folder = own_folder();
    std::string path = (folder ? *folder + "/" : std::string()) + sibling.program;
    std::vector<char*> argv{path.data()};
    for (std::size_t i = sibling.wants_command ? 0 : 1; i < words.size(); ++i) {
        argv.push_back(const_cast<char*>(
            words[i].c_str())); // NOLINT(cppcoreguidelines-pro-type-const-cast): execv copies
    }
    argv.push_back(nullptr);
    ::execv(argv[0], argv.data());
    const int error = errno;
    complain(sibling.command,
             "cannot start " + path + ": " +
                 std::strerror(error)); // NOLINT(concurrency-mt-unsafe): one thread
    return error == ENOENT ? kExitNotFound : kExitNotExecutable;
}

void add_siblings(CLI::App& program) {
    for (const Sibling& sibling : kSiblings) {
        program.add_subcommand(sibling.command, sibling.help);
    }
}

} // namespace smcd::tools
