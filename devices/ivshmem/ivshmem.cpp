// The public face of the ivshmem device. Floor 2.
#include "devices/ivshmem/ivshmem.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <new>
#include <utility>
#include <vector>

#include "devices/ivshmem/impl.hpp"
#include "smcd/base/error.hpp"
#include "smcd/base/log.hpp"

namespace smcd::dev {
namespace {

/// How much of the region is copied to measure it: enough to leave the caches of small devices.
constexpr std::size_t kProbeBytes = std::size_t{1} << 20U;

/// Runs a set-up operation; memory that ran out becomes a value like every other error.
template <typename F>
auto without_throwing(F&& operation) -> decltype(operation()) {
    try {
        return operation();
    } catch (const std::bad_alloc&) {
        return Error(std::errc::not_enough_memory);
    }
}

/// A mapping without caches makes memory slower than TCP.
std::uint64_t
copy_rate(const IvshmemOptions& options, const ivshmem::Region& region, bool device_memory) {
    if (!device_memory && !options.measure) {
        return ~0ULL; // ordinary memory; reading it would make pages that nobody needs
    }
    const std::span<std::byte> end = region.slice(region.peers() - 1);
    std::vector<std::byte> copy(std::min(end.size(), kProbeBytes));
    return options.measure ? options.measure(copy) : ivshmem::measure_read_rate(end, copy);
}

} // namespace

IvshmemDevice::IvshmemDevice(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

IvshmemDevice::~IvshmemDevice() = default;

Result<std::unique_ptr<IvshmemDevice>> IvshmemDevice::open(DoorbellTable& doorbells,
                                                           IvshmemOptions options) {
    return without_throwing([&]() -> Result<std::unique_ptr<IvshmemDevice>> {
        SMCD_TRY(ivshmem::AttachPoint point, ivshmem::open_attach_point(options.path));
        SMCD_TRY(ivshmem::Region region,
                 ivshmem::Region::open(std::move(point.file), point.bytes, options.peers));
        const std::uint64_t rate = copy_rate(options, region, point.device_memory);
        if (rate < options.min_copy_rate) {
            SMCD_LOG(error,
                     "%s: %llu MB/s is too slow for shared memory",
                     options.path.c_str(),
                     static_cast<unsigned long long>(rate / 1'000'000));
            return engine_error(Errc::slow_memory);
        }
        auto impl = std::make_unique<Impl>(
            doorbells, std::move(options), std::move(point), std::move(region));
        return std::unique_ptr<IvshmemDevice>(new IvshmemDevice(std::move(impl)));
    });
}

Gid IvshmemDevice::gid() const {
    return impl_->region.uuid();
}

Chid IvshmemDevice::fabric_id() const {
    return impl_->options.chid;
}

Result<void> IvshmemDevice::query_remote_gid(Gid remote_gid) const {
    if (remote_gid != gid()) {
        return Error(std::errc::network_unreachable);
    }
    return {};
}

std::uint32_t IvshmemDevice::max_dmbs() const {
    return std::min(impl_->options.max_dmbs, ivshmem::kDirectorySize);
}

Result<Dmb> IvshmemDevice::register_dmb(const DmbRequest& request) {
    return without_throwing([&] { return impl_->register_dmb(request); });
}

Result<void> IvshmemDevice::unregister_dmb(DmbToken token) {
    return without_throwing([&] { return impl_->unregister_dmb(token); });
}

Result<void> IvshmemDevice::move_data(DmbToken token,
                                      bool signal_owner,
                                      std::uint32_t offset,
                                      std::span<const std::byte> data) {
    RemoteDmb target;
    SMCD_TRY(const std::uint64_t doors,
             impl_->move_data(token, signal_owner, offset, data, target));
    signal(target, doors);
    return {};
}

Result<RemoteDmb> IvshmemDevice::attach_dmb(LinkGroupId owner, DmbToken token) {
    return without_throwing([&] { return impl_->attach_dmb(owner, token); });
}

Result<void> IvshmemDevice::detach_dmb(DmbToken token) {
    return impl_->detach_dmb(token);
}

void IvshmemDevice::signal(const RemoteDmb& dmb, std::uint64_t doors) noexcept {
    const int saved = errno;
    for (; doors != 0; doors &= doors - 1) {
        impl_->signal(dmb, static_cast<unsigned>(std::countr_zero(doors)));
    }
    errno = saved;
}

void IvshmemDevice::wake(const RemoteDmb& /*dmb*/, std::atomic<std::uint32_t>& word) noexcept {
    wake_futex(word);
}

std::size_t IvshmemDevice::harvest(unsigned door, const std::function<void(SbaIndex)>& on_signal) {
    return door < kDoorbellCount ? impl_->harvest(door, on_signal) : 0;
}

bool IvshmemDevice::has_signal(unsigned door) const noexcept {
    return door < kDoorbellCount && impl_->has_signal(door);
}

Result<LinkGroupId> IvshmemDevice::link_group_id() {
    return without_throwing([&] { return impl_->link_group_id(); });
}

void IvshmemDevice::prefer_group(LinkGroupId id) {
    impl_->preferred_group.store(id.value(), std::memory_order_relaxed);
}

Result<void> IvshmemDevice::export_doorbell(const RemoteDmb& /*dmb*/, unsigned door) {
    if (door >= kDoorbellCount || (impl_->doorbells.mine() & (1ULL << door)) == 0) {
        return Error(std::errc::invalid_argument);
    }
    return impl_->forwarder->running() ? Result<void>() : impl_->start_forwarder();
}

bool IvshmemDevice::has_link(LinkGroupId remote) const {
    return impl_->has_link(remote);
}

void IvshmemDevice::forget_link(LinkGroupId remote) {
    impl_->forget_link(remote);
}

int IvshmemDevice::poll_fd() const noexcept {
    return impl_->server_socket();
}

void IvshmemDevice::service() {
    static_cast<void>(impl_->service());
}

void IvshmemDevice::look_after() {
    static_cast<void>(without_throwing([&] {
        impl_->look_after();
        return Result<void>();
    }));
}

bool IvshmemDevice::gone() const noexcept {
    return impl_->is_region_gone();
}

bool IvshmemDevice::drained() const noexcept {
    return impl_->drained();
}

void IvshmemDevice::set_last_resort(std::function<void(const RemoteDmb&)> wake_peer) {
    impl_->last_resort = std::move(wake_peer);
}

Result<UniqueFd> IvshmemDevice::announce(std::span<const AnnouncedAddress> addresses) {
    return without_throwing([&] { return impl_->announce(addresses); });
}

void IvshmemDevice::withdraw_unheld() noexcept {
    impl_->withdraw_unheld();
}

IvshmemDevice::Found IvshmemDevice::find_listener(const AnnouncedAddress& address) {
    return impl_->find_listener(address);
}

void IvshmemDevice::before_fork() {
    impl_->before_fork();
}

void IvshmemDevice::after_fork_in_parent() {
    impl_->after_fork_in_parent();
}

void IvshmemDevice::after_fork_in_child() {
    impl_->after_fork_in_child();
}

void IvshmemDevice::forward_signals() noexcept {
    impl_->forwarder->forward();
}

IvshmemDevice::Usage IvshmemDevice::usage() const {
    return impl_->usage();
}

} // namespace smcd::dev
