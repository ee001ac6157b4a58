#include "smcd/base/kernel_identity.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include "smcd/base/raw_syscall.hpp"
#include "smcd/base/unique_fd.hpp"

namespace smcd {
namespace {

KernelIdentity read_identity() noexcept {
    KernelIdentity identity;
    const UniqueFd fd(raw::open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC));
    const auto wanted = static_cast<ssize_t>(identity.boot_id.size());
    struct stat net {};
    struct stat pid {};
    if (!fd.valid() || raw::read(fd.get(), identity.boot_id.data(), identity.boot_id.size()) != wanted ||
        ::stat("/proc/self/ns/net", &net) != 0 || ::stat("/proc/self/ns/pid", &pid) != 0) {
        return {};
    }
    identity.net_device = net.st_dev;
    identity.net_inode = net.st_ino;
    identity.pid_inode = static_cast<std::uint32_t>(pid.st_ino);
    identity.known = true;
    return identity;
}

}  // namespace

KernelIdentity kernel_identity() noexcept {
    static const KernelIdentity first = read_identity();
    const KernelIdentity now = read_identity();
    return now.known ? now : first;
}

std::uint64_t boot_hash(const KernelIdentity& identity) noexcept {
    std::uint64_t hash = 0xcbf29ce484222325U;
    for (const char letter : identity.boot_id) {
        hash = (hash ^ static_cast<unsigned char>(letter)) * 0x100000001b3U;
    }
    return hash;
}

}  // namespace smcd
