// The device around the data path: identity, tables, events, fork. Floor 2.
#include "devices/ism/ism.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <mutex>
#include <utility>

#include "devices/ism/impl.hpp"

namespace smcd::dev {
namespace {

LoopbackOptions bus_options(const IsmOptions& options, int status_fd) {
    LoopbackOptions bus;
    bus.max_dmbs = std::min(options.max_dmbs, kIsmDmbCount - kIsmReservedDmbs);
    bus.max_bytes = options.max_bytes;
    bus.bus = {
        {options.chid.value(), options.folder},
        kIsmReservedDmbs,
        kIsmTokenMask,
        sizeof(StatusArea),
        status_fd
    };
    return bus;
}

} // namespace

IsmDevice::Impl::Impl(DoorbellTable& doorbells, const IsmOptions& wanted, StatusFile file)
    : options(wanted), bus(doorbells, bus_options(wanted, file.fd.get())) {
    status.store(&file.area(), std::memory_order_release);
    status_files_.push_back(std::move(file));
    bus.set_event_handler([this](const BusEvent& event) { take_event(event); });
}

Gid IsmDevice::Impl::gid_of(LinkGroupId group) const noexcept {
    // The loopback GID tells host and network namespace; each fabric in it has another upper half.
    constexpr std::uint64_t kSpread = 0x9E3779B97F4A7C15ULL;
    const Gid host = bus.gid();
    const std::uint64_t fabric = (host.high ^ (options.chid.value() * kSpread)) >> 32U;
    return {fabric << 32U | group.value(), is_emulated(options.chid) ? host.low : 0};
}

Result<LinkGroupId> IsmDevice::Impl::group_of(Gid gid) const {
    const LinkGroupId group(static_cast<std::uint32_t>(gid.high));
    if (group == LinkGroupId() || gid_of(group) != gid) {
        return Error(std::errc::network_unreachable);
    }
    return group;
}

Result<void> IsmDevice::Impl::query(Gid remote_gid) {
    if (disabled.load(std::memory_order_acquire)) {
        return Error(std::errc::no_such_device);
    }
    SMCD_TRY(const LinkGroupId group, group_of(remote_gid));
    if (bus.has_link(group) || bus.is_there(group)) {
        return {};
    }
    return Error(std::errc::network_unreachable);
}

Result<Dmb> IsmDevice::Impl::register_dmb(const DmbRequest& request) {
    if (disabled.load(std::memory_order_acquire)) {
        return Error(std::errc::no_such_device);
    }
    if (request.size_class > kIsmSizeClassMax) {
        return Error(std::errc::invalid_argument);
    }
    SMCD_TRY(const LinkGroupId writer, group_of(request.remote_gid));
    if (writer != request.remote_group) {
        return Error(std::errc::invalid_argument);
    }
    SMCD_TRY(const Dmb dmb, bus.register_dmb({bus.gid(), writer, request.size_class}));
    const std::unique_lock guard(lock_);
    const bool late = disabled.load(std::memory_order_acquire); // meanwhile
    ism_word_of(*dmb.bells)
        .store(late ? kIsmDisabled : dmb.token.value(), std::memory_order_release);
    status.load(std::memory_order_acquire)->clear(dmb.index); // of an earlier DMB
    local_[dmb.token.value()] = {dmb.index, dmb.bells, writer, false};
    return dmb;
}

Result<void> IsmDevice::Impl::unregister_dmb(DmbToken token) {
    Local dmb;
    {
        const std::unique_lock guard(lock_);
        const auto found = local_.find(token.value());
        if (found == local_.end()) {
            return Error(std::errc::invalid_argument);
        }
        dmb = found->second;
        local_.erase(found);
        // With relatives the DMB goes on: which of them is the last nobody knows.
        if (!dmb.forked) {
            ism_word_of(*dmb.page).store(kIsmUnregistered, std::memory_order_release);
        }
    }
    if (!dmb.forked && bus.is_attached_by_peer(token)) {
        static_cast<void>(bus.send_event(dmb.writer,
                                         {static_cast<std::uint32_t>(FabricEventType::buffer),
                                          kFabricBufferUnregistered,
                                          token.value(),
                                          0,
                                          {}}));
    }
    return bus.unregister_dmb(token);
}

Result<RemoteDmb> IsmDevice::Impl::attach_dmb(LinkGroupId owner, DmbToken token) {
    if (disabled.load(std::memory_order_acquire)) {
        return Error(std::errc::no_such_device);
    }
    SMCD_TRY(const RemoteDmb attached, bus.attach_dmb(owner, token));
    const std::unique_lock guard(lock_);
    Remote& remote = remote_[token.value()];
    remote.dmb = attached;
    remote.status = reinterpret_cast<StatusArea*>(LoopbackDevice::status_of(attached));
    ++remote.count;
    RemoteDmb shown = attached;
    shown.memory = {};
    shown.bells = nullptr;
    return shown;
}

Result<void> IsmDevice::Impl::detach_dmb(DmbToken token) {
    {
        const std::unique_lock guard(lock_);
        const auto found = remote_.find(token.value());
        if (found == remote_.end()) {
            return Error(std::errc::invalid_argument);
        }
        if (--found->second.count == 0) {
            remote_.erase(found);
        }
    }
    return bus.detach_dmb(token);
}

void IsmDevice::Impl::name_holder(DmbToken token, void* user) {
    const std::unique_lock guard(lock_);
    const auto found = remote_.find(token.value());
    if (found != remote_.end()) {
        found->second.dmb.user = user;
    }
}

std::size_t
IsmDevice::Impl::take_signals(const std::function<void(SbaIndex, std::uint16_t)>& on_signal) {
    std::vector<std::pair<SbaIndex, std::uint16_t>> ours;
    {
        const std::shared_lock guard(lock_);
        status.load(std::memory_order_acquire)->take([&](SbaIndex index, std::uint16_t mask) {
            const bool known = std::any_of(local_.begin(), local_.end(), [index](const auto& dmb) {
                return dmb.second.index == index;
            });
            if (known) {
                ours.emplace_back(index, mask);
            }
        });
    }
    for (const auto& [index, mask] : ours) {
        on_signal(index, mask);
    }
    return ours.size();
}

IsmDevice::IsmDevice(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

IsmDevice::~IsmDevice() = default;

Result<std::unique_ptr<IsmDevice>> IsmDevice::create(DoorbellTable& doorbells,
                                                     const IsmOptions& options) {
    if (options.chid == Chid() || options.chid == kLoopbackChid) {
        return Error(std::errc::invalid_argument);
    }

    struct stat info {};

    if (!options.folder.empty() &&
        (::stat(options.folder.c_str(), &info) != 0 || !S_ISDIR(info.st_mode))) {
        return Error(std::errc::not_a_directory);
    }
    SMCD_TRY(StatusFile file, StatusFile::create());
    auto impl = std::make_unique<Impl>(doorbells, options, std::move(file));
    SMCD_TRY_VOID(impl->vlans.add(kIsmReservedVlan)); // it speaks version 2
    return std::unique_ptr<IsmDevice>(new IsmDevice(std::move(impl)));
}

Gid IsmDevice::gid() const {
    const auto group = impl_->bus.link_group_id();
    return group ? impl_->gid_of(*group) : Gid{};
}

Chid IsmDevice::fabric_id() const {
    return impl_->options.chid;
}

Result<void> IsmDevice::query_remote_gid(Gid remote_gid) const {
    return impl_->query(remote_gid);
}

std::uint32_t IsmDevice::max_dmbs() const {
    return impl_->bus.max_dmbs() + kIsmReservedDmbs;
}

Result<Dmb> IsmDevice::register_dmb(const DmbRequest& request) {
    return without_throwing([&] { return impl_->register_dmb(request); });
}

Result<void> IsmDevice::unregister_dmb(DmbToken token) {
    return without_throwing([&] { return impl_->unregister_dmb(token); });
}

Result<void> IsmDevice::move_data(DmbToken token,
                                  bool signal_owner,
                                  std::uint32_t offset,
                                  std::span<const std::byte> data) {
    return impl_->move_data(token, signal_owner, offset, data);
}

Result<void> IsmDevice::move(const MoveCommand& command, std::span<const std::byte> data) {
    return impl_->move(command, data);
}

Result<RemoteDmb> IsmDevice::attach_dmb(LinkGroupId owner, DmbToken token) {
    return without_throwing([&] { return impl_->attach_dmb(owner, token); });
}

Result<void> IsmDevice::detach_dmb(DmbToken token) {
    return without_throwing([&] { return impl_->detach_dmb(token); });
}

void IsmDevice::name_holder(DmbToken token, void* user) {
    impl_->name_holder(token, user);
}

void IsmDevice::signal(const RemoteDmb& dmb, std::uint64_t doors) noexcept {
    impl_->signal(dmb, doors);
}

void IsmDevice::wake(const RemoteDmb& /*dmb*/, std::atomic<std::uint32_t>& /*word*/) noexcept {}

std::size_t IsmDevice::harvest(unsigned door, const std::function<void(SbaIndex)>& on_signal) {
    return impl_->bus.harvest(door, [&](SbaIndex index) {
        impl_->status.load(std::memory_order_acquire)->clear(index);
        on_signal(index);
    });
}

bool IsmDevice::has_signal(unsigned door) const noexcept {
    return impl_->bus.has_signal(door);
}

Result<LinkGroupId> IsmDevice::link_group_id() {
    if (impl_->disabled.load(std::memory_order_acquire)) {
        return Error(std::errc::no_such_device);
    }
    return impl_->bus.link_group_id();
}

void IsmDevice::prefer_group(LinkGroupId id) {
    impl_->bus.prefer_group(id);
}

Result<void> IsmDevice::export_doorbell(const RemoteDmb& dmb, unsigned door) {
    return impl_->bus.export_doorbell(dmb, door);
}

bool IsmDevice::has_link(LinkGroupId remote) const {
    return impl_->bus.has_link(remote);
}

void IsmDevice::forget_link(LinkGroupId remote) {
    impl_->bus.forget_link(remote);
}

int IsmDevice::poll_fd() const noexcept {
    return impl_->bus.poll_fd();
}

void IsmDevice::service() {
    impl_->bus.service();
}

void IsmDevice::set_last_resort(std::function<void(const RemoteDmb&)> wake_peer) {
    impl_->bus.set_last_resort(std::move(wake_peer));
}

void IsmDevice::before_fork() {
    impl_->before_fork();
}

void IsmDevice::after_fork_in_parent() {
    impl_->after_fork_in_parent();
}

void IsmDevice::after_fork_in_child() {
    impl_->after_fork_in_child();
}

std::size_t IsmDevice::take_signals(const std::function<void(SbaIndex, std::uint16_t)>& on_signal) {
    return impl_->take_signals(on_signal);
}

StatusArea& IsmDevice::status() noexcept {
    return *impl_->status.load(std::memory_order_acquire);
}

Result<void> IsmDevice::add_vlan_id(std::uint16_t id) {
    if (impl_->disabled.load(std::memory_order_acquire)) {
        return Error(std::errc::no_such_device);
    }
    return impl_->vlans.add(id);
}

Result<void> IsmDevice::del_vlan_id(std::uint16_t id) {
    return impl_->vlans.remove(id);
}

bool IsmDevice::has_vlan_id(std::uint16_t id) const {
    return impl_->vlans.contains(id);
}

IsmDevice::Counters IsmDevice::counters() const noexcept {
    const auto& counts = impl_->counts;
    return {counts.moves.load(std::memory_order_relaxed),
            counts.bytes.load(std::memory_order_relaxed),
            counts.signals.load(std::memory_order_relaxed),
            counts.merged.load(std::memory_order_relaxed),
            counts.refused.load(std::memory_order_relaxed)};
}

} // namespace smcd::dev
