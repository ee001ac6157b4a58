// The worlds of the conformance suite: one row per device. Floor 4.
#include "tests/devices/conformance/world.hpp"

#include <array>
#include <string>

#include "devices/fault/fault.hpp"
#include "devices/ism/ism.hpp"
#include "devices/ivshmem/ivshmem.hpp"
#include "devices/loopback/loopback.hpp"
#include "smcd/base/check.hpp"
#include "smcd/base/memfd.hpp"

namespace smcd::dev::test {
namespace {

/// Three loopback devices in one process; they cannot tell that they are not three processes.
class LoopbackWorld final : public World {
public:
    explicit LoopbackWorld(const WorldLimits& limits) {
        for (Member& member : members_) {
            member.doorbells = *DoorbellTable::create();
            LoopbackOptions options;
            options.max_dmbs = limits.max_dmbs;
            options.max_bytes = limits.max_bytes;
            member.device = std::make_unique<LoopbackDevice>(*member.doorbells, options);
        }
    }

    Device& device(Party party) override { return *members_[party].device; }

    LinkGroupId group(Party party) override { return *members_[party].device->link_group_id(); }

    DoorbellTable& doorbells(Party party) override { return *members_[party].doorbells; }

    Result<void> export_doorbell(Party party, const RemoteDmb& dmb, unsigned door) override {
        return members_[party].device->export_doorbell(dmb, door);
    }

    void pump() override {
        for (Member& member : members_) {
            member.device->service();
        }
    }

private:
    struct Member {
        std::unique_ptr<DoorbellTable> doorbells;
        std::unique_ptr<LoopbackDevice> device;
    };

    std::array<Member, 3> members_;
};

/// Three peers of one region, a memory file.
class IvshmemWorld final : public World {
public:
    explicit IvshmemWorld(const WorldLimits& limits) : file_(*create_memfd("region", kBytes)) {
        for (Member& member : members_) {
            member.doorbells = *DoorbellTable::create();
            IvshmemOptions options;
            options.path = "/proc/self/fd/" + std::to_string(file_.get());
            options.max_dmbs = limits.max_dmbs;
            options.max_bytes = limits.max_bytes;
            auto opened = IvshmemDevice::open(*member.doorbells, options);
            SMCD_CHECK(opened.has_value());
            member.device = *std::move(opened);
        }
    }

    Device& device(Party party) override { return *members_[party].device; }

    LinkGroupId group(Party party) override { return *members_[party].device->link_group_id(); }

    DoorbellTable& doorbells(Party party) override { return *members_[party].doorbells; }

    Result<void> export_doorbell(Party party, const RemoteDmb& dmb, unsigned door) override {
        return members_[party].device->export_doorbell(dmb, door);
    }

    void pump() override {}

    void settle(Party party) override { members_[party].device->forward_signals(); }

private:
    static constexpr std::size_t kBytes = std::size_t{256} << 20U;

    struct Member {
        std::unique_ptr<DoorbellTable> doorbells;
        std::unique_ptr<IvshmemDevice> device;
    };

    UniqueFd file_;
    std::array<Member, 3> members_;
};

/// Any world with every device behind a FaultDevice that has no faults.
class DecoratedWorld final : public World {
public:
    explicit DecoratedWorld(std::unique_ptr<World> inner) : inner_(std::move(inner)) {
        constexpr std::uint64_t kSeed = 1;
        for (const Party party : {a, b, stranger}) {
            devices_[party] = std::make_unique<FaultDevice>(inner_->device(party), kSeed);
        }
    }

    Device& device(Party party) override { return *devices_[party]; }

    LinkGroupId group(Party party) override { return inner_->group(party); }

    DoorbellTable& doorbells(Party party) override { return inner_->doorbells(party); }

    Result<void> export_doorbell(Party party, const RemoteDmb& dmb, unsigned door) override {
        return inner_->export_doorbell(party, dmb, door);
    }

    void pump() override { inner_->pump(); }

    void settle(Party party) override { inner_->settle(party); }

private:
    std::unique_ptr<World> inner_;
    std::array<std::unique_ptr<FaultDevice>, 3> devices_;
};

/// Three ISM devices on one fabric.
class IsmWorld final : public World {
public:
    explicit IsmWorld(const WorldLimits& limits) {
        for (Member& member : members_) {
            member.doorbells = *DoorbellTable::create();
            IsmOptions options;
            options.max_dmbs = limits.max_dmbs;
            options.max_bytes = limits.max_bytes;
            member.device = *IsmDevice::create(*member.doorbells, options);
        }
    }

    Device& device(Party party) override { return *members_[party].device; }

    LinkGroupId group(Party party) override { return *members_[party].device->link_group_id(); }

    DoorbellTable& doorbells(Party party) override { return *members_[party].doorbells; }

    Result<void> export_doorbell(Party party, const RemoteDmb& dmb, unsigned door) override {
        return members_[party].device->export_doorbell(dmb, door);
    }

    void pump() override {
        for (Member& member : members_) {
            member.device->service();
        }
    }

private:
    struct Member {
        std::unique_ptr<DoorbellTable> doorbells;
        std::unique_ptr<IsmDevice> device;
    };

    std::array<Member, 3> members_;
};

std::unique_ptr<World> make_ism(const WorldLimits& limits) {
    return std::make_unique<IsmWorld>(limits);
}

std::unique_ptr<World> make_fault_ism(const WorldLimits& limits) {
    return std::make_unique<DecoratedWorld>(make_ism(limits));
}

std::unique_ptr<World> make_loopback(const WorldLimits& limits) {
    return std::make_unique<LoopbackWorld>(limits);
}

std::unique_ptr<World> make_fault_loopback(const WorldLimits& limits) {
    return std::make_unique<DecoratedWorld>(make_loopback(limits));
}

std::unique_ptr<World> make_ivshmem(const WorldLimits& limits) {
    return std::make_unique<IvshmemWorld>(limits);
}

std::unique_ptr<World> make_fault_ivshmem(const WorldLimits& limits) {
    return std::make_unique<DecoratedWorld>(make_ivshmem(limits));
}

} // namespace

const std::vector<WorldCase>& worlds() {
    static const std::vector<WorldCase> all{
        {"loopback",       make_loopback      },
        {"fault_loopback", make_fault_loopback},
        {"ism",            make_ism           },
        {"fault_ism",      make_fault_ism     },
        {"ivshmem",        make_ivshmem       },
        {"fault_ivshmem",  make_fault_ivshmem },
    };
    return all;
}

} // namespace smcd::dev::test
