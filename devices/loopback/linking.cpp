// Links of the loopback device: how they begin, what peers say, how they end. Floor 2,
// docs/shared-memory.md "links".
#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <new>
#include <utility>

#include "devices/loopback/impl.hpp"
#include "smcd/base/high_fd.hpp"
#include "smcd/base/log.hpp"
#include "smcd/base/memfd.hpp"
#include "smcd/base/random.hpp"
#include "smcd/base/raw_syscall.hpp"

namespace smcd::dev {
namespace {

constexpr std::uint64_t kListenerTag = 0;
/// Bounds of one visit; what is left announces itself again.
constexpr int kAcceptsMax = 2048;
constexpr int kServiceRoundsMax = 16;
/// Tries for a name that nobody has.
constexpr int kNameTriesMax = 16;

/// It connected to us and has not said who it is.
bool is_silent(const Link& link) noexcept {
    return !link.greeted && !link.outgoing && link.connected();
}

} // namespace

bool LoopbackDevice::Impl::may_share_with(uid_t uid) const noexcept {
    return uid == ::geteuid() ||
           std::find(options.allowed_uids.begin(), options.allowed_uids.end(), uid) !=
               options.allowed_uids.end();
}

Result<LinkGroupId> LoopbackDevice::Impl::link_group_id() {
    const std::lock_guard guard(mutex_);
    return ensure_rendezvous();
}

Result<LinkGroupId> LoopbackDevice::Impl::ensure_rendezvous() {
    if (listener_.valid() && listener_uid_ == ::geteuid()) {
        return own_group_;
    }
    if (!epoll_.valid()) {
        SMCD_TRY(epoll_, lift_fd(UniqueFd(raw::epoll_create1(EPOLL_CLOEXEC))));
        poll_fd.store(epoll_.get(), std::memory_order_release);
    }
    for (int attempt = 0; attempt < kNameTriesMax; ++attempt) {
        const std::uint32_t preferred = preferred_group.exchange(0, std::memory_order_relaxed);
        const LinkGroupId id(preferred != 0 ? preferred : random_u32());
        auto listener = listen_at(id, options.bus.place);
        if (!listener && listener.error() == std::errc::address_in_use) {
            continue;
        }
        if (!listener) {
            return Error(listener.error());
        }
        // Edge-triggered: a connection that cannot be accepted (no descriptor left) must not keep
        // us awake.
        epoll_event event{};
        event.events = EPOLLIN | EPOLLET;
        event.data.u64 = kListenerTag;
        if (raw::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, listener->get(), &event) != 0) {
            return errno_error();
        }
        leave_rendezvous();
        listener_ = *std::move(listener);
        listener_uid_ = ::geteuid();
        own_group_ = id;
        return id;
    }
    return Error(std::errc::address_in_use);
}

void LoopbackDevice::Impl::leave_rendezvous() {
    if (listener_.valid()) {
        leave(own_group_, options.bus.place);
    }
}

Link* LoopbackDevice::Impl::find_link(LinkGroupId remote) {
    const auto [first, last] = by_peer_.equal_range(remote.value());
    const auto usable = std::find_if(first, last, [](const auto& item) {
        return item.second->connected() && !item.second->inherited;
    });
    return usable != last ? usable->second : nullptr;
}

Result<Link*> LoopbackDevice::Impl::link_to(LinkGroupId remote) {
    Link* link = find_link(remote);
    if (link == nullptr) {
        fetch_from(remote);
        link = find_link(remote);
    }
    if (link == nullptr) {
        return connect_link(remote);
    }
    if (!may_share_with(link->process.uid)) {
        return Error(std::errc::permission_denied);
    }
    return link;
}

Result<Link*> LoopbackDevice::Impl::connect_link(LinkGroupId remote) {
    SMCD_TRY_VOID(ensure_rendezvous());
    SMCD_TRY(UniqueFd socket, connect_to(remote, options.bus.place));
    SMCD_TRY(const PeerIdentity process, peer_identity(socket.get()));
    if (!may_share_with(process.uid)) {
        counts.refused.fetch_add(1, std::memory_order_relaxed);
        return Error(std::errc::permission_denied);
    }
    return add_link(std::move(socket), remote, process);
}

