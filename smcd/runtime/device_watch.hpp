// DeviceWatch: looks at the devices now and then. Takes connections off a device that an
// administrator drains, lets a device reach its fabric's server again, joins a fabric that was not
// there. Floor 3, docs/fabric.md "Draining", "Restart".
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "smcd/runtime/device_loss.hpp"

namespace smcd {

class Process;

/// Twice a second, as long as connections use a device that wants it, or listeners wait for a
/// fabric.
class DeviceWatch {
public:
    DeviceWatch(boost::asio::io_context& io, Process& process) : process_(process), timer_(io) {}

    /// Begins to look, unless it does already. Thread: progress.
    void start();
    /// Takes connections off what is lost, soon. Thread: progress.
    void look_at_losses() { handle_losses(process_); }

private:
    void look();
    [[nodiscard]] bool take_off_drained();
    [[nodiscard]] bool join_fabric();

    Process& process_;
    boost::asio::steady_timer timer_;
    bool looking_ = false;
};

} // namespace smcd
