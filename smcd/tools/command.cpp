// What the sub-commands of smcu share. Floor 4.
#include "smcd/tools/command.hpp"

#include <cstdio>

namespace smcd::tools {

void complain(std::string_view command, std::string_view text) {
    std::string line = command.empty() ? "smcu" : "smcu " + std::string(command);
    line.append(": ").append(text).append("\n");
    std::fputs(line.c_str(), stderr);
}

} // namespace smcd::tools
