// EpollRegistry: finds the sets of a socket, and the wait itself. Floor 4.
#include "preload/epoll_registry.hpp"

#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "smcd/base/clock.hpp"
#include "smcd/base/raw_syscall.hpp"
#include "smcd/runtime/handshake.hpp"
#include "smcd/runtime/own_peer.hpp"

namespace smcd::preload {
namespace {

/// A busy set looks at its ordinary descriptors at least this often.
constexpr std::uint64_t kKernelPollEveryNs = 10'000;

bool is_over(std::uint64_t deadline_ns) noexcept {
    return deadline_ns != kForever && monotonic_ns() >= deadline_ns;
}

timespec rest_until(std::uint64_t deadline_ns) noexcept {
    const std::uint64_t now = monotonic_ns();
    const std::uint64_t rest = now >= deadline_ns ? 0 : deadline_ns - now;
    return {static_cast<time_t>(rest / kNsPerSecond), static_cast<long>(rest % kNsPerSecond)};
}

int remaining_ms(std::uint64_t deadline_ns) noexcept {
    const std::uint64_t now = monotonic_ns();
    if (now >= deadline_ns) {
        return 0;
    }
    const std::uint64_t ms = (deadline_ns - now + kNsPerMs - 1) / kNsPerMs;
    return static_cast<int>(std::min<std::uint64_t>(ms, 1'000'000'000));
}

int kernel_poll(const RealCalls& real,
                const EpollSet& set,
                std::span<epoll_event> events,
                const sigset_t* mask) noexcept {
    return real.epoll_pwait(set.epfd(), events.data(), static_cast<int>(events.size()), 0, mask);
}

/// The kernel's wait with a timeout in nanoseconds.
int kernel_wait(const RealCalls& real,
                const EpollSet& set,
                std::span<epoll_event> events,
                std::uint64_t deadline_ns,
                const sigset_t* mask) noexcept {
    const int size = static_cast<int>(events.size());
    if (deadline_ns == kForever) {
        return real.epoll_pwait(set.epfd(), events.data(), size, -1, mask);
    }
    if (real.epoll_pwait2 != nullptr) {
        const timespec limit = rest_until(deadline_ns);
        const int n = real.epoll_pwait2(set.epfd(), events.data(), size, &limit, mask);
        if (n >= 0 || errno != ENOSYS) {
            return n;
        }
    }
    return real.epoll_pwait(set.epfd(), events.data(), size, remaining_ms(deadline_ns), mask);
}

/// The same with doorbells beside the set, whose place `all` has in front: a relative has the set
/// too.
int kernel_wait_beside(const RealCalls& real,
                       const EpollSet& set,
                       std::span<pollfd> all,
                       std::span<epoll_event> events,
                       std::uint64_t deadline_ns,
                       const sigset_t* mask) noexcept {
    const timespec limit = deadline_ns == kForever ? timespec{} : rest_until(deadline_ns);
    const int n =
        real.ppoll(all.data(), all.size(), deadline_ns == kForever ? nullptr : &limit, mask);
    if (n <= 0) {
        return n;
    }
    for (const pollfd& door : all.subspan(1)) {
        if ((door.revents & POLLIN) != 0) {
            std::uint64_t count = 0;
            static_cast<void>(raw::read(door.fd, &count, sizeof(count)));
        }
    }
    return (all[0].revents & POLLIN) != 0 ? kernel_poll(real, set, events, nullptr) : 0;
}

} // namespace

EpollSleep::~EpollSleep() {
    for (const EpollSet::Joined& joined : joined_) {
        joined.set->end_sleep(real_, process_, joined.by_kernel);
    }
}

bool EpollSleep::begin(EpollSet& set) {
    // Before the set's lock is taken: fork() holds the locks that this takes and waits for that
    // one.
    if (process_.doorbells() == nullptr && set.has_connections() && !process_.ready_for_smc()) {
        return false;
    }
    const bool woken = set.begin_sleep(real_, process_, joined_);
    return woken && (!set.has_connections() || process_.progress().runs());
}

EpollSet* EpollRegistry::acquire(int epfd) {
    const std::lock_guard guard(mutex_);
    EpollSet* set = nullptr;
    if (free_.empty()) {
        set = new EpollSet(); // type-stable: never freed
        sets_.push_back(set);
    } else {
        set = free_.back();
        free_.pop_back();
    }
    set->open(epfd, process_);
    return set;
}

void EpollRegistry::release(EpollSet& set) {
    const std::lock_guard guard(mutex_);
    for (EpollSet* outer : sets_) {
        if (outer->has_entries()) {
            outer->drop_nested(set);
        }
    }
    set.close(real_, process_);
    free_.push_back(&set);
}

int EpollRegistry::control(
    EpollSet& set, int operation, int fd, Socket& socket, const epoll_event* event) {
    if (process_.doorbells() == nullptr && Socket::is_ours(socket.phase())) {
        static_cast<void>(process_.ready_for_smc());
    }
    return set.control(real_, process_, operation, fd, socket, event);
}

int EpollRegistry::control_nested(
    EpollSet& set, int operation, int fd, EpollSet& inner, const epoll_event* event) {
    return set.control_nested(real_, process_, operation, fd, inner, event);
}

void EpollRegistry::on_phase(Socket& socket) {
    if (retag_ != nullptr) {
        retag_(socket);
    }
    if (process_.doorbells() == nullptr && Socket::is_ours(socket.phase())) {
        static_cast<void>(process_.ready_for_smc()); // a set may have to ring
    }
    const std::lock_guard guard(mutex_);
    for (EpollSet* set : sets_) {
        if (set->has_entries()) {
            set->on_phase(real_, process_, socket);
        }
    }
}

void EpollRegistry::on_inherited(Socket& socket) {
    if (retag_inherited_ != nullptr) {
        retag_inherited_(socket);
    }
}

void EpollRegistry::on_recycled(Socket& socket) {
    if (!socket.in_sets.load(std::memory_order_relaxed)) {
        return;
    }
    const std::lock_guard guard(mutex_);
    for (EpollSet* set : sets_) {
        if (set->has_entries()) {
            set->drop(socket);
        }
    }
}

void EpollRegistry::before_fork() {
    mutex_.lock();
    for (EpollSet* set : sets_) {
        set->before_fork(real_);
    }
}

void EpollRegistry::after_fork(bool in_child) {
    for (EpollSet* set : sets_) {
        if (in_child) {
            set->after_fork_in_child();
        } else {
            set->after_fork_in_parent();
        }
    }
    mutex_.unlock();
}

void EpollRegistry::step(EpollSet& set) {
    std::vector<EpollSet::Unsettled> sockets;
    set.unsettled(sockets);
    for (const auto& [socket, generation] : sockets) {
        // Another thread may close the socket, and a third open one that gets the same object.
        const std::lock_guard guard(process_.lifecycle_mutex());
        if (socket->generation.load(std::memory_order_acquire) != generation) {
            continue;
        }
        if (Socket::is_ours(socket->phase())) {
            handshake_drive(process_, *socket);
            meet_own_peer(process_, *socket);
        } else {
            on_phase(*socket); // a relative did it, and could tell only its own sets
        }
    }
}

/// No entries of ours: the kernel's answer is the answer, unless a doorbell says that entries have
/// come.
int EpollRegistry::wait_kernel(EpollSet& set, const Request& request) {
    set.kernel_waiters.fetch_add(1, std::memory_order_seq_cst);
    int n = 0;
    if (request.poll_only) {
        n = kernel_poll(real_, set, request.events, request.mask);
    } else if (!set.has_served()) { // sync: set-served
        n = kernel_wait(real_, set, request.events, request.deadline_ns, request.mask);
    }
    set.kernel_waiters.fetch_sub(1, std::memory_order_seq_cst);
    const int kept = n <= 0 ? n : set.settle(real_, request.events, 0, n);
    return n > 0 && kept == 0 ? behind_doors(set, request) : kept;
}

/// The kernel told of nothing but doorbells, which may have had the only places: who does not wait
/// would miss the rest.
int EpollRegistry::behind_doors(EpollSet& set, const Request& request) {
    const int n = kernel_poll(real_, set, request.events, request.mask);
    return n <= 0 ? 0 : set.settle(real_, request.events, 0, n);
}

/// Everything that is ready now, the kernel's in front: what a program does for a listener or a timer
/// it expects to come before what it does for the connections behind it. When ours filled the last
/// array, the kernel's have half of this one.
int EpollRegistry::look(EpollSet& set, const Request& request) {
    const std::span<epoll_event> events = request.events;
    const bool kernel_turn = set.kernel_turn.load(std::memory_order_relaxed);
    const std::uint32_t moves = set.moves();
    int n = set.collect(real_, kernel_turn ? events.first(events.size() / 2) : events);
    const std::uint64_t now = monotonic_ns();
    const bool stale =
        now - set.kernel_polled_ns.load(std::memory_order_relaxed) > kKernelPollEveryNs;
    const auto rest = events.subspan(static_cast<std::size_t>(n));
    set.kernel_turn.store(rest.empty(), std::memory_order_relaxed);
    int total = n;
    int k = 0;
    if ((n == 0 || stale || kernel_turn) && !rest.empty()) {
        set.kernel_polled_ns.store(now, std::memory_order_relaxed);
        k = kernel_poll(real_, set, rest, request.mask);
        if (k < 0 && n == 0) {
            return k;
        }
        total += std::max(k, 0);
        std::rotate(events.begin(), events.begin() + n, events.begin() + total);
        if (n > 0 && k > 0) {
            const auto left = set.without_moved(events.subspan(k, n), moves);
            total -= n - static_cast<int>(left);
            n = static_cast<int>(left);
        }
    }
    total = set.settle(real_, events, n, total);
    if (total == 0 && k > 0) {
        total = behind_doors(set, request);
    }
    if (total == 0 && kernel_turn) {
        n = set.collect(real_, events);
        total = set.settle(real_, events, n, n);
    }
    return total;
}

/// Sleeps until something may have happened. The kernel's events, 0, or -1.
int EpollRegistry::sleep(EpollSet& set, const Request& request) {
    const std::uint64_t slept_at = monotonic_ns();
    int k = 0;
    int saved = errno;
    {
        EpollSleep sleep(real_, process_);
        const bool complete = sleep.begin(set);
        if (set.any_ready()) {
            return 0;
        }
        std::uint64_t until = request.deadline_ns;
        if (!complete) {
            until = until == kForever ? slept_at + kDoorlessSliceNs : std::min(until, slept_at + kDoorlessSliceNs);
        }
        std::vector<pollfd> beside;
        sleep.for_each_door([&](int door_fd) {
            beside.resize(std::max<std::size_t>(beside.size(), 1), pollfd{set.epfd(), POLLIN, 0});
            beside.push_back({door_fd, POLLIN, 0});
        });
        k = beside.empty()
                ? kernel_wait(real_, set, request.events, until, request.mask)
                : kernel_wait_beside(real_, set, beside, request.events, until, request.mask);
        saved = errno;
    }
    set.spin.on_slept(monotonic_ns() - slept_at);
    errno = saved;
    return k <= 0 ? k : set.settle(real_, request.events, 0, k);
}

int EpollRegistry::wait_all(EpollSet& set, const Request& request) {
    bool first = true;
    for (;;) {
        const bool last = request.poll_only || (!first && is_over(request.deadline_ns));
        first = false;
        Request now = request;
        now.poll_only = last;
        if (!set.has_served()) {
            const int n = wait_kernel(set, now);
            if (n != 0 || last) {
                return n;
            }
            continue;
        }
        step(set);
        if (const int n = look(set, now); n != 0 || last) {
            return n;
        }
        if (set.has_connections() &&
            set.spin.spin(0, request.deadline_ns, [&set] { return set.any_ready(); }) ==
                SpinPolicy::Outcome::hit) {
            continue;
        }
        if (const int n = sleep(set, now); n != 0) {
            return n;
        }
    }
}

int EpollRegistry::wait(EpollSet& set,
                        std::span<epoll_event> events,
                        std::uint64_t deadline_ns,
                        bool poll_only,
                        const sigset_t* mask) {
    const int n = wait_all(set, {events, deadline_ns, poll_only, mask});
    const int saved = errno;
    set.pass_on(process_);
    errno = saved;
    return n;
}

} // namespace smcd::preload
