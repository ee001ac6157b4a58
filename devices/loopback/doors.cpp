// Doorbells over links: ours that peers are told of, theirs that we are told of. Floor 2,
// docs/shared-memory.md "doorbells".
//
// A peer signals us over the link that told it of our DMB, which need not be the one that told us
// of its DMB: when both connect at once there are two. So all links to a peer are told the same.
#include <algorithm>
#include <cerrno>
#include <new>
#include <utility>

#include "devices/loopback/impl.hpp"
#include "smcd/base/high_fd.hpp"

namespace smcd::dev {

Result<void> LoopbackDevice::Impl::export_doorbell(Link& link, unsigned door) {
    const std::lock_guard guard(mutex_);
    if (!link.connected()) {
        return Error(std::errc::not_connected);
    }
    // That link comes last: it is what the next caller looks at.
    const auto [first, last] = by_peer_.equal_range(link.peer.value());
    for (auto it = first; it != last; ++it) {
        if (it->second == &link || !it->second->connected()) {
            continue;
        }
        const auto sent = send_doorbell(*it->second, door);
        const bool gone = !sent && (sent.error() == std::errc::broken_pipe ||
                                    sent.error() == std::errc::connection_reset);
        if (!sent && !gone) {
            return sent;
        }
    }
    return send_doorbell(link, door);
}

Result<void> LoopbackDevice::Impl::send_doorbell(Link& link, unsigned door) {
    const std::uint32_t generation = doorbells.generation(door);
    if (link.sent_generation[door].load(std::memory_order_relaxed) == generation) {
        return {};
    }
    const int event_fd = doorbells.event_fd(door);
    SMCD_TRY_VOID(
        send_message(link.socket.get(), doorbell_message(door, generation), {&event_fd, 1}));
    link.sent_generation[door].store(generation, std::memory_order_relaxed);
    return {};
}

/// Tells a new link what the others to the same peer were told. A failure leaves the last resort.
void LoopbackDevice::Impl::tell_doorbells(Link& link) {
    const auto [first, last] = by_peer_.equal_range(link.peer.value());
    for_each_bit(doorbells.mine(), [&](std::size_t door) {
        const std::uint32_t generation = doorbells.generation(static_cast<unsigned>(door));
        const bool told = std::any_of(first, last, [&](const auto& item) {
            const Link& other = *item.second;
            return other.connected() &&
                   other.sent_generation[door].load(std::memory_order_relaxed) == generation;
        });
        if (told) {
            static_cast<void>(send_doorbell(link, static_cast<unsigned>(door)));
        }
    });
}

void LoopbackDevice::Impl::on_doorbell(Link& link, ReceivedMessage& received) {
    const unsigned door = received.message.first;
    const bool known = link.door_fds[door].load(std::memory_order_relaxed) >= 0;
    if (!known && doorbell_fds_ >= options.max_doorbell_fds) {
        return;
    }
    // Something else than an eventfd is not taken; signalling that doorbell is left to the last
    // resort.
    auto event_fd = lift_fd(std::move(received.descriptors[0]));
    if (event_fd && is_doorbell(event_fd->get())) {
        doorbell_fds_ += known ? 0 : 1;
        link.install_doorbell(door, *std::move(event_fd), received.message.second);
    }
}

RingResult LoopbackDevice::Impl::fetch_doorbell(Link& link, unsigned door) noexcept {
    if (link.to_self && (doorbells.mine() & (1ULL << door)) != 0) {
        doorbells.ring_local(door);
        return RingResult::rung;
    }
    try {
        const std::unique_lock guard(mutex_, std::try_to_lock);
        if (guard.owns_lock()) {
            drain(link);
        }
    } catch (const std::bad_alloc&) {
        return RingResult::unreachable;
    }
    return link.write_doorbell(door);
}

void LoopbackDevice::Impl::set_last_resort(LastResort wake_peer) {
    const std::lock_guard guard(mutex_);
    // Old ones are kept: a thread may be in one.
    last_resorts_.push_back(std::make_unique<const LastResort>(std::move(wake_peer)));
    last_resort.store(last_resorts_.back().get(), std::memory_order_release);
}

} // namespace smcd::dev
