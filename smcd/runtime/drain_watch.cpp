// Draining devices. Floor 3, docs/fabric.md "Draining".
#include "smcd/runtime/drain_watch.hpp"

#include <chrono>
#include <vector>

#include "smcd/runtime/process.hpp"
#include "smcd/runtime/return_tcp.hpp"

namespace smcd {
namespace {

constexpr std::chrono::milliseconds kInterval{500};

} // namespace

void DrainWatch::start() {
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

void DrainWatch::look() {
    looking_ = false;
    bool in_use = false;
    std::vector<Socket*> leaving;
    const std::lock_guard lifecycle(process_.lifecycle_mutex()); // nobody recycles a socket
    process_.for_each_socket([&](Socket& socket) {
        const bool live = socket.kind.load(std::memory_order_acquire) == SocketKind::connection &&
                          socket.block != nullptr && socket.phase() == Phase::smc;
        if (!live || socket.device == nullptr || !socket.device->can_be_drained()) {
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
    if (in_use) {
        start();
    }
}

} // namespace smcd
