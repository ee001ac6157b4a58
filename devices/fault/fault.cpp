// Deciding which call fails, and holding signals back. Floor 2, docs/testing.md "faults".
#include "devices/fault/fault.hpp"

#include <algorithm>
#include <cerrno>
#include <new>
#include <utility>

namespace smcd::dev {
namespace {

constexpr std::size_t at(Operation operation) noexcept {
    return static_cast<std::size_t>(operation);
}

static_assert(at(Operation::harvest) + 1 == kOperationCount);

} // namespace

FaultDevice::FaultDevice(Device& inner, std::uint64_t seed) : inner_(inner), random_state_(seed) {}

FaultDevice::~FaultDevice() = default;

void FaultDevice::fail(Operation operation, std::uint64_t nth, int error, Duration duration) {
    const std::lock_guard guard(mutex_);
    Plan& plan = plans_[at(operation)];
    plan.countdown = nth;
    plan.duration = duration;
    plan.lasting = false;
    plan.error = error;
}

void FaultDevice::fail_randomly(Operation operation, unsigned per_mille, int error) {
    const std::lock_guard guard(mutex_);
    Plan& plan = plans_[at(operation)];
    plan.per_mille = per_mille;
    plan.error = error;
}

void FaultDevice::delay_signals(unsigned calls) {
    std::vector<HeldSignal> due;
    {
        const std::lock_guard guard(mutex_);
        delay_calls_ = calls;
        if (calls == 0) {
            due.swap(held_);
        }
    }
    let_out(due);
}

void FaultDevice::stop_peer() {
    stopped_.store(true, std::memory_order_relaxed);
}

void FaultDevice::clear() {
    {
        const std::lock_guard guard(mutex_);
        plans_.fill(Plan{});
    }
    stopped_.store(false, std::memory_order_relaxed);
    delay_signals(0);
}

std::uint64_t FaultDevice::calls(Operation operation) const noexcept {
    return calls_[at(operation)].load(std::memory_order_relaxed);
}

std::uint64_t FaultDevice::faults() const noexcept {
    return faults_.load(std::memory_order_relaxed);
}

/// splitmix64: the whole sequence follows from the seed.
std::uint64_t FaultDevice::next_random() const noexcept {
    random_state_ += 0x9e3779b97f4a7c15U;
    std::uint64_t z = random_state_;
    z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31U);
}

int FaultDevice::decide(Plan& plan) const {
    if (plan.lasting) {
        return plan.error;
    }
    if (plan.countdown > 0 && --plan.countdown == 0) {
        plan.lasting = plan.duration == Duration::persistent;
        return plan.error;
    }
    return plan.per_mille > 0 && next_random() % 1000 < plan.per_mille ? plan.error : 0;
}

int FaultDevice::begin(Operation operation) const {
    calls_[at(operation)].fetch_add(1, std::memory_order_relaxed);
    std::vector<HeldSignal> due;
    int error = 0;
    {
        const std::lock_guard guard(mutex_);
        for (HeldSignal& held : held_) {
            --held.calls_left;
        }
        const auto first_due = std::stable_partition(
            held_.begin(), held_.end(), [](const HeldSignal& held) { return held.calls_left > 0; });
        due.assign(first_due, held_.end());
        held_.erase(first_due, held_.end());
        error = stopped_.load(std::memory_order_relaxed) ? ENODEV : decide(plans_[at(operation)]);
    }
    let_out(due);
    if (error != 0) {
        faults_.fetch_add(1, std::memory_order_relaxed);
    }
    return error;
}

void FaultDevice::let_out(std::vector<HeldSignal>& due) const noexcept {
    if (stopped_.load(std::memory_order_relaxed)) {
        return;
    }
    for (const HeldSignal& held : due) {
        inner_.signal(held.dmb, held.doors);
    }
}

/// What is held for a DMB goes out while its attachment still exists.
void FaultDevice::release_held(DmbToken token) {
    std::vector<HeldSignal> due;
    {
        const std::lock_guard guard(mutex_);
        const auto first_due =
            std::stable_partition(held_.begin(), held_.end(), [&](const HeldSignal& held) {
                return held.dmb.token != token;
            });
        due.assign(first_due, held_.end());
        held_.erase(first_due, held_.end());
    }
    let_out(due);
}

Result<void> FaultDevice::query_remote_gid(Gid remote_gid) const {
    if (const int error = begin(Operation::query_remote_gid); error != 0) {
        return errno_error(error);
    }
    return inner_.query_remote_gid(remote_gid);
}

Result<Dmb> FaultDevice::register_dmb(const DmbRequest& request) {
    if (const int error = begin(Operation::register_dmb); error != 0) {
        return errno_error(error);
    }
    return inner_.register_dmb(request);
}

Result<void> FaultDevice::unregister_dmb(DmbToken token) {
    if (const int error = begin(Operation::unregister_dmb); error != 0) {
        return errno_error(error);
    }
    return inner_.unregister_dmb(token);
}

Result<void> FaultDevice::move_data(DmbToken token,
                                    bool signal,
                                    std::uint32_t offset,
                                    std::span<const std::byte> data) {
    if (const int error = begin(Operation::move_data); error != 0) {
        return errno_error(error);
    }
    return inner_.move_data(token, signal, offset, data);
}

Result<RemoteDmb> FaultDevice::attach_dmb(LinkGroupId owner, DmbToken token) {
    if (const int error = begin(Operation::attach_dmb); error != 0) {
        return errno_error(error);
    }
    return inner_.attach_dmb(owner, token);
}

Result<void> FaultDevice::detach_dmb(DmbToken token) {
    if (const int error = begin(Operation::detach_dmb); error != 0) {
        return errno_error(error);
    }
    release_held(token);
    return inner_.detach_dmb(token);
}

void FaultDevice::signal(const RemoteDmb& dmb, std::uint64_t doors) noexcept {
    if (begin(Operation::signal) != 0) {
        return;
    }
    try {
        const std::lock_guard guard(mutex_);
        if (delay_calls_ > 0) {
            held_.push_back({dmb, doors, delay_calls_});
            return;
        }
    } catch (const std::bad_alloc&) {
        // Not delayed then: a signal must not get lost by accident.
    }
    inner_.signal(dmb, doors);
}

void FaultDevice::wake(const RemoteDmb& dmb, std::atomic<std::uint32_t>& word) noexcept {
    if (begin(Operation::wake) == 0) {
        inner_.wake(dmb, word);
    }
}

std::size_t FaultDevice::harvest(unsigned door, const std::function<void(SbaIndex)>& on_signal) {
    return begin(Operation::harvest) == 0 ? inner_.harvest(door, on_signal) : 0;
}

bool FaultDevice::has_signal(unsigned door) const noexcept {
    return !stopped_.load(std::memory_order_relaxed) && inner_.has_signal(door);
}

} // namespace smcd::dev
