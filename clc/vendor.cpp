#include "clc/vendor.hpp"

#include <algorithm>

namespace smcd::clc {
namespace {

constexpr std::array<std::byte, 3> kOui{std::byte{'S'}, std::byte{'D'}, std::byte{'U'}};
constexpr std::uint8_t kMarker = 'S';
constexpr unsigned kExtensionVersion = 1;

std::uint8_t pack_features(std::uint8_t features) noexcept {
    return static_cast<std::uint8_t>(kExtensionVersion << 4U | (features & 0x0FU));
}

}  // namespace

VendorExtension read_proposal_vendor(ByteReader& reader) noexcept {
    const auto oui = reader.take(kOui.size());
    const auto features = reader.be<std::uint8_t>();
    const auto group = reader.be<std::uint32_t>();
    const auto vlan = reader.be<std::uint16_t>();
    const bool ours = std::equal(oui.begin(), oui.end(), kOui.begin(), kOui.end()) &&
                      features >> 4U == kExtensionVersion;
    return ours ? VendorExtension{true, static_cast<std::uint8_t>(features & 0x0FU), LinkGroupId(group), vlan}
                : VendorExtension{};
}

void write_proposal_vendor(ByteWriter& writer, const VendorExtension& vendor) noexcept {
    if (!vendor.present) {
        writer.zeros(10);
        return;
    }
    writer.bytes(kOui);
    writer.be(pack_features(vendor.features));
    writer.be(vendor.group.value());
    writer.be(vendor.vlan);
}

VendorExtension read_contact_vendor(ByteReader& reader) noexcept {
    const auto marker = reader.be<std::uint8_t>();
    const auto features = reader.be<std::uint8_t>();
    reader.skip(2);
    const bool ours = marker == kMarker && features >> 4U == kExtensionVersion;
    return ours ? VendorExtension{true, static_cast<std::uint8_t>(features & 0x0FU), LinkGroupId(), 0}
                : VendorExtension{};
}

void write_contact_vendor(ByteWriter& writer, const VendorExtension& vendor) noexcept {
    if (!vendor.present) {
        writer.zeros(4);
        return;
    }
    writer.be(kMarker);
    writer.be(pack_features(vendor.features));
    writer.zeros(2);
}

}  // namespace smcd::clc
