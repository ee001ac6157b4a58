// The devices of this process, as configured: the only place that names concrete ones. Floor 3.
#pragma once

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

/// The device whose region has a directory of listeners; nullptr: there is none.
[[nodiscard]] dev::IvshmemDevice* fabric_among(std::span<const std::unique_ptr<dev::LinkedDevice>> devices) noexcept;

}  // namespace smcd
