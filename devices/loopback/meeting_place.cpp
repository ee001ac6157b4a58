// Rendezvous sockets: abstract ones, and files in a folder. Floor 2, docs/shared-memory.md "links".
#include <dirent.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include "devices/loopback/link_socket.hpp"
#include "smcd/base/high_fd.hpp"
#include "smcd/base/raw_syscall.hpp"

namespace smcd::dev {
namespace {

constexpr int kSocketType = SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC;
/// Connections that may wait until we accept; the kernel cuts it at net.core.somaxconn.
constexpr int kBacklog = 1024;
/// Files of the dead are looked for when a folder holds so many.
constexpr std::size_t kManyFiles = 32;

struct Name {
    sockaddr_un address{};
    socklen_t length = 0;

    [[nodiscard]] const sockaddr* get() const noexcept {
        return reinterpret_cast<const sockaddr*>(&address);
    }
};

Result<Name> file_name(const std::string& path) noexcept {
    Name name;
    name.address.sun_family = AF_UNIX;
    if (path.size() >= sizeof(name.address.sun_path)) {
        return Error(std::errc::filename_too_long);
    }
    std::memcpy(name.address.sun_path, path.c_str(), path.size() + 1);
    name.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
    return name;
}

/// "\0smcd/r/<8 hex digits>", "\0smcd/i/<4 hex digits>/<8 hex digits>": abstract, so it exists in
/// no file system and vanishes with its owner.
Name abstract_name(LinkGroupId id, std::uint16_t fabric) noexcept {
    Name name;
    name.address.sun_family = AF_UNIX;
    char* const text = &name.address.sun_path[1];
    constexpr std::size_t kRoom = sizeof(name.address.sun_path) - 1;
    const auto group = static_cast<unsigned>(id.value());
    const int written = fabric == 0 ? std::snprintf(text, kRoom, "smcd/r/%08x", group)
                                    : std::snprintf(text, kRoom, "smcd/i/%04x/%08x", fabric, group);
    name.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 +
                                         static_cast<std::size_t>(written));
    return name;
}

std::string path_of(LinkGroupId id, const MeetingPlace& place) {
    std::array<char, 16> digits{};
    std::snprintf(digits.data(), digits.size(), "/%04x-%08x", unsigned{place.fabric}, id.value());
    return place.folder + digits.data();
}

Result<UniqueFd> open_socket() noexcept {
    UniqueFd fd(raw::socket(AF_UNIX, kSocketType, 0));
    if (!fd.valid()) {
        return errno_error();
    }
    return lift_fd(std::move(fd));
}

Result<UniqueFd> listen_on(const Name& name) noexcept {
    SMCD_TRY(UniqueFd fd, open_socket());
    if (raw::bind(fd.get(), name.get(), name.length) != 0 || raw::listen(fd.get(), kBacklog) != 0) {
        return errno_error();
    }
    return fd;
}

Result<UniqueFd> connect_by(const Name& name) noexcept {
    SMCD_TRY(UniqueFd fd, open_socket());
    if (raw::connect(fd.get(), name.get(), name.length) != 0) {
        return errno_error(errno == ENOENT ? ECONNREFUSED : errno);
    }
    return fd;
}

/// Removes sockets of processes that have ended. One that is being made is not there yet: it gets
/// its name when it listens.
void sweep(const std::string& folder) {
    const std::unique_ptr<DIR, int (*)(DIR*)> list(::opendir(folder.c_str()), ::closedir);
    std::vector<std::string> files;
    while (list != nullptr) {
        const dirent* entry = ::readdir(list.get());
        if (entry == nullptr) {
            break;
        }
        if (entry->d_type == DT_SOCK) {
            files.push_back(folder + '/' + entry->d_name);
        }
    }
    for (std::size_t i = 0; files.size() > kManyFiles && i < files.size(); ++i) {
        const auto name = file_name(files[i]);
        if (name && connect_by(*name).error() == std::errc::connection_refused) {
            raw::detail::call(SYS_unlink, files[i].c_str());
        }
    }
}

} // namespace

Result<UniqueFd> listen_at(LinkGroupId id, const MeetingPlace& place) {
    if (place.folder.empty()) {
        return listen_on(abstract_name(id, place.fabric));
    }
    sweep(place.folder);
    const std::string path = path_of(id, place);
    const std::string making = path + '.' + std::to_string(raw::getpid());
    SMCD_TRY(const Name name, file_name(making));
    SMCD_TRY(UniqueFd fd, listen_on(name));
    constexpr unsigned kNoReplace = 1; // RENAME_NOREPLACE
    const long renamed = raw::detail::call(
        SYS_renameat2, AT_FDCWD, making.c_str(), AT_FDCWD, path.c_str(), kNoReplace);
    if (renamed != 0) {
        const int error = errno == EEXIST ? EADDRINUSE : errno;
        raw::detail::call(SYS_unlink, making.c_str());
        return errno_error(error);
    }
    return fd;
}

void leave(LinkGroupId id, const MeetingPlace& place) {
    if (!place.folder.empty()) {
        raw::detail::call(SYS_unlink, path_of(id, place).c_str());
    }
}

Result<UniqueFd> connect_to(LinkGroupId id, const MeetingPlace& place) {
    if (place.folder.empty()) {
        return connect_by(abstract_name(id, place.fabric));
    }
    SMCD_TRY(const Name name, file_name(path_of(id, place)));
    return connect_by(name);
}

} // namespace smcd::dev