/// Sets a link up and says hello. remote 0: the peer connected to us, its hello will tell.
Result<Link*>
LoopbackDevice::Impl::add_link(UniqueFd socket, LinkGroupId remote, PeerIdentity process) {
    if (links_.size() >= options.max_links) {
        return Error(std::errc::no_space_on_device);
    }
    SMCD_TRY(const UniqueFd area, create_sealed_memfd("smcd-signals", kSignalAreaBytes));
    auto link = std::make_unique<Link>();
    links_.reserve(links_.size() + 1);
    by_peer_.reserve(by_peer_.size() + 1);
    SMCD_TRY(link->place, areas.add(area.get()));
    set_queue_bytes(socket.get(), options.queue_bytes);
    link->serial = next_serial_++;
    link->peer = remote;
    link->process = process;
    link->outgoing = remote.value() != 0;
    epoll_event event{};
    event.events = EPOLLIN | EPOLLRDHUP;
    event.data.u64 = link->serial;
    const std::array<int, 2> shared{area.get(), doorbells.page_fd()};
    auto ready = raw::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, socket.get(), &event) == 0
                     ? send_message(socket.get(), hello_message(own_group_), shared)
                     : Result<void>(errno_error());
    if (ready && status_fd_ >= 0) {
        ready =
            send_message(socket.get(), status_message(options.bus.status_bytes), {&status_fd_, 1});
    }
    // A peer that connected and has gone already may have left messages: they count.
    const bool gone = !ready && ready.error() == std::errc::broken_pipe;
    if (!ready && (link->outgoing || !gone)) {
        areas.remove(link->place);
        return gone ? Error(std::errc::connection_refused) : Error(ready.error());
    }
    link->socket = std::move(socket);
    Link* const added = link.get();
    links_.emplace(added->serial, std::move(link));
    if (added->outgoing) {
        by_peer_.emplace(remote.value(), added);
        tell_doorbells(*added);
    } else {
        ++silent_links_;
    }
    return added;
}

/// Takes what the peer has sent so far, over whichever link; a peer that is connecting is accepted.
void LoopbackDevice::Impl::fetch_from(LinkGroupId remote) {
    accept_waiting();
    std::vector<Link*> concerned;
    const auto [first, last] = by_peer_.equal_range(remote.value());
    for (auto it = first; it != last; ++it) {
        concerned.push_back(it->second);
    }
    for (auto it = links_.begin(); silent_links_ > 0 && it != links_.end(); ++it) {
        if (is_silent(*it->second)) {
            concerned.push_back(it->second.get());
        }
    }
    for (Link* link : concerned) {
        drain(*link);
    }
}

void LoopbackDevice::Impl::accept_waiting() {
    for (int i = 0; i < kAcceptsMax && listener_.valid(); ++i) {
        auto socket = accept_from(listener_.get());
        if (!socket) {
            return;
        }
        accept_one(*std::move(socket));
    }
}

void LoopbackDevice::Impl::accept_one(UniqueFd socket) {
    const auto process = peer_identity(socket.get());
    if (!process || !may_share_with(process->uid)) {
        counts.refused.fetch_add(1, std::memory_order_relaxed);
        SMCD_LOG_LIMITED(info, "loopback: refused a peer of uid %u", process ? process->uid : ~0U);
        return;
    }
    if (closed_in_silence(socket.get())) {
        return; // a peer that checked whether we hold this name
    }
    if (silent_links_ >= kSilentLinksMax) {
        drop_oldest_silent_link();
    }
    auto link = add_link(std::move(socket), LinkGroupId{}, *process);
    if (link) {
        drain(**link);
    }
}

void LoopbackDevice::Impl::drop_oldest_silent_link() {
    Link* oldest = nullptr;
    for (const auto& [serial, link] : links_) {
        if (is_silent(*link) && (oldest == nullptr || serial < oldest->serial)) {
            oldest = link.get();
        }
    }
    if (oldest != nullptr) {
        disconnect(*oldest);
        remove_if_unused(*oldest);
    }
}

