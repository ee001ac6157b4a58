// FaultDevice: each fault happens when it was asked for, and nothing else changes. Floor 4.
#include <array>
#include <cerrno>
#include <vector>

#include <gtest/gtest.h>

#include "devices/fault/fault.hpp"

namespace smcd::dev::test {
namespace {

/// A device that records what reaches it.
class Recorder final : public Device {
public:
    Gid gid() const override { return {1, 2}; }

    Chid fabric_id() const override { return Chid(3); }

    Result<void> query_remote_gid(Gid) const override { return {}; }

    std::uint32_t max_dmbs() const override { return 4; }

    Result<Dmb> register_dmb(const DmbRequest&) override {
        ++registered;
        return Dmb{DmbToken(registered), SbaIndex(0), SizeClass(0), {}};
    }

    Result<void> unregister_dmb(DmbToken) override { return {}; }

    Result<void> move_data(DmbToken, bool, std::uint32_t, std::span<const std::byte>) override {
        return {};
    }

    bool supports_attach() const override { return true; }

    Result<RemoteDmb> attach_dmb(LinkGroupId, DmbToken token) override {
        return RemoteDmb{token, SbaIndex(0), SizeClass(0), {}};
    }

    Result<void> detach_dmb(DmbToken) override {
        signals_at_detach = signals.size();
        return {};
    }

    void signal(const RemoteDmb&, std::uint64_t doors) noexcept override {
        signals.push_back(doors);
    }

    void wake(const RemoteDmb&, std::atomic<std::uint32_t>&) noexcept override { ++wakes; }

    std::size_t harvest(unsigned, const std::function<void(SbaIndex)>&) override { return 1; }

    bool has_signal(unsigned) const noexcept override { return true; }

    std::uint64_t registered = 0;
    std::vector<std::uint64_t> signals;
    std::size_t signals_at_detach = 0;
    int wakes = 0;
};

class FaultDeviceTest : public ::testing::Test {
protected:
    /// Error of one register_dmb; 0: none.
    int try_register() { return device.register_dmb({}).error().value(); }

    std::vector<int> register_times(int count) {
        std::vector<int> errors;
        for (int i = 0; i < count; ++i) {
            errors.push_back(try_register());
        }
        return errors;
    }

    void signal(std::uint64_t doors, DmbToken token = DmbToken(1)) {
        device.signal(RemoteDmb{token, SbaIndex(0), SizeClass(0), {}}, doors);
    }

