// The table of doorbells: who owns which of the 64 lines, and their eventfds. Floor 1.
// docs/shared-memory.md "doorbells".
#include "devices/api/doorbell.hpp"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include <bit>
#include <cerrno>
#include <new>

#include "smcd/base/high_fd.hpp"
#include "smcd/base/kernel_identity.hpp"
#include "smcd/base/memfd.hpp"
#include "smcd/base/raw_syscall.hpp"

namespace smcd::dev {
namespace {

constexpr std::uint32_t kFree = 0;

/// Identity of our PID namespace; 0 when /proc does not say (then nobody's death can be judged from
/// here).
std::uint32_t own_pid_namespace() noexcept {
    return kernel_identity().pid_inode;
}

constexpr std::uint64_t bit_of(unsigned door) noexcept {
    return std::uint64_t{1} << door;
}

void drain(int event_fd) noexcept {
    std::uint64_t count = 0;
    static_cast<void>(raw::read(event_fd, &count, sizeof(count)));
}

} // namespace

Result<std::unique_ptr<DoorbellTable>> DoorbellTable::create() {
    SMCD_TRY(UniqueFd made, create_memfd("smcd-doorbells", kDoorbellPageBytes));
    SMCD_TRY(UniqueFd fd, lift_fd(std::move(made)));
    SMCD_TRY(Mapping page,
             Mapping::map_shared(fd.get(), kDoorbellPageBytes, PROT_READ | PROT_WRITE));
    // After our own writable mapping: nobody can make another one, not even by reopening the file.
    SMCD_TRY_VOID(seal_memfd(fd.get(), F_SEAL_FUTURE_WRITE));
    auto* table = new (std::nothrow) DoorbellTable(std::move(fd), std::move(page));
    if (table == nullptr) {
        return Error(std::errc::not_enough_memory);
    }
    return std::unique_ptr<DoorbellTable>(table);
}

DoorbellTable::DoorbellTable(UniqueFd page_fd, Mapping page) noexcept
    : page_fd_(std::move(page_fd)), page_(std::move(page)) {}

DoorbellTable::~DoorbellTable() {
    for (std::uint64_t doors = mine(); doors != 0; doors &= doors - 1) {
        release(static_cast<unsigned>(std::countr_zero(doors)));
    }
    for (Private& own : private_) {
        UniqueFd(own.event_fd.load(std::memory_order_relaxed)).reset();
    }
}

DoorbellLine& DoorbellTable::line(unsigned door) const noexcept {
    return reinterpret_cast<DoorbellLine*>(page_.data())[door % kDoorbellCount];
}

Result<unsigned> DoorbellTable::acquire() {
    if (pid_.load(std::memory_order_relaxed) == 0) {
        pid_ns_.store(own_pid_namespace(), std::memory_order_relaxed);
        pid_.store(static_cast<std::uint32_t>(raw::getpid()), std::memory_order_relaxed);
    }
    for (unsigned door = 0; door < kDoorbellCount; ++door) {
        if (claim(door, kFree)) {
            return equip(door);
        }
    }
    for (unsigned door = 0; door < kDoorbellCount; ++door) {
        const std::uint32_t owner = line(door).owner_pid.load(std::memory_order_acquire);
        if (owner != kFree && owner_is_dead(door) && claim(door, owner)) {
            return equip(door);
        }
    }
    return Error(std::errc::resource_unavailable_try_again);
}

bool DoorbellTable::claim(unsigned door, std::uint32_t owner_before) noexcept {
    DoorbellLine& own = line(door);
    std::uint32_t expected = owner_before;
    // sync: door-owner. Acquire: what the last owner left in the line is seen.
    if (!own.owner_pid.compare_exchange_strong(expected,
                                               pid_.load(std::memory_order_relaxed),
                                               std::memory_order_acq_rel,
                                               std::memory_order_relaxed)) {
        return false;
    }
    own.owner_ns.store(pid_ns_.load(std::memory_order_relaxed), std::memory_order_relaxed);
    return true;
}

bool DoorbellTable::owner_is_dead(unsigned door) const noexcept {
    const DoorbellLine& other = line(door);
    const std::uint32_t ns = other.owner_ns.load(std::memory_order_relaxed);
    if (ns == 0 || ns != pid_ns_.load(std::memory_order_relaxed)) {
        return false; // its number means nothing in our namespace
    }
    const auto pid = static_cast<pid_t>(other.owner_pid.load(std::memory_order_acquire));
    return pid > 0 && raw::kill(pid, 0) != 0 && errno == ESRCH;
}

/// Gives a claimed doorbell its eventfd: the one of last time, unless a relative had the index
/// since.
Result<unsigned> DoorbellTable::equip(unsigned door) {
    DoorbellLine& shared = line(door);
    Private& own = private_[door];
    const std::uint32_t generation = shared.generation.load(std::memory_order_relaxed);
    const int old = own.event_fd.load(std::memory_order_relaxed);
    if (old >= 0 && own.generation == generation) {
        drain(old);
        mine_.fetch_or(bit_of(door), std::memory_order_relaxed);
        return door;
    }
    auto made = lift_fd(UniqueFd(raw::eventfd2(0, EFD_NONBLOCK | EFD_CLOEXEC)));
    if (!made) {
        shared.owner_pid.store(kFree, std::memory_order_release); // sync: door-owner
        return Error(std::errc::too_many_files_open);
    }
    UniqueFd(old).reset();
    own.event_fd.store(made->release(), std::memory_order_relaxed);
    own.generation = generation + 1;
    shared.generation.store(generation + 1, std::memory_order_relaxed);
    mine_.fetch_or(bit_of(door), std::memory_order_relaxed);
    return door;
}

void DoorbellTable::release(unsigned door) noexcept {
    if (door >= kDoorbellCount || (mine() & bit_of(door)) == 0) {
        return;
    }
    end_sleep(door);
    mine_.fetch_and(~bit_of(door), std::memory_order_relaxed);
    line(door).owner_pid.store(kFree, std::memory_order_release); // sync: door-owner
}

int DoorbellTable::event_fd(unsigned door) const noexcept {
    return private_[door % kDoorbellCount].event_fd.load(std::memory_order_relaxed);
}

std::uint32_t DoorbellTable::generation(unsigned door) const noexcept {
    return line(door).generation.load(std::memory_order_relaxed);
}

void DoorbellTable::begin_sleep(unsigned door) noexcept {
    std::atomic<std::uint32_t>& epoch = line(door).epoch;
    const std::uint32_t now = epoch.load(std::memory_order_relaxed);
    const std::uint32_t next = (now | 1U) + ((now & 1U) != 0 ? 2U : 0U);
    // sync: door-generation. Release: who sees the epoch sees which eventfd is meant.
    epoch.store(next, std::memory_order_release);
    tell_observers(door, next);
    // sync: door-sleep. Announce, full fence, look for work; the peer raises its bit, fences, looks
    // at the epoch.
    std::atomic_thread_fence(std::memory_order_seq_cst);
}

void DoorbellTable::end_sleep(unsigned door) noexcept {
    std::atomic<std::uint32_t>& epoch = line(door).epoch;
    const std::uint32_t now = epoch.load(std::memory_order_relaxed);
    if ((now & 1U) != 0) {
        epoch.store(now + 1, std::memory_order_release);
        tell_observers(door, now + 1);
    }
}

std::uint32_t DoorbellTable::epoch(unsigned door) const noexcept {
    return line(door).epoch.load(std::memory_order_seq_cst);
}

void DoorbellTable::tell_observers(unsigned door, std::uint32_t epoch) const noexcept {
    for (const std::atomic<SleepObserver*>& entry : observers_) {
        SleepObserver* observer = entry.load(std::memory_order_acquire);
        if (observer == nullptr) {
            return; // they stand at the front
        }
        observer->on_epoch(door, epoch);
    }
}

bool DoorbellTable::add_observer(SleepObserver& observer) noexcept {
    for (std::atomic<SleepObserver*>& entry : observers_) {
        SleepObserver* nobody = nullptr;
        if (entry.compare_exchange_strong(nobody, &observer, std::memory_order_acq_rel)) {
            return true;
        }
    }
    return false;
}

void DoorbellTable::remove_observer(const SleepObserver& observer) noexcept {
    std::size_t kept = 0;
    for (std::atomic<SleepObserver*>& entry : observers_) {
        SleepObserver* there = entry.exchange(nullptr, std::memory_order_acq_rel);
        if (there != nullptr && there != &observer) {
            observers_[kept++].store(there, std::memory_order_release);
        }
    }
}

void DoorbellTable::ring_local(unsigned door) const noexcept {
    const int saved = errno;
    constexpr std::uint64_t kOnce = 1;
    // A full counter (EAGAIN) has woken the owner already.
    static_cast<void>(raw::write(event_fd(door), &kOnce, sizeof(kOnce)));
    errno = saved;
}

void DoorbellTable::after_fork_in_child() noexcept {
    mine_.store(0, std::memory_order_relaxed);
    pid_.store(0, std::memory_order_relaxed);
    for (Private& own : private_) {
        // Copies of the parent's eventfds: rung by our peers they would wake the parent.
        UniqueFd(own.event_fd.exchange(-1, std::memory_order_relaxed)).reset();
        own.generation = 0;
    }
}

} // namespace smcd::dev
