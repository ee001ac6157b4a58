#include "smcd/runtime/devices.hpp"

#include <algorithm>
#include <charconv>
#include <string>
#include <utility>

#include "devices/ism/ism.hpp"
#include "devices/loopback/loopback.hpp"
#include "smcd/base/clock.hpp"
#include "smcd/base/log.hpp"

namespace smcd {
namespace {

using DevicePtr = std::unique_ptr<dev::LinkedDevice>;

/// "ism" or "ism:0101".
DevicePtr make_ism(const Config& config, const std::string& argument, dev::DoorbellTable& doorbells) {
    dev::IsmOptions options;
    options.folder = config.ism_folder;
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

/// How often a fabric that is not there is looked for.
constexpr std::uint64_t kLookMinNs = kNsPerSecond / 4;
constexpr std::uint64_t kLookMaxNs = 4 * kNsPerSecond;

const DeviceChoice* fabric_choice(const Config& config) noexcept {
    for (const DeviceChoice& choice : config.devices) {
        if (choice.kind == dev::DeviceKind::ivshmem) {
            return &choice;
        }
    }
    return nullptr;
}

DevicePtr make_device(const Config& config, const DeviceChoice& choice, dev::DoorbellTable& doorbells) {
    switch (choice.kind) {
        case dev::DeviceKind::loopback:
            return std::make_unique<dev::LoopbackDevice>(doorbells,
                                                         dev::LoopbackOptions{.allowed_uids = config.allowed_uids});
        case dev::DeviceKind::ism:
            return make_ism(config, choice.argument, doorbells);
        case dev::DeviceKind::ivshmem:
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

dev::LinkedDevice* DeviceList::on(Chid chid) const noexcept {
    dev::LinkedDevice* found = nullptr;
    for (const DevicePtr& device : all()) {
        if (device->fabric_id() == chid && (found == nullptr || found->gone())) {
            found = device.get();
        }
    }
    return found;
}

dev::IvshmemDevice* DeviceList::fabric() const noexcept {
    for (const DevicePtr& device : all()) {
        auto* fabric = dynamic_cast<dev::IvshmemDevice*>(device.get());
        if (fabric != nullptr && !fabric->gone()) {
            return fabric;
        }
    }
    return nullptr;
}

bool DeviceList::lacks_fabric(const Config& config) const noexcept {
    return fabric_choice(config) != nullptr && fabric() == nullptr;
}

void DeviceList::add(DevicePtr device) noexcept {
    const std::size_t count = count_.load(std::memory_order_relaxed);
    device->set_last_resort(last_resort_);
    device->set_on_loss(on_loss_);
    devices_[count] = std::move(device);
    count_.store(count + 1, std::memory_order_release);  // sync: device-list
}

void DeviceList::make(const Config& config, dev::DoorbellTable& doorbells, LastResort last_resort,
                      std::function<void()> on_loss) {
    last_resort_ = last_resort;
    on_loss_ = std::move(on_loss);
    for (DevicePtr& device : make_devices(config, doorbells)) {
        if (all().size() < kMax) {
            add(std::move(device));
        }
    }
    next_look_ns_ = monotonic_ns() + kLookMinNs;
}

void DeviceList::look_for_fabric(const Config& config, dev::DoorbellTable& doorbells) {
    const std::uint64_t now = monotonic_ns();
    if (now < next_look_ns_ || !lacks_fabric(config) || all().size() == kMax) {
        return;
    }
    look_again_ns_ = std::clamp(look_again_ns_ * 2, kLookMinNs, kLookMaxNs);
    if (auto device = make_ivshmem(config, *fabric_choice(config), doorbells); device != nullptr) {
        look_again_ns_ = kLookMinNs;
        add(std::move(device));
    }
    next_look_ns_ = monotonic_ns() + look_again_ns_;
}

}  // namespace smcd
