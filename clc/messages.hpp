// CLC messages as values in host order. Reserved fields are not kept: written zero, ignored on read. Floor 1.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "clc/constants.hpp"
#include "smcd/base/ids.hpp"
#include "smcd/base/result.hpp"

namespace smcd::clc {

/// Enterprise id: 32 ASCII characters, padded with blanks.
struct Eid {
    std::array<char, kEidBytes> text{};
    friend bool operator==(const Eid&, const Eid&) = default;
};

/// A user-defined EID: A-Z 0-9 '.' '-', first a letter or digit, 1..32 characters. EINVAL otherwise.
[[nodiscard]] Result<Eid> make_ueid(std::string_view text);
/// What we use when the administrator says nothing.
[[nodiscard]] const Eid& default_ueid() noexcept;

/// GID and CHID of one offered device as it stands on the wire; an emulated device takes two slots.
struct Slot {
    std::uint64_t gid = 0;
    Chid chid;
    friend bool operator==(const Slot&, const Slot&) = default;
};

template <typename T, std::size_t N>
struct FixedList {
    std::array<T, N> items{};
    std::size_t count = 0;
    [[nodiscard]] std::span<const T> span() const& noexcept { return {items.data(), count}; }
    /// Of a temporary it would dangle, at once and in the range of a for.
    std::span<const T> span() const&& = delete;
    bool add(const T& item) noexcept {
        if (count == N) {
            return false;
        }
        items[count++] = item;
        return true;
    }
    friend bool operator==(const FixedList&, const FixedList&) = default;
};

/// Our announcement in the vendor fields; absent from other implementations' messages.
struct VendorExtension {
    bool present = false;
    std::uint8_t features = 0;
    LinkGroupId group; ///< Proposal: the sender's rendezvous
    std::uint16_t vlan = 0; ///< Proposal by version 1: VLAN id of the client's end; 0: none
    friend bool operator==(const VendorExtension&, const VendorExtension&) = default;
};
inline constexpr std::uint8_t kFeatureBells = 0x1;

struct Ipv6Prefix {
    std::array<std::byte, 16> prefix{};
    std::uint8_t length = 0;
    friend bool operator==(const Ipv6Prefix&, const Ipv6Prefix&) = default;
};

struct Proposal {
    std::uint8_t version = 2;
    Mode typev1 = Mode::none;
    Mode typev2 = Mode::smcd;
    Slot native;                     ///< SMC-D v1 device
    std::uint32_t ipv4_subnet = 0;   ///< prefix area, only if typev1 != none
    std::uint8_t ipv4_prefix_length = 0;
    FixedList<Ipv6Prefix, kIpv6PrefixesMax> ipv6_prefixes;
    std::uint8_t release = kReleaseOurs;
    std::uint16_t features = kFeatureEmulatedIsm;
    FixedList<Eid, kEidsMax> ueids;
    bool has_seid = false;
    Eid seid;
    bool has_v2_extension = true;
    bool has_smcd_v2_extension = true;
    FixedList<Slot, kSlotsMax> slots;
    VendorExtension vendor;
    friend bool operator==(const Proposal&, const Proposal&) = default;
};

struct FirstContact {
    std::uint8_t os = kOsLinux;
    std::uint8_t release = 0;
    std::array<char, 32> host{};
    std::uint16_t features = 0;
    VendorExtension vendor;
    friend bool operator==(const FirstContact&, const FirstContact&) = default;
};

/// Accept describes the server's DMB, Confirm the client's.
struct AcceptConfirm {
    MessageType type = MessageType::accept;
    std::uint8_t version = 2;
    Mode mode = Mode::smcd;
    bool first_contact = false;
    Gid gid;
    DmbToken token;
    std::uint8_t dmbe_idx = 0;
    SizeClass size_class;
    LinkGroupId group;
    Chid chid;
    Eid eid;
    FirstContact contact; ///< present exactly if first_contact and version >= 2
    friend bool operator==(const AcceptConfirm&, const AcceptConfirm&) = default;
};

struct Decline {
    std::uint8_t version = 2;
    bool out_of_sync = false;
    std::uint32_t diagnosis = 0;
    friend bool operator==(const Decline&, const Decline&) = default;
};

struct Header {
    MessageType type = MessageType::proposal;
    std::uint16_t length = 0;
    std::uint8_t version = 0;
    std::uint8_t flags = 0; ///< low nibble of byte 7
};

/// Validates eyecatcher, version, type, and the length's bounds for that type. Needs kHeaderBytes. EPROTO otherwise.
[[nodiscard]] Result<Header> decode_header(std::span<const std::byte> bytes) noexcept;

// Each decodes one complete message (bytes.size() == header length). EPROTO: malformed.
[[nodiscard]] Result<Proposal> decode_proposal(std::span<const std::byte> bytes) noexcept;
[[nodiscard]] Result<AcceptConfirm> decode_accept_confirm(std::span<const std::byte> bytes) noexcept;
[[nodiscard]] Result<Decline> decode_decline(std::span<const std::byte> bytes) noexcept;

/// An encoded message.
struct Message {
    std::array<std::byte, kMessageBytesMax> data{};
    std::size_t size = 0;
    [[nodiscard]] std::span<const std::byte> span() const noexcept { return {data.data(), size}; }
};
[[nodiscard]] Message encode(const Proposal& proposal) noexcept;
[[nodiscard]] Message encode(const AcceptConfirm& message) noexcept;
[[nodiscard]] Message encode(const Decline& decline) noexcept;

}  // namespace smcd::clc
