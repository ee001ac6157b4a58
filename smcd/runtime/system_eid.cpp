#include "smcd/runtime/system_eid.hpp"

#include <array>
#include <cstdint>
#include <cstdio>

#include "smcd/base/kernel_identity.hpp"

namespace smcd {
namespace {

/// "SMCD-SEID-" and 16 digits, with a final zero; empty if unknown.
using Text = std::array<char, 27>;

Text make_system_eid() {
    Text text{};
    const KernelIdentity identity = kernel_identity();
    if (identity.known) {
        std::snprintf(text.data(), text.size(), "SMCD-SEID-%016llX",
                      static_cast<unsigned long long>(boot_hash(identity)));
    }
    return text;
}

} // namespace

std::string_view system_eid() {
    static const Text eid = make_system_eid();
    return eid.data();
}

} // namespace smcd
