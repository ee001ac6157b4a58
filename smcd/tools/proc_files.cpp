#include "smcd/tools/proc_files.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <memory>

#include "smcd/base/unique_fd.hpp"
#include "smcd/tools/text.hpp"

namespace smcd::tools {
namespace {

struct CloseDirectory {
    void operator()(DIR* directory) const noexcept { ::closedir(directory); }
};

using Directory = std::unique_ptr<DIR, CloseDirectory>;

/// Takes a number up to `separator` (or to the end, for '\0') from the front of the text.
bool take_number(std::string_view& text, char separator, int base, std::uint64_t& value) noexcept {
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value, base);
    if (error != std::errc() || (stop == end ? separator != '\0' : *stop != separator)) {
        return false;
    }
    text.remove_prefix(static_cast<std::size_t>(stop - text.data()) + (stop == end ? 0 : 1));
    return true;
}

/// Number that a directory entry's name consists of.
bool entry_number(const dirent& entry, std::uint64_t& value) noexcept {
    std::string_view name = entry.d_name;
    return take_number(name, '\0', 10, value) && name.empty();
}

std::string proc_path(pid_t pid, std::string_view name) {
    return "/proc/" + std::to_string(pid) + '/' + std::string(name);
}

std::string read_link(int folder, const char* name) {
    std::array<char, 128> buffer{};
    const ssize_t n = ::readlinkat(folder, name, buffer.data(), buffer.size());
    return n < 0 ? std::string() : std::string(buffer.data(), static_cast<std::size_t>(n));
}

} // namespace

std::optional<MapsEntry> parse_maps_line(std::string_view line) noexcept {
    MapsEntry entry;
    std::uint64_t offset = 0;
    std::uint64_t major = 0;
    std::uint64_t minor = 0;
    if (!take_number(line, '-', 16, entry.begin) || !take_number(line, ' ', 16, entry.end)) {
        return std::nullopt;
    }
    constexpr std::size_t kPermissionChars = 5; // "rw-s "
    if (line.size() < kPermissionChars || line[kPermissionChars - 1] != ' ') {
        return std::nullopt;
    }
    line.remove_prefix(kPermissionChars);
    if (!take_number(line, ' ', 16, offset) || !take_number(line, ':', 16, major) ||
        !take_number(line, ' ', 16, minor)) {
        return std::nullopt;
    }
    if (!take_number(line, ' ', 10, entry.inode) && !take_number(line, '\0', 10, entry.inode)) {
        return std::nullopt;
    }
    entry.device = major << 32U | minor;
    const auto name = line.find_first_not_of(' ');
    entry.name = name == std::string_view::npos ? std::string_view() : line.substr(name);
    return entry.begin < entry.end ? std::optional(entry) : std::nullopt;
}

std::optional<std::uint64_t> parse_inode_link(std::string_view link,
                                              std::string_view kind) noexcept {
    std::uint64_t inode = 0;
    if (!link.starts_with(kind) || !link.substr(kind.size()).starts_with(":[")) {
        return std::nullopt;
    }
    link.remove_prefix(kind.size() + 2);
    return take_number(link, ']', 10, inode) && link.empty() ? std::optional(inode) : std::nullopt;
}

std::vector<pid_t> list_pids() {
    std::vector<pid_t> pids;
    const Directory directory(::opendir("/proc"));
    if (directory == nullptr) {
        return pids;
    }
    // NOLINTNEXTLINE(concurrency-mt-unsafe): one thread
    while (const dirent* entry = ::readdir(directory.get())) {
        std::uint64_t pid = 0;
        if (entry_number(*entry, pid)) {
            pids.push_back(static_cast<pid_t>(pid));
        }
    }
    std::sort(pids.begin(), pids.end());
    return pids;
}

std::optional<std::string> read_proc(pid_t pid, std::string_view name, std::size_t bytes_max) {
    const UniqueFd fd(::open(proc_path(pid, name).c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd.valid()) {
        return std::nullopt;
    }
    std::string text;
    constexpr std::size_t kStepBytes = 65536;
    while (text.size() < bytes_max) {
        const std::size_t old = text.size();
        text.resize(std::min(old + kStepBytes, bytes_max));
        const ssize_t n = ::read(fd.get(), text.data() + old, text.size() - old);
        text.resize(old + static_cast<std::size_t>(n > 0 ? n : 0));
        if (n < 0) {
            return std::nullopt;
        }
        if (n == 0) {
            break;
        }
    }
    return text;
}

std::string command_of(pid_t pid) {
    constexpr std::size_t kCommandBytes = 64;
    std::string name = read_proc(pid, "comm", kCommandBytes).value_or("");
    if (!name.empty() && name.back() == '\n') {
        name.pop_back();
    }
    return printable(name);
}

std::vector<OpenSocket> sockets_of(pid_t pid) {
    std::vector<OpenSocket> sockets;
    const Directory directory(::opendir(proc_path(pid, "fd").c_str()));
    if (directory == nullptr) {
        return sockets;
    }
    // NOLINTNEXTLINE(concurrency-mt-unsafe): one thread
    while (const dirent* entry = ::readdir(directory.get())) {
        std::uint64_t fd = 0;
        if (!entry_number(*entry, fd)) {
            continue;
        }
        const std::string link =
            read_link(::dirfd(directory.get()), static_cast<const char*>(entry->d_name));
        if (const auto inode = parse_inode_link(link, "socket")) {
            sockets.push_back({static_cast<int>(fd), *inode});
        }
    }
    return sockets;
}

std::uint64_t netns_of(pid_t pid) {
    const std::string link = read_link(AT_FDCWD, proc_path(pid, "ns/net").c_str());
    return parse_inode_link(link, "net").value_or(0);
}

} // namespace smcd::tools
