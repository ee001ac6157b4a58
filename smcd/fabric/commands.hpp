// The sub-commands of `smcu fabric` and `smcu device`. Floor 4, docs/smcu.md.
#pragma once

namespace CLI {
class App;
}

namespace smcd::fabric {

/// Each adds its sub-command; `status` is where its callback leaves the exit status.
void add_fabric(CLI::App& program, int& status);
void add_device(CLI::App& program, int& status);

} // namespace smcd::fabric
