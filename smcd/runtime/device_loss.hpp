// Device loss: connections leave a device that went away, or a link group that the peer ended. They
// return to TCP, else end as TCP would. Floor 3, docs/fabric.md "Device loss".
#pragma once

#include "smcd/runtime/socket.hpp"

namespace smcd {

class Process;

/// Takes the events of all devices, answers those that want an answer, and takes connections off
/// what is lost. Thread: progress.
void handle_losses(Process& process);

/// The same for one connection, without waiting: the progress thread goes on with it. Also when its device has refused bytes.
void begin_to_leave_if_lost(Process& process, Socket& socket);

/// Before the last words of a connection, which must not be spoken to a device that is lost: brings
/// it to TCP. Blocks until the peer's library has answered. Thread: any.
void leave_if_lost(Process& process, Socket& socket);

} // namespace smcd
