// EpollSet: doorbells, sleeping, fork(). Floor 4.
//
//   waiter                                          peer, or another thread
//   arm the bells (doors_in, doors_out, local)      publish
//   doorbell epoch odd, full fence                  full fence
//   look at the cursors: any_ready()                look at the bells; armed: ring the doorbell
//   wait in the kernel
#include <sched.h>

#include <cerrno>
#include <new>

#include "preload/epoll_set.hpp"
#include "preload/epoll_tags.hpp"
#include "smcd/base/clock.hpp"
#include "smcd/base/raw_syscall.hpp"
#include "smcd/runtime/stream.hpp"

namespace smcd::preload {
namespace {

/// How long fork() waits for a thread that works on a set. One that takes longer waits itself for a
/// lock of the runtime, which fork() holds, and has left the set in order.
constexpr std::uint64_t kForkPatienceNs = 20 * kNsPerMs;

} // namespace

bool EpollSet::enter_door(const RealCalls& real, int operation, std::uint32_t events) noexcept {
    epoll_event event{};
    event.events = events;
    event.data.u64 = door_tag(this, static_cast<unsigned>(door_));
    const int saved = errno;
    const bool done = real.epoll_ctl(epfd(), operation, door_fd_, &event) == 0;
    errno = saved;
    return done;
}

void EpollSet::take_out_door(const RealCalls& real) noexcept {
    if (door_in_kernel_) {
        enter_door(real, EPOLL_CTL_DEL, 0);
        door_in_kernel_ = false;
    }
}

void EpollSet::tidy_door(const RealCalls& real) noexcept {
    if (shared_ && by_kernel_ == 0 && kernel_waiters == 0) {
        take_out_door(real);
    }
}

void EpollSet::drain_door() const noexcept {
    if (door_ >= 0) {
        const int saved = errno;
        std::uint64_t count = 0;
        static_cast<void>(raw::read(door_fd_, &count, sizeof(count)));
        errno = saved;
    }
}

/// The runtime is ready for it already: process.ready_for_smc() takes locks that must not be waited
/// for in here.
bool EpollSet::ensure_doorbell(const RealCalls& real, Process& process) {
    if (door_ >= 0) {
        return true;
    }
    if (process.doorbells() == nullptr) {
        return false;
    }
    auto door = process.doorbells()->acquire();
    if (!door) {
        return false;
    }
    if (!process.local_signals().open(*door)) {
        process.doorbells()->release(*door);
        return false;
    }
    door_ = static_cast<int>(*door);
    door_fd_ = process.doorbells()->event_fd(*door);
    if (!shared_) {
        door_in_kernel_ = enter_door(real, EPOLL_CTL_ADD, EPOLLIN | EPOLLET);
        if (!door_in_kernel_) {
            process.doorbells()->release(*door);
            door_ = -1;
        }
    }
    return door_ >= 0;
}

void EpollSet::arm(Process& process, Entry& entry) noexcept {
    const bool space = (entry.interest.events & (EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND)) != 0;
    stream_arm(process, *entry.socket, static_cast<unsigned>(door_), true, space);
}

/// The cold ones are armed. A full fence must follow.
void EpollSet::arm_hot(Process& process) noexcept {
    for (const std::size_t position : hot_) {
        if (Entry& entry = entries_[position]; !entry.disabled) {
            arm(process, entry);
        }
    }
}

bool EpollSet::begin_sleep(const RealCalls& real, Process& process, std::vector<Joined>& joined) {
    const std::lock_guard guard(mutex_);
    sleepers_.fetch_add(1, std::memory_order_relaxed);
    by_kernel_ += shared_ ? 0 : 1;
    const std::size_t place = joined.size();
    joined.push_back({this, !shared_, -1});
    bool complete = true;
    for (const auto& nested : nested_) {
        complete = nested->inner->begin_sleep(real, process, joined) && complete;
    }
    if (ours_ == 0 && door_ < 0) {
        return complete; // ring() makes a doorbell when there is something to ring for
    }
    if (!ensure_doorbell(real, process)) {
        return false;
    }
    joined[place].door_fd = shared_ ? door_fd_ : -1;
    arm_hot(process);
    process.doorbells()->begin_sleep(static_cast<unsigned>(door_)); // with the fence
    return complete;
}

void EpollSet::end_sleep(const RealCalls& real, Process& process, bool by_kernel) {
    const std::lock_guard guard(mutex_);
    const unsigned before = sleepers_.fetch_sub(1, std::memory_order_relaxed);
    by_kernel_ -= by_kernel ? 1 : 0;
    if (door_ < 0) {
        return;
    }
    process.doorbells()->end_sleep(static_cast<unsigned>(door_));
    tidy_door(real);
    if (before > 1) {
        // Others sleep on: what rang for us must ring again for them.
        arm_hot(process);
        process.doorbells()->begin_sleep(static_cast<unsigned>(door_));
    }
}

/// Something is new: wakes whoever waits on this set, inside us or in the kernel alone, or on a set
/// around it.
void EpollSet::ring(const RealCalls& real, Process& process) {
    // sync: set-served. Behind publish().
    const bool in_kernel = kernel_waiters.load(std::memory_order_seq_cst) != 0;
    if ((sleepers_ == 0 && !in_kernel) || !ensure_doorbell(real, process)) {
        return;
    }
    process.doorbells()->ring_local(static_cast<unsigned>(door_));
    if (shared_ && !door_in_kernel_) {
        // Level-triggered: a relative that sees the event must not take it away. tidy_door()
        // removes it.
        door_in_kernel_ = enter_door(real, EPOLL_CTL_ADD, EPOLLIN);
    }
}

/// A ring wakes one waiter, and peers ring once for each sleep: what this thread took from the others they get back.
void EpollSet::give_back_ring(Process& process) {
    if (door_ < 0) {
        return;
    }
    const auto door = static_cast<unsigned>(door_);
    bool due = kernel_waiters.load(std::memory_order_seq_cst) != 0 && has_served(); // sync: set-served
    if (sleepers_.load(std::memory_order_relaxed) != 0) {
        arm_hot(process);
        process.doorbells()->begin_sleep(door); // with the fence
        due = any_due() || due;
    }
    if (due) {
        process.doorbells()->ring_local(door);
    }
}

void EpollSet::pass_on(Process& process) {
    // A ring that was another's came behind his announcement: no lock is needed to see that there is none.
    const bool alone = sleepers_.load(std::memory_order_seq_cst) == 0 &&
                       kernel_waiters.load(std::memory_order_seq_cst) == 0;
    if (!has_entries() || (alone && inner_count_.load(std::memory_order_acquire) == 0)) {
        return;
    }
    std::vector<EpollSet*> inner;
    {
        const std::lock_guard guard(mutex_);
        give_back_ring(process);
        for (const auto& nested : nested_) {
            inner.push_back(nested->inner);
        }
    }
    for (EpollSet* set : inner) {
        set->pass_on(process);
    }
}

void EpollSet::before_fork(const RealCalls& real) noexcept {
    const std::uint64_t end = monotonic_ns() + kForkPatienceNs;
    locked_for_fork_ = mutex_.try_lock();
    while (!locked_for_fork_ && monotonic_ns() < end) {
        ::sched_yield();
        locked_for_fork_ = mutex_.try_lock();
    }
    if (epfd() < 0) {
        return;
    }
    shared_ = true;
    // Relatives will change connections without a word to us. In parent and child.
    heat_all_.store(true, std::memory_order_relaxed);
    if (!door_in_kernel_) {
        return;
    }
    if (by_kernel_ == 0 && kernel_waiters == 0) {
        take_out_door(real);
    } else {
        // Somebody relies on it until he wakes. Level-triggered, the child cannot take it away.
        enter_door(real, EPOLL_CTL_MOD, EPOLLIN);
    }
}

void EpollSet::after_fork_in_parent() noexcept {
    if (locked_for_fork_) {
        locked_for_fork_ = false;
        mutex_.unlock();
    }
}

void EpollSet::after_fork_in_child() noexcept {
    // Its owner, if any, does not exist here.
    new (&mutex_) std::mutex;
    locked_for_fork_ = false;
    door_ = -1; // the parent's
    door_in_kernel_ = false;
    sleepers_ = 0;
    by_kernel_ = 0;
    kernel_waiters = 0;
}

} // namespace smcd::preload