void LoopbackDevice::Impl::disconnect(Link& link) noexcept {
    if (!link.connected()) {
        return;
    }
    if (epoll_.valid() && !link.inherited) {
        // By hand: relatives may hold the socket open, and then closing alone does not end its
        // events.
        static_cast<void>(raw::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, link.socket.get(), nullptr));
    }
    link.socket.reset();
    if (!link.greeted && !link.outgoing) {
        --silent_links_;
    }
    sweep_needed_ = true;
}

void LoopbackDevice::Impl::remove_if_unused(Link& link) {
    if (link.in_use() || (link.connected() && !link.inherited)) {
        return;
    }
    for (const auto& [token, dmb] : link.pending) {
        peer_bytes_ -= dmb.file.size();
    }
    forget_spares(link);
    for (const std::atomic<int>& door_fd : link.door_fds) {
        doorbell_fds_ -= door_fd.load(std::memory_order_relaxed) >= 0 ? 1 : 0;
    }
    const auto [first, last] = by_peer_.equal_range(link.peer.value());
    const auto entry =
        std::find_if(first, last, [&](const auto& item) { return item.second == &link; });
    if (entry != last) {
        by_peer_.erase(entry);
    }
    areas.remove(link.place);
    links_.erase(link.serial);
}

void LoopbackDevice::Impl::sweep() {
    if (!std::exchange(sweep_needed_, false)) {
        return;
    }
    std::vector<Link*> all;
    all.reserve(links_.size());
    for (const auto& [serial, link] : links_) {
        all.push_back(link.get());
    }
    for (Link* link : all) {
        remove_if_unused(*link);
    }
}

bool LoopbackDevice::Impl::has_link(LinkGroupId remote) {
    const std::lock_guard guard(mutex_);
    return find_link(remote) != nullptr;
}

void LoopbackDevice::Impl::forget_link(LinkGroupId remote) {
    const std::lock_guard guard(mutex_);
    for (Link* link = find_link(remote); link != nullptr; link = find_link(remote)) {
        drain(*link); // handshakes under way may need what it told us
        disconnect(*link);
    }
    sweep();
}

void LoopbackDevice::Impl::service() {
    const std::lock_guard guard(mutex_);
    std::array<epoll_event, 64> events{};
    constexpr int kEventsMax = static_cast<int>(events.size());
    for (int round = 0; round < kServiceRoundsMax && epoll_.valid(); ++round) {
        const int count = raw::epoll_wait(epoll_.get(), events.data(), kEventsMax, 0);
        for (int i = 0; i < count; ++i) {
            on_event(events[static_cast<std::size_t>(i)].data.u64);
        }
        if (count < kEventsMax) {
            break;
        }
    }
    sweep();
}

void LoopbackDevice::Impl::on_event(std::uint64_t tag) {
    if (tag == kListenerTag) {
        accept_waiting();
        return;
    }
    const auto found = links_.find(tag);
    if (found != links_.end()) {
        drain(*found->second);
    }
}

LoopbackDevice::Usage LoopbackDevice::Impl::usage() {
    const std::lock_guard guard(mutex_);
    return {links_.size(), local_.size(), attached_.size(), local_bytes_};
}

void LoopbackDevice::Impl::before_fork() {
    mutex_.lock();
    locked_for_fork_ = true;
    mark_shared_with_relatives();
}

void LoopbackDevice::Impl::after_fork_in_parent() {
    locked_for_fork_ = false;
    mutex_.unlock();
}

void LoopbackDevice::Impl::after_fork_in_child() {
    if (std::exchange(locked_for_fork_, false)) {
        mutex_.unlock();
    } else {
        new (&mutex_) std::mutex; // whoever held it exists in the parent only
    }
    const std::lock_guard guard(mutex_);
    // First of all: this is the parent's set, and removing something from it would remove it there.
    epoll_.reset();
    poll_fd.store(-1, std::memory_order_release);
    listener_.reset();
    own_group_ = LinkGroupId{};
    for (const auto& [serial, link] : links_) {
        if (!link->greeted && !link->outgoing) {
            disconnect(*link);
        }
        link->inherited = true;
        forget_spares(*link);
        for (auto& generation : link->sent_generation) {
            generation.store(0, std::memory_order_relaxed);
        }
    }
    sweep_needed_ = true;
    sweep();
}

} // namespace smcd::dev
