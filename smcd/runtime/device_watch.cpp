// Looking at devices now and then. Floor 3, docs/fabric.md "Draining", "Restart".
#include "smcd/runtime/device_watch.hpp"

#include <chrono>
#include <utility>
#include <vector>

#include "smcd/runtime/process.hpp"
#include "smcd/runtime/return_tcp.hpp"

namespace smcd {
namespace {

constexpr std::chrono::milliseconds kInterval{500};

} // namespace

void DeviceWatch::start() {
    if (looking_) {
        return;
    }
    looking_ = true;
    timer_.expires_after(kInterval);
    timer_.async_wait([this](const boost::system::error_code& error) {
        if (!error) {
            look();
        }
    });
}

/// Whether a connection uses a device that wants looks.
bool DeviceWatch::take_off_drained() {
    bool in_use = false;
    std::vector<Socket*> leaving;
    const std::lock_guard lifecycle(process_.lifecycle_mutex()); // nobody recycles a socket
    process_.for_each_socket([&](Socket& socket) {
        const bool live = socket.kind.load(std::memory_order_acquire) == SocketKind::connection &&
                          socket.block != nullptr && socket.phase() == Phase::smc;
        if (!live || socket.device == nullptr || !socket.device->wants_looks()) {
            return;
        }
        in_use = true;
        if (socket.device->drained()) {
            leaving.push_back(&socket);
        }
    });
    for (Socket* socket : leaving) {
        return_begin(process_, *socket, Reason::device_drained);
    }
    return in_use;
}

/// Listeners are announced on a fabric that is there only now. Whether any waits for one.
bool DeviceWatch::join_fabric() {
    if (!process_.devices().lacks_fabric(process_.config())) {
        return false;
    }
    const auto listeners = [this] {
        std::vector<Socket*> found;
        process_.for_each_socket([&](Socket& socket) {
            if (socket.kind.load(std::memory_order_acquire) == SocketKind::listener && !socket.stays_on_tcp) {
                found.push_back(&socket);
            }
        });
        return found;
    };
    if (listeners().empty() || process_.fabric() == nullptr) {
        return !listeners().empty();
    }
    const std::lock_guard lifecycle(process_.lifecycle_mutex()); // nobody closes them
    for (Socket* socket : listeners()) {
        if (UniqueFd lease = process_.discovery().announce_beyond(socket->fd); lease.valid()) {
            socket->lease = std::move(lease);
        }
    }
    return false;
}

void DeviceWatch::look() {
    looking_ = false;
    for (const auto& device : process_.devices().all()) {
        if (device->wants_looks()) {
            device->look_after();
        }
    }
    const bool in_use = take_off_drained();
    const bool waits = join_fabric();
    process_.progress().watch_devices();
    if (in_use || waits) {
        start();
    }
}

} // namespace smcd
