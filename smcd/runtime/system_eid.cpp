#include "smcd/runtime/system_eid.hpp"

#include <array>
#include <cstdint>
#include <cstdio>

#include "smcd/base/raw_syscall.hpp"
#include "smcd/base/unique_fd.hpp"

namespace smcd {
namespace {

std::string make_system_eid() {
    std::array<char, 36> boot_id{};
    const UniqueFd fd(raw::open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC));
    if (!fd.valid() || raw::read(fd.get(), boot_id.data(), boot_id.size()) !=
                           static_cast<ssize_t>(boot_id.size())) {
        return {};
    }
    std::uint64_t hash = 0xcbf29ce484222325U; // FNV-1a
    for (const char letter : boot_id) {
        hash = (hash ^ static_cast<unsigned char>(letter)) * 0x100000001b3U;
    }
    std::array<char, 33> text{};
    std::snprintf(
        text.data(), text.size(), "SMCD-SEID-%016llX", static_cast<unsigned long long>(hash));
    return text.data();
}

} // namespace

const std::string& system_eid() {
    static const std::string eid = make_system_eid();
    return eid;
}

} // namespace smcd
