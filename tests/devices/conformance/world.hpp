// World: three parties on one fabric, in one process, as the conformance suite needs them. Floor 4.
// A new device joins the suite by deriving from World and adding a row to worlds() in world.cpp.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "devices/api/device.hpp"
#include "devices/api/doorbell.hpp"

namespace smcd::dev::test {

/// Budgets of every party.
struct WorldLimits {
    std::uint32_t max_dmbs = 1024;
    std::uint64_t max_bytes = 1ULL << 30;
};

class World {
public:
    /// The parties: A and B talk to one another, the stranger is the one who may not.
    enum Party : std::size_t { a = 0, b = 1, stranger = 2 };

    World() = default;
    World(const World&) = delete;
    World& operator=(const World&) = delete;
    virtual ~World() = default;

    [[nodiscard]] virtual Device& device(Party party) = 0;
    [[nodiscard]] virtual LinkGroupId group(Party party) = 0;
    [[nodiscard]] virtual DoorbellTable& doorbells(Party party) = 0;
    /// Makes a doorbell of `party` known to the owner of an attached DMB.
    [[nodiscard]] virtual Result<void>
    export_doorbell(Party party, const RemoteDmb& dmb, unsigned door) = 0;
    /// What progress threads would do.
    virtual void pump() = 0;

    /// Returns when every signal raised so far has reached the doorbells of `party` (devices that
    /// ring through a thread).
    virtual void settle(Party /*party*/) {}

    /// A DMB of `owner` that only `writer` may write.
    [[nodiscard]] Result<Dmb> register_for(Party owner, Party writer, SizeClass size_class) {
        return device(owner).register_dmb({device(writer).gid(), group(writer), size_class});
    }
};

struct WorldCase {
    std::string name;
    std::unique_ptr<World> (*make)(const WorldLimits& limits);
};

/// All devices under test; "fault_*" is the same device behind a decorator without faults.
[[nodiscard]] const std::vector<WorldCase>& worlds();

} // namespace smcd::dev::test
