// VlanTable: which VLAN ids a device takes part in, each with a count of its users. Floor 2.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>

#include "smcd/base/result.hpp"

namespace smcd::dev {

/// Not a VLAN: a device that takes it speaks SMC-D version 2.
inline constexpr std::uint16_t kIsmReservedVlan = 0x1FFF;
inline constexpr std::uint16_t kVlanMax = 4094;

class VlanTable {
public:
    /// EINVAL: neither 1 to 4094 nor kIsmReservedVlan. Thread: any.
    Result<void> add(std::uint16_t id) {
        if (id != kIsmReservedVlan && (id == 0 || id > kVlanMax)) {
            return Error(std::errc::invalid_argument);
        }
        const std::lock_guard guard(mutex_);
        ++users_[id];
        return {};
    }

    /// Ends one use. ENOENT: there is none.
    Result<void> remove(std::uint16_t id) {
        const std::lock_guard guard(mutex_);
        const auto found = users_.find(id);
        if (found == users_.end()) {
            return Error(std::errc::no_such_file_or_directory);
        }
        if (--found->second == 0) {
            users_.erase(found);
        }
        return {};
    }

    [[nodiscard]] bool contains(std::uint16_t id) const {
        const std::lock_guard guard(mutex_);
        return users_.contains(id);
    }

private:
    mutable std::mutex mutex_;
    std::map<std::uint16_t, std::uint32_t> users_;
};

} // namespace smcd::dev
