// VlanUse: a connection's part in a VLAN of its device, while it is offered or served by version 1.
// Floor 3, docs/protocol.md "Negotiation".
#pragma once

#include <atomic>
#include <cstdint>

#include "devices/api/device.hpp"

namespace smcd {

class VlanUse {
public:
    VlanUse() = default;
    VlanUse(const VlanUse&) = delete;
    VlanUse& operator=(const VlanUse&) = delete;

    ~VlanUse() { end(); }

    /// 0: no VLAN, nothing to do. Once, under the handshake's lock. Errors: as add_vlan_id().
    [[nodiscard]] Result<void> begin(dev::LinkedDevice& device, std::uint16_t id) {
        end();
        if (id != 0) {
            SMCD_TRY_VOID(device.add_vlan_id(id));
            id_ = id;
            device_.store(&device, std::memory_order_release);
        }
        return {};
    }

    /// Thread: any. Idempotent.
    void end() noexcept {
        dev::LinkedDevice* const device = device_.exchange(nullptr, std::memory_order_acq_rel);
        if (device != nullptr) {
            static_cast<void>(device->del_vlan_id(id_));
        }
    }

private:
    std::atomic<dev::LinkedDevice*> device_{nullptr};
    std::uint16_t id_ = 0;
};

} // namespace smcd
