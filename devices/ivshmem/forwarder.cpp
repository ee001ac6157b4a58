// The thread that forwards rings. Floor 2, docs/shared-memory.md "regions".
#include "devices/ivshmem/forwarder.hpp"

#include <signal.h>

#include <algorithm>
#include <bit>
#include <new>
#include <system_error>
#include <utility>

#include "smcd/base/clock.hpp"
#include "smcd/base/raw_syscall.hpp"

namespace smcd::dev::ivshmem {
namespace {

constexpr std::uint64_t kForeverNs = ~0ULL;
/// Steps in which the thread looks by itself: from as long as a wake-up takes anyway, to where an
/// idle program costs a fraction of a per cent of a CPU.
constexpr std::uint64_t kStepMinNs = 50'000;
constexpr std::uint64_t kStepMaxNs = 2 * kNsPerMs;

timespec time_of(std::uint64_t ns) noexcept {
    return {static_cast<time_t>(ns / kNsPerSecond), static_cast<long>(ns % kNsPerSecond)};
}

} // namespace

Forwarder::Forwarder(DoorbellTable& doorbells, std::function<bool(unsigned)> take_ring)
    : doorbells_(doorbells), take_ring_(std::move(take_ring)) {}

Forwarder::~Forwarder() {
    stop();
}

bool Forwarder::start(const BellSource& source) {
    const std::lock_guard guard(thread_mutex_);
    if (thread_.joinable()) {
        return true;
    }
    source_ = source;
    stopping_.store(false);
    sigset_t all;
    sigset_t saved;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &saved); // the application's handlers stay off our thread
    bool started = true;
    try {
        thread_ = std::thread([this] { run(); });
    } catch (const std::system_error&) {
        started = false;
    } catch (const std::bad_alloc&) {
        started = false;
    }
    ::pthread_sigmask(SIG_SETMASK, &saved, nullptr);
    running_.store(started, std::memory_order_release);
    return started;
}

void Forwarder::stop() noexcept {
    const std::lock_guard guard(thread_mutex_);
    if (thread_.joinable()) {
        stopping_.store(true);
        poke();
        thread_.join();
        running_.store(false, std::memory_order_release);
    }
}

void Forwarder::set_polling(bool polling) noexcept {
    if (polling_.exchange(polling) != polling && polling) {
        poke();
    }
}

void Forwarder::set_beat(std::uint64_t interval_ns) noexcept {
    if (beat_ns_.exchange(interval_ns) != interval_ns) {
        poke();
    }
}

/// Shows that we run. Returns when to do so again.
std::uint64_t Forwarder::beat() noexcept {
    const std::uint64_t interval_ns = beat_ns_.load(std::memory_order_relaxed);
    if (interval_ns == 0 || source_.beat == nullptr) {
        return kForeverNs;
    }
    source_.beat->fetch_add(1, std::memory_order_relaxed);
    return interval_ns;
}

void Forwarder::on_sleep() noexcept {
    if (polling_.load(std::memory_order_relaxed)) {
        poke();
    }
}

void Forwarder::poke() noexcept {
    const int saved = errno;
    if (source_.eventfd >= 0) {
        constexpr std::uint64_t kOnce = 1;
        static_cast<void>(raw::write(source_.eventfd, &kOnce, sizeof(kOnce)));
    } else {
        word().fetch_add(1, std::memory_order_seq_cst); // sync: region-bell
        raw::futex_wake(word());
    }
    errno = saved;
}

bool Forwarder::somebody_sleeps() const noexcept {
    for (std::uint64_t doors = doorbells_.mine(); doors != 0; doors &= doors - 1) {
        if ((doorbells_.epoch(static_cast<unsigned>(std::countr_zero(doors))) & 1U) != 0) {
            return true;
        }
    }
    return false;
}

void Forwarder::forward() noexcept {
    const std::lock_guard guard(forward_mutex_);
    for (std::uint64_t doors = doorbells_.mine(); doors != 0; doors &= doors - 1) {
        const auto door = static_cast<unsigned>(std::countr_zero(doors));
        if ((doorbells_.epoch(door) & 1U) != 0 && take_ring_(door)) {
            doorbells_.ring_local(door);
            rung_count_.fetch_add(1, std::memory_order_relaxed);
        }
    }
}

void Forwarder::wait(std::uint32_t seen, std::uint64_t limit_ns) noexcept {
    const timespec limit = time_of(limit_ns);
    const timespec* timeout = limit_ns == kForeverNs ? nullptr : &limit;
    if (source_.eventfd < 0) {
        raw::futex_wait(word(), seen, timeout);
        return;
    }
    pollfd item{source_.eventfd, POLLIN, 0};
    raw::detail::call(SYS_ppoll, &item, 1, timeout, nullptr, raw::kSignalSetBytes);
    std::uint64_t count = 0;
    static_cast<void>(raw::read(source_.eventfd, &count, sizeof(count)));
}

void Forwarder::run() noexcept {
    std::uint64_t step_ns = kStepMinNs;
    std::uint64_t rung_before = 0;
    while (!stopping_.load()) {
        // sync: region-bell. Load, look, sleep only if the word is still the same; who rings raises
        // its signal bit before.
        const std::uint32_t seen = word().load(std::memory_order_seq_cst);
        forward();
        const std::uint64_t rung_now = rung();
        step_ns = rung_now != rung_before ? kStepMinNs : std::min(step_ns * 3 / 2, kStepMaxNs);
        rung_before = rung_now;
        const bool looks = polling_.load(std::memory_order_relaxed) && somebody_sleeps();
        wait(seen, std::min(looks ? step_ns : kForeverNs, beat()));
    }
}

void Forwarder::after_fork_in_child() noexcept {
    // The parent's thread does not exist here: the handle is abandoned, not destroyed.
    running_.store(false, std::memory_order_release);
    new (&thread_) std::thread();
    new (&thread_mutex_) std::mutex();
    new (&forward_mutex_) std::mutex();
}

} // namespace smcd::dev::ivshmem
