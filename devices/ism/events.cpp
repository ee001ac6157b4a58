// Events, and the end of a device. Floor 2, docs/protocol.md "devices".
#include <mutex>
#include <utility>

#include "devices/ism/impl.hpp"
#include "smcd/base/clock.hpp"

namespace smcd::dev {

/// Under the lock of the bus.
void IsmDevice::Impl::take_event(const BusEvent& event) {
    const bool about_dmb = event.type == static_cast<std::uint32_t>(FabricEventType::buffer);
    if (event.type > static_cast<std::uint32_t>(FabricEventType::software)) {
        return;
    }
    // Who sent it is known from the link; only the name of a DMB is taken from the message.
    const std::uint64_t token = about_dmb ? event.token : gid_of(event.sender).high;
    events.push(
        {static_cast<FabricEventType>(event.type), event.code, token, monotonic_ns(), event.info});
    status.load(std::memory_order_acquire)
        ->summary.fetch_or(StatusArea::kEvent, std::memory_order_seq_cst);
    if (!about_dmb) {
        on_loss();
    }
}

void IsmDevice::Impl::on_loss() const noexcept {
    if (look) {
        look();
    }
}

/// Whether the device of one side is disabled: the owner's word says so, whatever became of the
/// event.
bool IsmDevice::Impl::lost(DmbToken token) {
    const std::shared_lock guard(lock_);
    const auto found = remote_.find(token.value());
    return found != remote_.end() &&
           (disabled.load(std::memory_order_acquire) ||
            ism_word_of(*found->second.dmb.bells).load(std::memory_order_acquire) == kIsmDisabled);
}

void IsmDevice::Impl::disable(std::uint32_t code) {
    {
        const std::unique_lock guard(lock_);
        disabled.store(true, std::memory_order_release);
        for (const auto& [token, dmb] : local_) {
            ism_word_of(*dmb.page).store(kIsmDisabled, std::memory_order_release);
        }
    }
    static_cast<void>(
        bus.send_event({}, {static_cast<std::uint32_t>(FabricEventType::device), code, 0, 0, {}}));
    on_loss();
}

bool IsmDevice::lost(const RemoteDmb& dmb) const noexcept {
    return impl_->lost(dmb.token);
}

void IsmDevice::set_on_loss(std::function<void()> look) {
    impl_->look = std::move(look);
}

std::optional<FabricEvent> IsmDevice::next_event() {
    return impl_->events.pop();
}

std::uint64_t IsmDevice::event_overruns() const {
    return impl_->events.overruns();
}

Result<void> IsmDevice::signal_event(Gid remote_gid, std::uint32_t code, std::uint64_t info) {
    SMCD_TRY_VOID(impl_->query(remote_gid));
    SMCD_TRY(const LinkGroupId group, impl_->group_of(remote_gid));
    return without_throwing([&] {
        return impl_->bus.send_event(
            group, {static_cast<std::uint32_t>(FabricEventType::software), code, 0, info, {}});
    });
}

Result<void> IsmDevice::disable(std::uint32_t code) {
    impl_->disable(code);
    return {};
}

} // namespace smcd::dev
