// LinkMessage: what two processes say to one another over their link. Floor 2,
// docs/shared-memory.md "links". Both ends run on one host: host byte order, one fixed length for
// all kinds, one datagram per message.
//
//   kind      descriptors                 first        second           token  previous
//   hello     signal area, doorbell page  sender's id  bytes of area    0      0
//   dmb       the DMB's memory            index        size class       new    0
//   doorbell  eventfd                     doorbell     generation       0      0
//   retire    none                        0            0                old    0
//   reuse     none                        index        size class       new    old
//   status    memory                      bytes        0                0      0
//   event     none                        type         code             token  info
//
// status, event: of a device that uses the links as its bus alone. retire: the owner has
// unregistered that DMB. reuse: a new DMB in the memory of an old one, which the receiver has still
// mapped (spares.cpp). The first message each way is hello. A message that contradicts this table
// ends the link.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "smcd/base/ids.hpp"
#include "smcd/base/result.hpp"

namespace smcd::dev {

enum class MessageKind : std::uint16_t {
    hello = 1,
    dmb = 2,
    doorbell = 3,
    retire = 4,
    reuse = 5,
    status = 6,
    event = 7,
};

inline constexpr std::uint32_t kLinkMagic = 0x44434d53; // "SMCD"
/// Changes with every change of this table or of the memory that the descriptors stand for.
inline constexpr std::uint16_t kLinkVersion = 2;

struct LinkMessage {
    std::uint32_t magic = kLinkMagic;
    std::uint16_t version = kLinkVersion;
    MessageKind kind{};
    std::uint32_t first = 0;
    std::uint32_t second = 0;
    std::uint64_t token = 0;
    std::uint64_t previous = 0;
};

static_assert(sizeof(LinkMessage) == 32);

[[nodiscard]] LinkMessage hello_message(LinkGroupId sender) noexcept;
[[nodiscard]] LinkMessage
dmb_message(DmbToken token, SbaIndex index, SizeClass size_class) noexcept;
[[nodiscard]] LinkMessage doorbell_message(unsigned door, std::uint32_t generation) noexcept;
[[nodiscard]] LinkMessage retire_message(DmbToken token) noexcept;
/// The last type that an event may have.
inline constexpr std::uint32_t kBusEventTypeMax = 2;

[[nodiscard]] LinkMessage event_message(std::uint32_t type,
                                        std::uint32_t code,
                                        std::uint64_t token,
                                        std::uint64_t info) noexcept;
[[nodiscard]] LinkMessage status_message(std::size_t bytes) noexcept;
/// `dmb`: as dmb_message() makes it.
[[nodiscard]] LinkMessage reuse_message(const LinkMessage& dmb, DmbToken previous) noexcept;

/// Number of descriptors that go with a message of that kind.
[[nodiscard]] std::size_t descriptor_count(MessageKind kind) noexcept;
/// The most that any kind carries.
inline constexpr std::size_t kDescriptorsMax = 2;

/// Checks a received datagram against the table. Errors: Errc::peer_violation.
[[nodiscard]] Result<LinkMessage> parse_message(std::span<const std::byte> datagram,
                                                std::size_t descriptors) noexcept;

} // namespace smcd::dev
