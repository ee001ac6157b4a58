// The public face of the loopback device, and its paths without a lock. HOT: signal, wake,
// has_signal, harvest. Floor 2.
#include "devices/loopback/loopback.hpp"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <charconv>
#include <new>
#include <utility>

#include "devices/loopback/gid.hpp"
#include "devices/loopback/impl.hpp"
#include "smcd/base/raw_syscall.hpp"

namespace smcd::dev {
namespace {

/// Runs a set-up operation; memory that ran out becomes a value like every other error.
template <typename F>
auto without_throwing(F&& operation) -> decltype(operation()) {
    try {
        return operation();
    } catch (const std::bad_alloc&) {
        return Error(std::errc::not_enough_memory);
    }
}

/// Mappings that DMBs of one kind, ours or peers', may use: three eighths of what a process may
/// have (vm.max_map_count). The rest is the program's: where there is none left, its malloc()
/// fails.
std::uint32_t mappings_share() noexcept {
    constexpr std::uint32_t kDefault = 65530;
    std::array<char, 16> text{};
    const UniqueFd file(raw::open("/proc/sys/vm/max_map_count", O_RDONLY | O_CLOEXEC));
    const ssize_t length = raw::read(file.get(), text.data(), text.size());
    std::uint32_t count = kDefault;
    if (length > 0) {
        std::from_chars(text.data(), text.data() + length, count);
    }
    return std::max(count / 8 * 3, 1U);
}

LoopbackOptions within_limits(LoopbackOptions options) {
    const std::uint32_t share = mappings_share();
    options.max_dmbs = std::min({options.max_dmbs, share, kSignalIndexCount});
    options.max_peer_dmbs = std::min(options.max_peer_dmbs, share);
    options.max_links = std::min(options.max_links, SignalAreas::kCapacity);
    return options;
}

} // namespace

LoopbackDevice::Impl::Impl(DoorbellTable& doorbell_table, LoopbackOptions wanted)
    : doorbells(doorbell_table), options(within_limits(std::move(wanted))),
      gid(make_loopback_gid(options.bus.place.folder)), status_fd_(options.bus.status_fd) {
    indices.reserve(options.bus.first_index);
}

LoopbackDevice::LoopbackDevice(DoorbellTable& doorbells, LoopbackOptions options)
    : impl_(std::make_unique<Impl>(doorbells, std::move(options))) {}

LoopbackDevice::~LoopbackDevice() {
    impl_->leave_rendezvous();
}

Gid LoopbackDevice::gid() const {
    return impl_->gid;
}

Result<void> LoopbackDevice::query_remote_gid(Gid remote_gid) const {
    if (remote_gid != impl_->gid) {
        return Error(std::errc::network_unreachable);
    }
    return {};
}

std::uint32_t LoopbackDevice::max_dmbs() const {
    return impl_->options.max_dmbs;
}

Result<Dmb> LoopbackDevice::register_dmb(const DmbRequest& request) {
    return without_throwing([&] { return impl_->register_dmb(request); });
}

Result<void> LoopbackDevice::unregister_dmb(DmbToken token) {
    return without_throwing([&] { return impl_->unregister_dmb(token); });
}

Result<RemoteDmb> LoopbackDevice::attach_dmb(LinkGroupId owner, DmbToken token) {
    return without_throwing([&] { return impl_->attach_dmb(owner, token); });
}

Result<void> LoopbackDevice::detach_dmb(DmbToken token) {
    return without_throwing([&] { return impl_->detach_dmb(token); });
}

Result<void> LoopbackDevice::move_data(DmbToken token,
                                       bool signal_owner,
                                       std::uint32_t offset,
                                       std::span<const std::byte> data) {
    RemoteDmb target;
    SMCD_TRY(const std::uint64_t doors,
             impl_->move_data(token, signal_owner, offset, data, target));
    signal(target, doors);
    return {};
}

void LoopbackDevice::Impl::signal(const RemoteDmb& dmb, unsigned door) noexcept {
    Link& link = *static_cast<Link*>(dmb.route);
    counts.signals.fetch_add(1, std::memory_order_relaxed);
    RingResult result = link.signal(door, dmb.index);
    if (result == RingResult::unreachable) {
        result = fetch_doorbell(link, door);
    }
    if (result == RingResult::rung) {
        counts.rung.fetch_add(1, std::memory_order_relaxed);
    }
    if (result != RingResult::unreachable) {
        return;
    }
    counts.unsignalled.fetch_add(1, std::memory_order_relaxed);
    const LastResort* wake_peer = last_resort.load(std::memory_order_acquire);
    if (wake_peer != nullptr && *wake_peer) {
        (*wake_peer)(dmb);
    }
}

void LoopbackDevice::signal(const RemoteDmb& dmb, std::uint64_t doors) noexcept {
    const int saved = errno;
    for_each_bit(doors, [&](std::size_t door) { impl_->signal(dmb, static_cast<unsigned>(door)); });
    errno = saved;
}

void LoopbackDevice::wake(const RemoteDmb& /*dmb*/, std::atomic<std::uint32_t>& word) noexcept {
    wake_futex(word);
}

std::size_t LoopbackDevice::harvest(unsigned door, const std::function<void(SbaIndex)>& on_signal) {
    if (door >= kDoorbellCount) {
        return 0;
    }
    std::size_t count = 0;
    // The peer may raise what it likes; only its own DMBs count.
    const auto deliver = [&](std::uint32_t place, SbaIndex index) {
        if (impl_->indices.belongs(index, place)) {
            ++count;
            on_signal(index);
        }
    };
    impl_->areas.for_each([&](std::uint32_t place, SignalArea& area) {
        if (area.has_signal(door)) {
            area.harvest(door, [&](SbaIndex index) { deliver(place, index); });
        }
        return true;
    });
    return count;
}

bool LoopbackDevice::has_signal(unsigned door) const noexcept {
    if (door >= kDoorbellCount) {
        return false;
    }
    bool found = false;
    impl_->areas.for_each([&](std::uint32_t /*place*/, const SignalArea& area) {
        found = area.has_signal(door);
        return !found;
    });
    return found;
}

Result<LinkGroupId> LoopbackDevice::link_group_id() {
    return without_throwing([&] { return impl_->link_group_id(); });
}

void LoopbackDevice::prefer_group(LinkGroupId id) {
    impl_->preferred_group.store(id.value(), std::memory_order_relaxed);
}

Result<void> LoopbackDevice::export_doorbell(const RemoteDmb& dmb, unsigned door) {
    Link& link = *static_cast<Link*>(dmb.route);
    if (door >= kDoorbellCount || (impl_->doorbells.mine() & (1ULL << door)) == 0) {
        return Error(std::errc::invalid_argument);
    }
    if (link.sent_generation[door].load(std::memory_order_relaxed) ==
        impl_->doorbells.generation(door)) {
        return {};
    }
    return without_throwing([&] { return impl_->export_doorbell(link, door); });
}

bool LoopbackDevice::has_link(LinkGroupId remote) const {
    return impl_->has_link(remote);
}

void LoopbackDevice::forget_link(LinkGroupId remote) {
    impl_->forget_link(remote);
}

int LoopbackDevice::poll_fd() const noexcept {
    return impl_->poll_fd.load(std::memory_order_acquire);
}

void LoopbackDevice::service() {
    try {
        impl_->service();
    } catch (const std::bad_alloc&) {
        return; // what is left announces itself again
    }
}

void LoopbackDevice::set_last_resort(std::function<void(const RemoteDmb&)> wake_peer) {
    impl_->set_last_resort(std::move(wake_peer));
}

void LoopbackDevice::before_fork() {
    impl_->before_fork();
}

void LoopbackDevice::after_fork_in_parent() {
    impl_->after_fork_in_parent();
}

void LoopbackDevice::after_fork_in_child() {
    impl_->after_fork_in_child();
}

std::byte* LoopbackDevice::status_of(const RemoteDmb& dmb) noexcept {
    return static_cast<const Link*>(dmb.route)->peer_status_file.data();
}

void LoopbackDevice::set_status_fd(int fd) {
    impl_->set_status_fd(fd);
}

Result<void> LoopbackDevice::send_event(LinkGroupId to, const BusEvent& event) {
    return without_throwing([&] { return impl_->send_event(to, event); });
}

void LoopbackDevice::set_event_handler(std::function<void(const BusEvent&)> on_event) {
    impl_->set_event_handler(std::move(on_event));
}

bool LoopbackDevice::is_there(LinkGroupId group) const {
    return connect_to(group, impl_->options.bus.place).has_value();
}

bool LoopbackDevice::is_attached_by_peer(DmbToken token) const {
    return impl_->is_attached_by_peer(token);
}

LoopbackDevice::Usage LoopbackDevice::usage() const {
    return impl_->usage();
}

LoopbackDevice::Counters LoopbackDevice::counters() const noexcept {
    const auto& counts = impl_->counts;
    return {counts.signals.load(std::memory_order_relaxed),
            counts.rung.load(std::memory_order_relaxed),
            counts.unsignalled.load(std::memory_order_relaxed),
            counts.refused.load(std::memory_order_relaxed),
            counts.reused.load(std::memory_order_relaxed),
            counts.violations.load(std::memory_order_relaxed)};
}

} // namespace smcd::dev
