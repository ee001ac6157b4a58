#include "smcd/runtime/device_loss.hpp"

#include <algorithm>
#include <cerrno>
#include <vector>

#include "smcd/runtime/process.hpp"
#include "smcd/runtime/return_tcp.hpp"
#include "smcd/runtime/settle.hpp"

namespace smcd {
namespace {

/// A link group: all connections over one device to one peer.
struct Group {
    const dev::LinkedDevice* device;
    std::uint64_t peer; ///< first half of its GID, as events name it
};

/// Answers a test of the link: the same information, as a response.
void answer_test(dev::LinkedDevice& device, const dev::FabricEvent& event) {
    if (event.info >> dev::kSmcdInfoCodeShift != dev::kSmcdTestRequest) {
        return;
    }
    constexpr std::uint64_t kRest = (1ULL << dev::kSmcdInfoCodeShift) - 1;
    const std::uint64_t info = (event.info & kRest) | dev::kSmcdTestResponse
                                                          << dev::kSmcdInfoCodeShift;
    // Who asks and does not listen gets none.
    static_cast<void>(device.signal_event({event.token, device.gid().low}, event.code, info));
}

std::vector<Group> take_events(const DeviceList& devices) {
    std::vector<Group> ended;
    for (const auto& device : devices.all()) {
        while (const auto event = device->next_event()) {
            const bool software = event->type == dev::FabricEventType::software;
            if (software && event->code == dev::kSmcdTestLink) {
                answer_test(*device, *event);
            }
            if (event->type == dev::FabricEventType::device ||
                (software && event->code == dev::kSmcdShutdown)) {
                ended.push_back({device.get(), event->token});
            }
        }
    }
    return ended;
}

bool is_live(const Socket& socket) noexcept {
    return socket.kind.load(std::memory_order_acquire) == SocketKind::connection &&
           socket.phase() == Phase::smc && socket.device != nullptr;
}

bool is_lost(const Socket& socket) noexcept {
    return is_live(socket) && socket.device->lost(socket.channel.remote);
}

/// There is no way back to TCP. What the peer should have had and will not get must not look like
/// an orderly end.
void end_if_incomplete(Process& process, Socket& socket) {
    const Channel& channel = socket.channel;
    const bool peer_ended =
        (channel.block->rx.peer_flags.load(std::memory_order_relaxed) & kPeerGone) != 0;
    if (channel.copy != nullptr && channel.copy->refused.load(std::memory_order_acquire) != 0 &&
        !peer_ended) {
        mark_reset(*channel.block, ECONNRESET);
        dissolve_tcp(socket.fd);
        process.wake_local(socket);
    }
}

void begin_to_leave(Process& process, Socket& socket) {
    return_begin(process, socket, Reason::device_lost);
    if (is_lost(socket)) {
        end_if_incomplete(process, socket);
    }
}

} // namespace

void handle_losses(Process& process) {
    const std::vector<Group> ended = take_events(process.devices());
    const auto is_of_ended = [&](const Socket& socket) {
        return std::any_of(ended.begin(), ended.end(), [&](const Group& group) {
            return group.device == socket.device && group.peer == socket.peer_gid.high;
        });
    };
    std::vector<Socket*> leaving;
    const std::lock_guard lifecycle(process.lifecycle_mutex()); // nobody recycles a socket
    process.for_each_socket([&](Socket& socket) {
        if (is_live(socket) && (is_of_ended(socket) || is_lost(socket))) {
            leaving.push_back(&socket);
        }
    });
    for (Socket* socket : leaving) {
        begin_to_leave(process, *socket);
    }
}

void begin_to_leave_if_lost(Process& process, Socket& socket) {
    const CopyState* const copy = socket.channel.copy;
    const bool refused = copy != nullptr && copy->refused.load(std::memory_order_acquire) != 0;
    if (is_lost(socket) || (refused && is_live(socket))) {
        begin_to_leave(process, socket);
    }
}

void leave_if_lost(Process& process, Socket& socket) {
    if (is_lost(socket) && !return_to_tcp(process, socket, Reason::device_lost)) {
        end_if_incomplete(process, socket);
    }
}

} // namespace smcd