    static constexpr std::uint64_t kSeed = 7;
    Recorder inner;
    FaultDevice device{inner, kSeed};
    std::atomic<std::uint32_t> word{1};
};

TEST_F(FaultDeviceTest, WithoutFaultsEverythingPasses) {
    EXPECT_EQ(device.gid(), inner.gid());
    EXPECT_EQ(device.fabric_id(), inner.fabric_id());
    EXPECT_EQ(device.max_dmbs(), 4U);
    EXPECT_TRUE(device.supports_attach());
    EXPECT_TRUE(device.query_remote_gid({}));
    EXPECT_EQ(try_register(), 0);
    EXPECT_TRUE(device.unregister_dmb(DmbToken(1)));
    EXPECT_TRUE(device.move_data(DmbToken(1), true, 0, {}));
    EXPECT_TRUE(device.attach_dmb(LinkGroupId(1), DmbToken(1)));
    EXPECT_TRUE(device.detach_dmb(DmbToken(1)));
    signal(5);
    device.wake({}, word);
    EXPECT_EQ(device.harvest(0, [](SbaIndex) {}), 1U);
    EXPECT_TRUE(device.has_signal(0));
    EXPECT_EQ(inner.signals, std::vector<std::uint64_t>{5});
    EXPECT_EQ(inner.wakes, 1);
    EXPECT_EQ(device.faults(), 0U);
    EXPECT_EQ(device.calls(Operation::register_dmb), 1U);
}

TEST_F(FaultDeviceTest, TheNthCallFailsOnce) {
    device.fail(Operation::register_dmb, 3, ENOSPC, FaultDevice::Duration::once);

    EXPECT_EQ(register_times(5), (std::vector{0, 0, ENOSPC, 0, 0}));
    EXPECT_EQ(inner.registered, 4U);
    EXPECT_EQ(device.faults(), 1U);
}

TEST_F(FaultDeviceTest, APersistentFaultLastsUntilItIsCleared) {
    device.fail(Operation::register_dmb, 2, ENOMEM, FaultDevice::Duration::persistent);

    EXPECT_EQ(register_times(4), (std::vector{0, ENOMEM, ENOMEM, ENOMEM}));
    device.clear();
    EXPECT_EQ(try_register(), 0);
}

TEST_F(FaultDeviceTest, EveryOperationCanFail) {
    for (unsigned operation = 0; operation < kOperationCount; ++operation) {
        device.fail(static_cast<Operation>(operation), 1, EIO, FaultDevice::Duration::once);
    }

    EXPECT_EQ(device.query_remote_gid({}).error().value(), EIO);
    EXPECT_EQ(try_register(), EIO);
    EXPECT_EQ(device.unregister_dmb(DmbToken(1)).error().value(), EIO);
    EXPECT_EQ(device.move_data(DmbToken(1), false, 0, {}).error().value(), EIO);
    EXPECT_EQ(device.attach_dmb(LinkGroupId(1), DmbToken(1)).error().value(), EIO);
    EXPECT_EQ(device.detach_dmb(DmbToken(1)).error().value(), EIO);
    signal(1);
    device.wake({}, word);
    EXPECT_EQ(device.harvest(0, [](SbaIndex) {}), 0U);
    EXPECT_TRUE(inner.signals.empty());
    EXPECT_EQ(inner.wakes, 0);
    EXPECT_EQ(device.faults(), kOperationCount);
}

TEST_F(FaultDeviceTest, RandomFaultsFollowFromTheSeed) {
    FaultDevice twin(inner, kSeed);
    FaultDevice other(inner, kSeed + 1);
    for (FaultDevice* each : {&device, &twin, &other}) {
        each->fail_randomly(Operation::register_dmb, 300, EAGAIN);
    }
    int failed = 0;
    int differences = 0;
    for (int i = 0; i < 1000; ++i) {
        const int error = try_register();
        EXPECT_EQ(twin.register_dmb({}).error().value(), error);
        differences += other.register_dmb({}).error().value() != error ? 1 : 0;
        failed += error != 0 ? 1 : 0;
    }

    EXPECT_GT(failed, 200);
    EXPECT_LT(failed, 400);
    EXPECT_GT(differences, 0);
}

TEST_F(FaultDeviceTest, DelayedSignalsComeOutAfterThatManyCalls) {
    device.delay_signals(3);
    signal(1);
    EXPECT_EQ(try_register(), 0);
    EXPECT_EQ(try_register(), 0);
    EXPECT_TRUE(inner.signals.empty());

    EXPECT_EQ(try_register(), 0);

    EXPECT_EQ(inner.signals, std::vector<std::uint64_t>{1});
}

TEST_F(FaultDeviceTest, DelayedSignalsGoOutWhenTheDelayEndsOrTheDmbGoes) {
    device.delay_signals(100);
    signal(1, DmbToken(1));
    signal(2, DmbToken(2));

    EXPECT_TRUE(device.detach_dmb(DmbToken(1)));
    EXPECT_EQ(inner.signals, std::vector<std::uint64_t>{1});
    EXPECT_EQ(inner.signals_at_detach, 1U); // while it was still attached

    device.delay_signals(0);
    EXPECT_EQ(inner.signals, (std::vector<std::uint64_t>{1, 2}));
}

TEST_F(FaultDeviceTest, AStoppedPeerAnswersNothing) {
    device.stop_peer();

    EXPECT_EQ(try_register(), ENODEV);
    EXPECT_EQ(device.query_remote_gid({}).error().value(), ENODEV);
    signal(1);
    device.wake({}, word);
    EXPECT_FALSE(device.has_signal(0));
    EXPECT_EQ(device.harvest(0, [](SbaIndex) {}), 0U);
    EXPECT_TRUE(inner.signals.empty());
    EXPECT_EQ(inner.wakes, 0);

    device.clear();
    EXPECT_EQ(try_register(), 0);
}

} // namespace
} // namespace smcd::dev::test
