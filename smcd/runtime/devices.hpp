// The devices of this process, as configured: the only place that names concrete ones. Floor 3.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "devices/api/device.hpp"
#include "devices/api/doorbell.hpp"
#include "devices/ivshmem/ivshmem.hpp"
#include "smcd/runtime/config.hpp"

namespace smcd {

/// In the configured order. Left out and logged: a device that cannot be had here, and one on a fabric (CHID) that an
/// earlier one serves. `doorbells` must outlive them.
[[nodiscard]] std::vector<std::unique_ptr<dev::LinkedDevice>> make_devices(const Config& config,
                                                                           dev::DoorbellTable& doorbells);

/// The devices of a process. Those that are there stay; a fabric that comes later, or anew, is added behind them.
class DeviceList {
public:
    /// Wakes a peer whose doorbell cannot be rung.
    using LastResort = void (*)(const dev::RemoteDmb&);
    /// As many as a connection's server can be offered.
    static constexpr std::size_t kMax = 8;

    /// Thread: any, without a lock.
    [[nodiscard]] std::span<const std::unique_ptr<dev::LinkedDevice>> all() const noexcept {
        return {devices_.data(), count_.load(std::memory_order_acquire)};  // sync: device-list
    }

    /// The device on that fabric, rather one that is not gone; nullptr: none. Thread: any.
    [[nodiscard]] dev::LinkedDevice* on(Chid chid) const noexcept;
    /// The device whose region has a directory of listeners, and is there; nullptr: there is none. Thread: any.
    [[nodiscard]] dev::IvshmemDevice* fabric() const noexcept;
    /// Whether one is configured that is not there. Thread: any.
    [[nodiscard]] bool lacks_fabric(const Config& config) const noexcept;

    // One thread at a time.

    /// Adds the configured devices.
    void make(const Config& config, dev::DoorbellTable& doorbells, LastResort last_resort, std::function<void()> on_loss);
    /// Tries to open the fabric that is lacking. Not sooner than a while after the last time. Blocks two seconds at most.
    void look_for_fabric(const Config& config, dev::DoorbellTable& doorbells);

private:
    void add(std::unique_ptr<dev::LinkedDevice> device) noexcept;

    std::array<std::unique_ptr<dev::LinkedDevice>, kMax> devices_;
    std::atomic<std::size_t> count_{0};
    LastResort last_resort_ = nullptr;
    std::function<void()> on_loss_;
    std::uint64_t next_look_ns_ = 0;
    std::uint64_t look_again_ns_ = 0;
};

}  // namespace smcd
