// DeviceKind: which device of ours serves a connection; and how it is named to people. Floor 1.
#pragma once

#include <array>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

#include "smcd/base/ids.hpp"

namespace smcd::dev {

enum class DeviceKind : std::uint16_t { loopback = 0, ism = 1, ivshmem = 2 };

inline constexpr std::array<std::string_view, 3> kDeviceKindNames{"loopback", "ism", "ivshmem"};

/// The fabrics that the names alone mean.
inline constexpr Chid kIsmChid{0x0100};
inline constexpr Chid kIvshmemChid{0xFF01};

/// A device as one word, which other processes read in a connection's record.
struct DeviceId {
    DeviceKind kind = DeviceKind::loopback;
    Chid chid;

    [[nodiscard]] constexpr std::uint32_t word() const noexcept {
        return std::uint32_t{static_cast<std::uint16_t>(kind)} << 16U | chid.value();
    }

    [[nodiscard]] static constexpr DeviceId of(std::uint32_t word) noexcept {
        return {static_cast<DeviceKind>(word >> 16U), Chid(static_cast<std::uint16_t>(word))};
    }

    friend bool operator==(const DeviceId&, const DeviceId&) = default;
};

/// "loopback", "ism", "ivshmem"; with the CHID where it is not the usual one: "ism:0101"; of a kind
/// that we do not know: "chid 0xff02".
[[nodiscard]] inline std::string device_name(DeviceId device) {
    const auto index = static_cast<std::size_t>(device.kind);
    const bool known = index < kDeviceKindNames.size();
    const bool usual = device.kind == DeviceKind::loopback ||
                       (device.kind == DeviceKind::ism && device.chid == kIsmChid) ||
                       (device.kind == DeviceKind::ivshmem && device.chid == kIvshmemChid);
    std::array<char, 8> digits{};
    std::snprintf(digits.data(), digits.size(), "%04x", unsigned{device.chid.value()});
    if (!known) {
        return std::string("chid 0x") + digits.data();
    }
    const std::string name(kDeviceKindNames[index]);
    return usual ? name : name + ':' + digits.data();
}

} // namespace smcd::dev
