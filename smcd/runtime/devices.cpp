#include "smcd/runtime/devices.hpp"

#include <algorithm>
#include <charconv>
#include <string>
#include <utility>

#include "devices/ism/ism.hpp"
#include "devices/loopback/loopback.hpp"
#include "smcd/base/log.hpp"

namespace smcd {
namespace {

using DevicePtr = std::unique_ptr<dev::LinkedDevice>;

/// "ism" or "ism:0101".
DevicePtr make_ism(const std::string& argument, dev::DoorbellTable& doorbells) {
    dev::IsmOptions options;
    if (!argument.empty()) {
        std::uint16_t chid = 0;
        const char* const end = argument.data() + argument.size();
        const auto parsed = std::from_chars(argument.data(), end, chid, 16);
        options.chid = Chid(parsed.ec == std::errc() && parsed.ptr == end ? chid : std::uint16_t{0});
    }
    auto device = dev::IsmDevice::create(doorbells, options);
    if (!device) {
        SMCD_LOG(error, "SMCD_DEVICES: no ism device '%s': %s", argument.c_str(), device.error().message().c_str());
        return nullptr;
    }
    return *std::move(device);
}

DevicePtr make_ivshmem(const Config& config, const DeviceChoice& choice, dev::DoorbellTable& doorbells) {
    dev::IvshmemOptions options;
    options.path = choice.argument.empty() ? config.fabric : choice.argument;
    options.chid = Chid(config.fabric_chid);
    options.pnetid = config.pnetid;
    const std::string path = options.path;
    auto opened = dev::IvshmemDevice::open(doorbells, std::move(options));
    if (!opened) {
        SMCD_LOG(error, "fabric '%s': %s", path.c_str(), opened.error().message().c_str());
        return nullptr;
    }
    return *std::move(opened);
}

DevicePtr make_device(const Config& config, const DeviceChoice& choice, dev::DoorbellTable& doorbells) {
    switch (choice.kind) {
        case DeviceKind::loopback:
            return std::make_unique<dev::LoopbackDevice>(doorbells,
                                                         dev::LoopbackOptions{.allowed_uids = config.allowed_uids});
        case DeviceKind::ism:
            return make_ism(choice.argument, doorbells);
        case DeviceKind::ivshmem:
            return make_ivshmem(config, choice, doorbells);
    }
    return nullptr;
}

}  // namespace

std::vector<DevicePtr> make_devices(const Config& config, dev::DoorbellTable& doorbells) {
    std::vector<DevicePtr> devices;
    for (const DeviceChoice& choice : config.devices) {
        DevicePtr device = make_device(config, choice, doorbells);
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

dev::IvshmemDevice* fabric_among(std::span<const DevicePtr> devices) noexcept {
    for (const DevicePtr& device : devices) {
        if (auto* fabric = dynamic_cast<dev::IvshmemDevice*>(device.get()); fabric != nullptr) {
            return fabric;
        }
    }
    return nullptr;
}

}  // namespace smcd
