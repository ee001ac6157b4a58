// FaultDevice: a decorator that makes any device fail on demand, for tests. Floor 2,
// docs/testing.md "faults". Without a fault set it behaves exactly as the device inside. What is
// random comes from one seed.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "devices/api/device.hpp"

namespace smcd::dev {

enum class Operation : unsigned {
    query_remote_gid,
    register_dmb,
    unregister_dmb,
    move_data,
    attach_dmb,
    detach_dmb,
    signal,
    wake,
    harvest,
};

inline constexpr std::size_t kOperationCount = 9;

class FaultDevice final : public Device {
public:
    /// How long a fault lasts.
    enum class Duration {
        once,       ///< the nth call alone
        persistent, ///< the nth call and every later one
    };

    /// `inner` must outlive the decorator.
    FaultDevice(Device& inner, std::uint64_t seed);
    ~FaultDevice() override;

    // Faults. Thread: any; they concern calls that begin afterwards. The number of a call counts
    // from the setting of the fault.

    /// The nth call (from 1) of that operation fails with errno value `error` and does not reach
    /// the device. signal, wake and harvest cannot report: a failed signal or wake is lost, a
    /// failed harvest finds nothing and leaves the bits.
    void fail(Operation operation, std::uint64_t nth, int error, Duration duration);
    /// Every call of that operation fails with a probability of `per_mille` in 1000.
    void fail_randomly(Operation operation, unsigned per_mille, int error);
    /// Each signal is held back until `calls` further operations have begun, or its DMB is
    /// detached. 0: no delay, what is held goes out at once.
    void delay_signals(unsigned calls);
    /// The peer has stopped: everything fails with ENODEV, nothing is signalled, nothing harvested.
    void stop_peer();
    /// Ends all faults; delayed signals go out.
    void clear();

    /// Calls of that operation so far, failed ones included.
    [[nodiscard]] std::uint64_t calls(Operation operation) const noexcept;
    /// Calls that were made to fail, lost signals included.
    [[nodiscard]] std::uint64_t faults() const noexcept;

    [[nodiscard]] Gid gid() const override { return inner_.gid(); }

    [[nodiscard]] Chid fabric_id() const override { return inner_.fabric_id(); }

    [[nodiscard]] Result<void> query_remote_gid(Gid remote_gid) const override;

    [[nodiscard]] std::uint32_t max_dmbs() const override { return inner_.max_dmbs(); }

    [[nodiscard]] Result<Dmb> register_dmb(const DmbRequest& request) override;
    Result<void> unregister_dmb(DmbToken token) override;
    Result<void> move_data(DmbToken token,
                           bool signal,
                           std::uint32_t offset,
                           std::span<const std::byte> data) override;

    [[nodiscard]] bool supports_attach() const override { return inner_.supports_attach(); }

    [[nodiscard]] Result<RemoteDmb> attach_dmb(LinkGroupId owner, DmbToken token) override;
    Result<void> detach_dmb(DmbToken token) override;
    void signal(const RemoteDmb& dmb, std::uint64_t doors) noexcept override;
    void wake(const RemoteDmb& dmb, std::atomic<std::uint32_t>& word) noexcept override;
    std::size_t harvest(unsigned door, const std::function<void(SbaIndex)>& on_signal) override;
    [[nodiscard]] bool has_signal(unsigned door) const noexcept override;

private:
    struct Plan {
        std::uint64_t countdown = 0; ///< calls until the fault; 0: none planned
        Duration duration = Duration::once;
        bool lasting = false; ///< a persistent fault has begun
        unsigned per_mille = 0;
        int error = 0;
    };

    struct HeldSignal {
        RemoteDmb dmb;
        std::uint64_t doors = 0;
        unsigned calls_left = 0;
    };

    /// Counts the call, lets delayed signals out, and says with which errno it fails; 0: it does
    /// not.
    int begin(Operation operation) const;
    int decide(Plan& plan) const;
    std::uint64_t next_random() const noexcept;
    void let_out(std::vector<HeldSignal>& due) const noexcept;
    void release_held(DmbToken token);

    Device& inner_;
    mutable std::mutex mutex_; // of all below; const operations count too
    mutable std::array<Plan, kOperationCount> plans_;
    mutable std::vector<HeldSignal> held_;
    mutable std::uint64_t random_state_;
    unsigned delay_calls_ = 0;
    std::atomic<bool> stopped_{false};
    mutable std::array<std::atomic<std::uint64_t>, kOperationCount> calls_{};
    mutable std::atomic<std::uint64_t> faults_{0};
};

} // namespace smcd::dev
