// Deriving the GID. Floor 2, docs/protocol.md "devices".
#include "devices/loopback/gid.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "smcd/base/random.hpp"
#include "smcd/base/raw_syscall.hpp"
#include "smcd/base/unique_fd.hpp"

namespace smcd::dev {
namespace {

constexpr std::size_t kBootIdBytes = 36;

struct Scope {
    std::array<char, kBootIdBytes> boot_id{};
    std::uint64_t ns_device = 0;
    std::uint64_t ns_inode = 0;
};

bool read_scope(Scope& scope) noexcept {
    const UniqueFd fd(raw::open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC));
    if (!fd.valid() || raw::read(fd.get(), scope.boot_id.data(), scope.boot_id.size()) !=
                           static_cast<ssize_t>(scope.boot_id.size())) {
        return false;
    }

    struct stat info {};

    if (::stat("/proc/self/ns/net", &info) != 0) {
        return false;
    }
    scope.ns_device = info.st_dev;
    scope.ns_inode = info.st_ino;
    return true;
}

/// FNV-1a over the bytes, then a finalizer that spreads every bit. Accidents only: nothing is
/// authorised by a GID.
std::uint64_t digest(const Scope& scope, std::uint64_t seed) noexcept {
    std::uint64_t hash = 0xcbf29ce484222325U ^ seed;
    const auto absorb = [&hash](std::span<const std::byte> bytes) {
        for (const std::byte byte : bytes) {
            hash = (hash ^ static_cast<std::uint64_t>(byte)) * 0x100000001b3U;
        }
    };
    absorb(std::as_bytes(std::span(scope.boot_id)));
    absorb(std::as_bytes(std::span(&scope.ns_device, 1)));
    absorb(std::as_bytes(std::span(&scope.ns_inode, 1)));
    hash = (hash ^ (hash >> 30U)) * 0xbf58476d1ce4e5b9U;
    hash = (hash ^ (hash >> 27U)) * 0x94d049bb133111ebU;
    return hash ^ (hash >> 31U);
}

} // namespace

Gid make_loopback_gid() noexcept {
    Scope scope;
    const bool known = read_scope(scope);
    Gid gid{known ? digest(scope, 0) : random_u64(), known ? digest(scope, ~0ULL) : random_u64()};
    gid.high = (gid.high & ~0xF000ULL) | 0x4000ULL;     // UUID version 4
    gid.low = (gid.low & ~(3ULL << 62U)) | 1ULL << 63U; // UUID variant 1
    return gid;
}

} // namespace smcd::dev
