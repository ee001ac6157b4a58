// Numbers of the CLC wire format: lengths, limits, message types. Floor 1, docs/protocol.md "CLC".
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace smcd::clc {

using Eyecatcher = std::array<std::byte, 4>;
inline constexpr Eyecatcher kEyecatcherR{std::byte{0xE2}, std::byte{0xD4}, std::byte{0xC3}, std::byte{0xD9}};
inline constexpr Eyecatcher kEyecatcherD{std::byte{0xE2}, std::byte{0xD4}, std::byte{0xC3}, std::byte{0xC4}};

enum class MessageType : std::uint8_t { proposal = 1, accept = 2, confirm = 3, decline = 4 };

/// typev1 and typev2 of a Proposal.
enum class Mode : std::uint8_t { smcr = 0, smcd = 1, none = 2, both = 3 };

inline constexpr std::size_t kHeaderBytes = 8;
inline constexpr std::size_t kTrailerBytes = 4;
inline constexpr std::size_t kMessageBytesMax = 652; ///< the largest Proposal
inline constexpr std::size_t kAcceptBytesMax = 512;  ///< longer Accepts than we know are taken up to here
inline constexpr std::size_t kAcceptV1Bytes = 48;
inline constexpr std::size_t kAcceptV2Bytes = 78;
inline constexpr std::size_t kFirstContactBytes = 36;    ///< release 0
inline constexpr std::size_t kFirstContactV21Bytes = 52; ///< release >= 1
inline constexpr std::size_t kDeclineV1Bytes = 28;
inline constexpr std::size_t kDeclineV2Bytes = 44;
inline constexpr std::size_t kProposalFixedBytes = 40; ///< up to the SMC-D info
inline constexpr std::size_t kSmcdInfoBytes = 40;
inline constexpr std::size_t kPrefixAreaBytes = 8;
inline constexpr std::size_t kIpv6PrefixBytes = 17;
inline constexpr std::size_t kV2ExtBytes = 40;
inline constexpr std::size_t kSmcdV2ExtBytes = 48;
inline constexpr std::size_t kSlotBytes = 10;
inline constexpr std::size_t kEidBytes = 32;

inline constexpr std::size_t kEidsMax = 8;
inline constexpr std::size_t kSlotsMax = 8;
inline constexpr std::size_t kIpv6PrefixesMax = 8;
inline constexpr std::uint8_t kSizeClassMax = 15;
inline constexpr std::uint8_t kReleaseOurs = 1;
inline constexpr std::uint8_t kOsLinux = 2;
inline constexpr std::uint16_t kFeatureEmulatedIsm = 0x0001;

}  // namespace smcd::clc
