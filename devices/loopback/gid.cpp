// Deriving the GID. Floor 2, docs/protocol.md "devices".
#include "devices/loopback/gid.hpp"

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "smcd/base/kernel_identity.hpp"
#include "smcd/base/random.hpp"

namespace smcd::dev {
namespace {

/// FNV-1a over the bytes, then a finalizer that spreads every bit. Accidents only: nothing is
/// authorised by a GID.
std::uint64_t digest(const KernelIdentity& scope, std::uint64_t seed) noexcept {
    std::uint64_t hash = 0xcbf29ce484222325U ^ seed;
    const auto absorb = [&hash](std::span<const std::byte> bytes) {
        for (const std::byte byte : bytes) {
            hash = (hash ^ static_cast<std::uint64_t>(byte)) * 0x100000001b3U;
        }
    };
    absorb(std::as_bytes(std::span(scope.boot_id)));
    absorb(std::as_bytes(std::span(&scope.net_device, 1)));
    absorb(std::as_bytes(std::span(&scope.net_inode, 1)));
    hash = (hash ^ (hash >> 30U)) * 0xbf58476d1ce4e5b9U;
    hash = (hash ^ (hash >> 27U)) * 0x94d049bb133111ebU;
    return hash ^ (hash >> 31U);
}

} // namespace

Gid make_loopback_gid(const std::string& folder) noexcept {
    KernelIdentity scope = kernel_identity();
    if (!folder.empty()) {
        struct stat info {};

        scope.known = scope.known && ::stat(folder.c_str(), &info) == 0;
        scope.net_device = info.st_dev;
        scope.net_inode = info.st_ino;
    }
    Gid gid{scope.known ? digest(scope, 0) : random_u64(),
            scope.known ? digest(scope, ~0ULL) : random_u64()};
    gid.high = (gid.high & ~0xF000ULL) | 0x4000ULL;     // UUID version 4
    gid.low = (gid.low & ~(3ULL << 62U)) | 1ULL << 63U; // UUID variant 1
    return gid;
}

} // namespace smcd::dev
