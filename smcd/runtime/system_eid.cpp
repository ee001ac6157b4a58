#include "smcd/runtime/system_eid.hpp"

#include <array>
#include <cstdint>
#include <cstdio>

#include "smcd/base/kernel_identity.hpp"

namespace smcd {
namespace {

std::string make_system_eid() {
    const KernelIdentity identity = kernel_identity();
    if (!identity.known) {
        return {};
    }
    std::array<char, 33> text{};
    std::snprintf(
        text.data(), text.size(), "SMCD-SEID-%016llX", static_cast<unsigned long long>(boot_hash(identity)));
    return text.data();
}

} // namespace

const std::string& system_eid() {
    static const std::string eid = make_system_eid();
    return eid;
}

} // namespace smcd
