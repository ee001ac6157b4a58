#include "smcd/runtime/static_rules.hpp"

#include <arpa/inet.h>

#include <charconv>
#include <optional>
#include <string>

#include "smcd/base/log.hpp"

namespace smcd {
namespace {

constexpr unsigned kBitsV4 = 32;
constexpr unsigned kBitsV6 = 128;

std::optional<unsigned> number_of(std::string_view text, unsigned limit) {
    unsigned value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value > limit) {
        return std::nullopt;
    }
    return value;
}

bool parse_address(const std::string& text, TcpAddress& address) {
    address.family = text.find(':') == std::string::npos ? AF_INET : AF_INET6;
    return ::inet_pton(address.family, text.c_str(), address.address_be) == 1;
}

/// Cuts ":port" off; IPv6 addresses with a port stand in brackets.
bool cut_port(std::string_view& text, TcpAddress& address) {
    std::size_t colon = std::string_view::npos;
    if (!text.empty() && text.front() == '[') {
        const std::size_t bracket = text.find(']');
        if (bracket == std::string_view::npos) {
            return false;
        }
        colon = bracket + 1 < text.size() ? bracket + 1 : std::string_view::npos;
    } else if (text.find(':') == text.rfind(':')) {
        colon = text.find(':');
    }
    if (colon != std::string_view::npos) {
        const auto port =
            text[colon] == ':' ? number_of(text.substr(colon + 1), 65535) : std::nullopt;
        if (!port) {
            return false;
        }
        address.port_be = htons(static_cast<std::uint16_t>(*port));
        text = text.substr(0, colon);
    }
    if (!text.empty() && text.front() == '[') {
        text = text.substr(1, text.size() - 2);
    }
    return true;
}

std::optional<StaticRule> parse_rule(std::string_view text) {
    StaticRule rule;
    if (!cut_port(text, rule.network)) {
        return std::nullopt;
    }
    const std::size_t slash = text.find('/');
    if (!parse_address(std::string(text.substr(0, slash)), rule.network)) {
        return std::nullopt;
    }
    const unsigned all = rule.network.family == AF_INET ? kBitsV4 : kBitsV6;
    const auto bits =
        slash == std::string_view::npos ? all : number_of(text.substr(slash + 1), all);
    if (!bits) {
        return std::nullopt;
    }
    rule.prefix_bits = *bits;
    return rule;
}

} // namespace

bool StaticRule::covers(const TcpAddress& address) const noexcept {
    if (address.family != network.family ||
        (network.port_be != 0 && network.port_be != address.port_be)) {
        return false;
    }
    const auto* wanted = reinterpret_cast<const unsigned char*>(network.address_be);
    const auto* there = reinterpret_cast<const unsigned char*>(address.address_be);
    for (unsigned bit = 0; bit < prefix_bits; bit += 8) {
        const unsigned bits = std::min(8U, prefix_bits - bit);
        const unsigned mask = 0xFFU << (8 - bits) & 0xFFU;
        if (((wanted[bit / 8] ^ there[bit / 8]) & mask) != 0) {
            return false;
        }
    }
    return true;
}

std::vector<StaticRule> parse_static_rules(std::string_view text) {
    std::vector<StaticRule> rules;
    while (!text.empty()) {
        const std::size_t comma = std::min(text.find(','), text.size());
        const std::string_view one = text.substr(0, comma);
        text = text.substr(std::min(comma + 1, text.size()));
        if (const auto rule = parse_rule(one); rule) {
            rules.push_back(*rule);
        } else if (!one.empty()) {
            SMCD_LOG(error, "SMCD_STATIC_PEERS: '%s' is no rule", std::string(one).c_str());
        }
    }
    return rules;
}

} // namespace smcd
