// Building and checking link messages. Floor 2, docs/shared-memory.md "links".
#include "devices/loopback/link_message.hpp"

#include <cstring>

#include "devices/api/doorbell.hpp"
#include "devices/loopback/signal_area.hpp"
#include "smcd/base/error.hpp"
#include "smcd/base/limits.hpp"

namespace smcd::dev {
namespace {

bool names_dmb(const LinkMessage& message) noexcept {
    return message.first < kSignalIndexCount && message.second <= kSizeClassWireMax &&
           message.token != 0;
}

bool fields_valid(const LinkMessage& message) noexcept {
    if (message.kind != MessageKind::event &&
        (message.previous != 0) != (message.kind == MessageKind::reuse)) {
        return false;
    }
    switch (message.kind) {
    case MessageKind::hello:
        return message.first != 0 && message.second == kSignalAreaBytes && message.token == 0;
    case MessageKind::dmb:
    case MessageKind::reuse:
        return names_dmb(message);
    case MessageKind::doorbell:
        return message.first < kDoorbellCount && message.token == 0;
    case MessageKind::retire:
        return message.first == 0 && message.second == 0 && message.token != 0;
    case MessageKind::status:
        return message.first != 0 && message.second == 0 && message.token == 0;
    case MessageKind::event:
        return message.first <= kBusEventTypeMax;
    }
    return false;
}

} // namespace

LinkMessage hello_message(LinkGroupId sender) noexcept {
    LinkMessage message;
    message.kind = MessageKind::hello;
    message.first = sender.value();
    message.second = kSignalAreaBytes;
    return message;
}

LinkMessage dmb_message(DmbToken token, SbaIndex index, SizeClass size_class) noexcept {
    LinkMessage message;
    message.kind = MessageKind::dmb;
    message.first = index.value();
    message.second = size_class.value();
    message.token = token.value();
    return message;
}

LinkMessage doorbell_message(unsigned door, std::uint32_t generation) noexcept {
    LinkMessage message;
    message.kind = MessageKind::doorbell;
    message.first = door;
    message.second = generation;
    return message;
}

LinkMessage retire_message(DmbToken token) noexcept {
    LinkMessage message;
    message.kind = MessageKind::retire;
    message.token = token.value();
    return message;
}

LinkMessage event_message(std::uint32_t type,
                          std::uint32_t code,
                          std::uint64_t token,
                          std::uint64_t info) noexcept {
    LinkMessage message;
    message.kind = MessageKind::event;
    message.first = type;
    message.second = code;
    message.token = token;
    message.previous = info;
    return message;
}

LinkMessage status_message(std::size_t bytes) noexcept {
    LinkMessage message;
    message.kind = MessageKind::status;
    message.first = static_cast<std::uint32_t>(bytes);
    return message;
}

LinkMessage reuse_message(const LinkMessage& dmb, DmbToken previous) noexcept {
    LinkMessage message = dmb;
    message.kind = MessageKind::reuse;
    message.previous = previous.value();
    return message;
}

std::size_t descriptor_count(MessageKind kind) noexcept {
    switch (kind) {
    case MessageKind::hello:
        return 2;
    case MessageKind::dmb:
    case MessageKind::doorbell:
    case MessageKind::status:
        return 1;
    case MessageKind::retire:
    case MessageKind::reuse:
    case MessageKind::event:
        return 0;
    }
    return 0;
}

Result<LinkMessage> parse_message(std::span<const std::byte> datagram,
                                  std::size_t descriptors) noexcept {
    LinkMessage message;
    if (datagram.size() != sizeof(message)) {
        return engine_error(Errc::peer_violation);
    }
    std::memcpy(&message, datagram.data(), sizeof(message));
    if (message.magic != kLinkMagic || message.version != kLinkVersion || !fields_valid(message) ||
        descriptors != descriptor_count(message.kind)) {
        return engine_error(Errc::peer_violation);
    }
    return message;
}

} // namespace smcd::dev
