// EpollRegistry: finds the sets of a socket, and the wait itself. Floor 4.
#include <algorithm>
#include <cerrno>

#include "preload/epoll_set.hpp"
#include "smcd/base/clock.hpp"

namespace smcd::preload {
namespace {

/// A busy set looks at its ordinary descriptors at least this often.
constexpr std::uint64_t kKernelPollEveryNs = 20'000;
/// Without a doorbell the wait looks at the rings this often.
constexpr std::uint64_t kSliceNs = 2 * kNsPerMs;

int remaining_ms(std::uint64_t deadline_ns) noexcept {
    if (deadline_ns == kForever) {
        return -1;
    }
    const std::uint64_t now = monotonic_ns();
    if (now >= deadline_ns) {
        return 0;
    }
    const std::uint64_t ms = (deadline_ns - now + kNsPerMs - 1) / kNsPerMs;
    return static_cast<int>(std::min<std::uint64_t>(ms, 1'000'000'000));
}

/// The kernel's wait with a timeout in nanoseconds.
int kernel_wait(const RealCalls& real,
                int epfd,
                std::span<epoll_event> events,
                std::uint64_t deadline_ns,
                bool poll_only,
                const sigset_t* mask) noexcept {
    const int size = static_cast<int>(events.size());
    if (poll_only || deadline_ns == kForever) {
        return real.epoll_pwait(epfd, events.data(), size, poll_only ? 0 : -1, mask);
    }
    const std::uint64_t now = monotonic_ns();
    const std::uint64_t rest = now >= deadline_ns ? 0 : deadline_ns - now;
    if (real.epoll_pwait2 != nullptr) {
        const timespec limit{static_cast<time_t>(rest / kNsPerSecond),
                             static_cast<long>(rest % kNsPerSecond)};
        const int n = real.epoll_pwait2(epfd, events.data(), size, &limit, mask);
        if (n >= 0 || errno != ENOSYS) {
            return n;
        }
    }
    return real.epoll_pwait(epfd, events.data(), size, remaining_ms(deadline_ns), mask);
}

}  // namespace

EpollSet* EpollRegistry::acquire(int epfd) {
    const std::lock_guard guard(mutex_);
    EpollSet* set = nullptr;
    if (free_.empty()) {
        set = new EpollSet();  // type-stable: never freed
        sets_.push_back(set);
    } else {
        set = free_.back();
        free_.pop_back();
    }
    set->open(epfd);
    return set;
}

void EpollRegistry::release(EpollSet& set) {
    const std::lock_guard guard(mutex_);
    set.close();
    free_.push_back(&set);
}

int EpollRegistry::control(
    EpollSet& set, int operation, int fd, Socket& socket, const epoll_event* event) {
    const int rc = set.control(real_, operation, fd, socket, event);
    if (rc == 0 && operation != EPOLL_CTL_DEL) {
        set.ring(process_);
    }
    return rc;
}

void EpollRegistry::on_phase(Socket& socket) {
    if (retag_ != nullptr) {
        retag_(socket);
    }
    const std::lock_guard guard(mutex_);
    for (EpollSet* set : sets_) {
        if (set->has_entries()) {
            set->on_phase(real_, process_, socket);
        }
    }
}

void EpollRegistry::on_recycled(Socket& socket) {
    const std::lock_guard guard(mutex_);
    for (EpollSet* set : sets_) {
        if (set->has_entries()) {
            set->drop(socket);
        }
    }
}

void EpollRegistry::after_fork(bool in_child) {
    if (in_child) {
        for (EpollSet* set : sets_) {
            set->forget_doorbell_after_fork();
        }
    }
    mutex_.unlock();
}

/// No entries of ours: the kernel's answer is the answer, unless a doorbell says that entries have come.
int EpollRegistry::wait_kernel(EpollSet& set,
                               std::span<epoll_event> events,
                               std::uint64_t deadline_ns,
                               bool poll_only,
                               const sigset_t* mask) {
    const int n = kernel_wait(real_, set.epfd(), events, deadline_ns, poll_only, mask);
    return n <= 0 ? n : set.filter_doorbell(events, n);
}

int EpollRegistry::wait(EpollSet& set,
                        std::span<epoll_event> events,
                        std::uint64_t deadline_ns,
                        bool poll_only,
                        const sigset_t* mask) {
    bool first = true;
    for (;;) {
        const bool expired = !first && deadline_ns != kForever && monotonic_ns() >= deadline_ns;
        first = false;
        if (!set.has_entries()) {
            const int n = wait_kernel(set, events, deadline_ns, poll_only || expired, mask);
            if (n != 0 || poll_only || expired || (!set.has_entries() && deadline_ns != kForever &&
                                                   monotonic_ns() >= deadline_ns)) {
                return n;
            }
            continue;
        }
        set.drive(process_);
        int n = set.collect(events);
        const std::uint64_t now = monotonic_ns();
        if (n == 0 || now - set.kernel_polled_ns.load(std::memory_order_relaxed) > kKernelPollEveryNs) {
            set.kernel_polled_ns.store(now, std::memory_order_relaxed);
            const auto rest = events.subspan(static_cast<std::size_t>(n));
            if (!rest.empty()) {
                const int k = kernel_wait(real_, set.epfd(), rest, kForever, true, mask);
                if (k < 0 && n == 0) {
                    return k;
                }
                n += k > 0 ? set.filter_doorbell(rest, k) : 0;
            }
        }
        if (n > 0 || poll_only || expired) {
            return n;
        }
        if (set.spin.spin(0, [&set] { return set.any_ready(); }) == SpinPolicy::Outcome::hit) {
            continue;
        }
        const std::uint64_t slept_at = monotonic_ns();
        const bool armed = set.begin_sleep(real_, process_);
        if (armed && set.any_ready()) {
            set.end_sleep(process_);
            continue;
        }
        std::uint64_t until = deadline_ns;
        if (!armed) {
            until = slept_at + kSliceNs;
            until = deadline_ns == kForever ? until : std::min(until, deadline_ns);
        }
        const int k = kernel_wait(real_, set.epfd(), events, until, false, mask);
        const int saved = errno;
        if (armed) {
            set.end_sleep(process_);
        }
        set.spin.on_slept(monotonic_ns() - slept_at);
        if (k < 0) {
            errno = saved;
            return k;
        }
        if (const int kept = k > 0 ? set.filter_doorbell(events, k) : 0; kept > 0) {
            return kept;
        }
    }
}

}  // namespace smcd::preload
