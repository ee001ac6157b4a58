// DrainWatch: takes connections off a device that an administrator drains. Floor 3, docs/fabric.md
// "Draining".
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

namespace smcd {

class Process;

/// Looks at the devices twice a second, as long as connections use one that can be drained.
class DrainWatch {
public:
    DrainWatch(boost::asio::io_context& io, Process& process) : process_(process), timer_(io) {}

    /// Begins to look, unless it does already. Thread: progress.
    void start();

private:
    void look();

    Process& process_;
    boost::asio::steady_timer timer_;
    bool looking_ = false;
};

} // namespace smcd
