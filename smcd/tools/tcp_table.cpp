#include "smcd/tools/tcp_table.hpp"

#include <arpa/inet.h>

#include <array>
#include <charconv>
#include <cstring>
#include <vector>

#include "smcd/tools/proc_files.hpp"
#include "smcd/tools/text.hpp"

namespace smcd::tools {
namespace {

/// Far above a table of a million sockets; a bound, not an expectation.
constexpr std::size_t kTableBytesMax = std::size_t{256} << 20U;

std::vector<std::string_view> split(std::string_view text, std::size_t fields_max) {
    std::vector<std::string_view> fields;
    while (fields.size() < fields_max) {
        const auto begin = text.find_first_not_of(' ');
        if (begin == std::string_view::npos) {
            break;
        }
        const auto end = text.find(' ', begin);
        fields.push_back(text.substr(begin, end - begin));
        text.remove_prefix(end == std::string_view::npos ? text.size() : end);
    }
    return fields;
}

template <typename Number>
bool whole_number(std::string_view text, int base, Number& value) noexcept {
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value, base);
    return error == std::errc() && stop == end;
}

} // namespace

std::string tcp_address_text(const void* address, std::uint16_t port, bool is_v6) {
    std::array<char, INET6_ADDRSTRLEN> buffer{};
    ::inet_ntop(is_v6 ? AF_INET6 : AF_INET, address, buffer.data(), buffer.size());
    const std::string name = buffer.data();
    return (is_v6 ? '[' + name + ']' : name) + ':' + std::to_string(port);
}

std::string parse_tcp_address(std::string_view text, bool is_v6) {
    const std::size_t words = is_v6 ? 4 : 1;
    constexpr std::size_t kWordDigits = 8;
    if (text.size() != words * kWordDigits + 5 || text[words * kWordDigits] != ':') {
        return {};
    }
    // The kernel prints each 32-bit word of the address in the machine's byte order.
    std::array<std::uint32_t, 4> address{};
    for (std::size_t i = 0; i < words; ++i) {
        if (!whole_number(text.substr(i * kWordDigits, kWordDigits), 16, address[i])) {
            return {};
        }
    }
    std::uint16_t port = 0;
    if (!whole_number(text.substr(words * kWordDigits + 1), 16, port)) {
        return {};
    }
    return tcp_address_text(address.data(), port, is_v6);
}

std::optional<TcpSocket> parse_tcp_line(std::string_view line, bool is_v6) {
    // sl local remote st tx:rx tr:when retrnsmt uid timeout inode
    constexpr std::size_t kFields = 10;
    const auto fields = split(line, kFields);
    if (fields.size() < kFields) {
        return std::nullopt;
    }
    TcpSocket socket;
    socket.local = parse_tcp_address(fields[1], is_v6);
    socket.peer = parse_tcp_address(fields[2], is_v6);
    if (socket.local.empty() || socket.peer.empty() || !whole_number(fields[3], 16, socket.state) ||
        !whole_number(fields[7], 10, socket.uid) || !whole_number(fields[9], 10, socket.inode)) {
        return std::nullopt;
    }
    return socket;
}

std::string_view tcp_state_word(std::uint8_t state) noexcept {
    constexpr std::array<std::string_view, 13> kWords{"UNKNOWN",
                                                      "ACTIVE",
                                                      "SYNSENT",
                                                      "SYNRECV",
                                                      "FINWAIT1",
                                                      "FINWAIT2",
                                                      "TIMEWAIT",
                                                      "CLOSED",
                                                      "CLOSEWAIT",
                                                      "LASTACK",
                                                      "LISTEN",
                                                      "CLOSING",
                                                      "SYNRECV"};
    return state < kWords.size() ? kWords[state] : kWords[0];
}

TcpTable read_tcp_table(pid_t pid) {
    TcpTable table;
    for (const bool is_v6 : {false, true}) {
        const auto text = read_proc(pid, is_v6 ? "net/tcp6" : "net/tcp", kTableBytesMax);
        for_each_line(text.value_or(""), [&](std::string_view line) {
            auto socket = parse_tcp_line(line, is_v6);
            if (socket && socket->inode != 0) {
                table.emplace(socket->inode, *std::move(socket));
            }
        });
    }
    return table;
}

std::optional<std::uint64_t> parse_beacon_line(std::string_view line) noexcept {
    constexpr std::string_view kMark = "@smcd/";
    const auto at = line.rfind(' ');
    std::string_view name = at == std::string_view::npos ? line : line.substr(at + 1);
    if (!name.starts_with(kMark) || name.size() < kMark.size() + 3) {
        return std::nullopt;
    }
    name.remove_prefix(kMark.size());
    std::uint64_t inode = 0;
    const bool is_beacon = (name[0] == 'l' || name[0] == 'g') && name[1] == '/';
    return is_beacon && whole_number(name.substr(2), 10, inode) ? std::optional(inode)
                                                                : std::nullopt;
}

std::unordered_set<std::uint64_t> read_beacons(pid_t pid) {
    // The kernel hands its table out in pieces, and passes over a socket when others come and go in between.
    constexpr int kReads = 3;
    std::unordered_set<std::uint64_t> inodes;
    for (int read = 0; read < kReads; ++read) {
        const std::size_t before = inodes.size();
        const auto text = read_proc(pid, "net/unix", kTableBytesMax);
        for_each_line(text.value_or(""), [&](std::string_view line) {
            if (const auto inode = parse_beacon_line(line)) {
                inodes.insert(*inode);
            }
        });
        if (read > 0 && inodes.size() == before) {
            break;
        }
    }
    return inodes;
}

} // namespace smcd::tools
