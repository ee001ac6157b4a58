// What another device adds to our links when it uses them as its bus: memory that each process
// shows its peers, and events. Floor 2, docs/shared-memory.md "links".
#include <utility>

#include "devices/loopback/impl.hpp"
#include "smcd/base/error.hpp"
#include "smcd/base/memfd.hpp"

namespace smcd::dev {
void LoopbackDevice::Impl::set_status_fd(int fd) {
    const std::lock_guard guard(mutex_);
    status_fd_ = fd;
}

void LoopbackDevice::Impl::set_event_handler(std::function<void(const BusEvent&)> handler) {
    const std::lock_guard guard(mutex_);
    event_handler_ = std::move(handler);
}

Result<void> LoopbackDevice::Impl::send_event(LinkGroupId to, const BusEvent& event) {
    const std::lock_guard guard(mutex_);
    const LinkMessage message = event_message(event.type, event.code, event.token, event.info);
    if (to != LinkGroupId()) {
        SMCD_TRY(Link* const link, link_to(to));
        return send_message(link->socket.get(), message, {});
    }
    for (const auto& [serial, link] : links_) {
        // Who does not read, or does not live, misses it.
        if (link->connected() && !link->inherited) {
            static_cast<void>(send_message(link->socket.get(), message, {}));
        }
    }
    return {};
}

bool LoopbackDevice::Impl::is_attached_by_peer(DmbToken token) {
    const std::lock_guard guard(mutex_);
    const auto found = local_.find(token.value());
    return found != local_.end() &&
           page_of(found->second.file).use.load(std::memory_order_acquire) == PeerUse::attached;
}

Result<void> LoopbackDevice::Impl::on_status(Link& link, ReceivedMessage& received) {
    const std::size_t bytes = options.bus.status_bytes;
    const int fd = received.descriptors[0].get();
    if (bytes == 0 || received.message.first != bytes || link.peer_status_file) {
        return engine_error(Errc::peer_violation);
    }
    SMCD_TRY_VOID(check_sealed_memfd(fd, bytes));
    SMCD_TRY(link.peer_status_file, Mapping::map_shared(fd, bytes, PROT_READ | PROT_WRITE));
    return {};
}

Result<void> LoopbackDevice::Impl::on_event_message(const Link& link, const LinkMessage& message) {
    if (!event_handler_) {
        return engine_error(Errc::peer_violation);
    }
    event_handler_({message.first, message.second, message.token, message.previous, link.peer});
    return {};
}

} // namespace smcd::dev
