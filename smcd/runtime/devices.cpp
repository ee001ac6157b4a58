#include "smcd/runtime/devices.hpp"

#include <algorithm>
#include <utility>

#include "devices/loopback/loopback.hpp"
#include "smcd/base/log.hpp"

namespace smcd {
namespace {

using DevicePtr = std::unique_ptr<dev::LinkedDevice>;

DevicePtr make_device(const DeviceChoice& choice, dev::DoorbellTable& doorbells) {
    switch (choice.kind) {
        case DeviceKind::loopback:
            return std::make_unique<dev::LoopbackDevice>(doorbells, dev::LoopbackOptions{});
    }
    return nullptr;
}

}  // namespace

std::vector<DevicePtr> make_devices(const Config& config, dev::DoorbellTable& doorbells) {
    std::vector<DevicePtr> devices;
    for (const DeviceChoice& choice : config.devices) {
        DevicePtr device = make_device(choice, doorbells);
        if (device == nullptr) {
            continue;  // whoever could not make it has logged why
        }
        const bool known = std::any_of(devices.begin(), devices.end(), [&](const DevicePtr& other) {
            return other->fabric_id() == device->fabric_id();
        });
        if (known) {
            SMCD_LOG(error, "SMCD_DEVICES: two devices with CHID 0x%04x, the second is left out",
                     device->fabric_id().value());
            continue;
        }
        devices.push_back(std::move(device));
    }
    return devices;
}

}  // namespace smcd
