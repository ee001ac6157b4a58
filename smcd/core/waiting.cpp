#include "smcd/core/waiting.hpp"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <cerrno>

#include "smcd/base/raw_syscall.hpp"
#include "smcd/core/rx_path.hpp"
#include "smcd/core/tx_path.hpp"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace smcd {
namespace {

void count(std::atomic<std::uint64_t>& counter) noexcept {
    counter.fetch_add(1, std::memory_order_relaxed);
}

bool is_frozen(const ConnBlock& block) noexcept {
    return (block.flags.load(std::memory_order_acquire) & kFlagFrozen) != 0;
}

/// The one place where a thread can be cancelled while it sleeps, as in libc's own calls. A frame of its own without
/// anything to clean up: cancellation unwinds from an instruction that is no call.
[[gnu::noinline]] int sleep_on(const std::atomic<std::uint32_t>& word,
                               std::uint32_t expected,
                               const timespec* limit) {
    int type = PTHREAD_CANCEL_DEFERRED;
#if defined(__SANITIZE_ADDRESS__)
    __asan_handle_no_return(); // it does not see cancellation unwind, and would report the frames that are gone
#endif
    ::pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &type);
    const int rc = raw::futex_wait(word, expected, limit);
    const int error = errno;
    ::pthread_setcanceltype(type, nullptr);
    errno = error;
    return rc;
}

/// Steps of a sleeper whose peer cannot wake it (another machine without doorbells): from as long as a wake-up takes
/// anyway, to where an idle thread costs little. Local events end a step at once.
constexpr std::uint64_t kStepMinNs = 50'000;
constexpr std::uint64_t kStepMaxNs = 2 * kNsPerMs;

/// Sleeps like futex_wait(word, 1, deadline), but looks at `ready` after each step.
template <typename Ready>
WaitStatus step_until(ConnBlock& block, std::uint64_t deadline_ns, Ready&& ready) {
    for (std::uint64_t step_ns = kStepMinNs;; step_ns = std::min(step_ns * 3 / 2, kStepMaxNs)) {
        // sync: local-bell. Announce, load, look, sleep only if nothing has happened since.
        block.local.sleepers.fetch_add(1, std::memory_order_seq_cst);
        const std::uint32_t seen = block.local.sequence.load(std::memory_order_seq_cst);
        WaitStatus status = WaitStatus::ready;
        const std::uint64_t end_ns = std::min(deadline_ns, monotonic_ns() + step_ns);
        if (!ready()) {
            status = futex_wait(block.local.sequence, seen, end_ns);
        }
        block.local.sleepers.fetch_sub(1, std::memory_order_seq_cst);
        const bool step_over = status == WaitStatus::timed_out && end_ns != deadline_ns;
        if (!step_over || ready()) {
            return status;
        }
    }
}

/// In a futex word instead of 1: who was about to sleep stays awake; peers wake the sleepers as ever.
constexpr std::uint32_t kStayAwake = 2;

/// The wait of both directions; `ready` looks at the cursors, `word` is the direction's futex word in our bells.
template <typename Ready>
WaitStatus wait_until(Channel& channel,
                      SpinPolicy& spin,
                      std::atomic<std::uint32_t>& word,
                      std::uint64_t deadline_ns,
                      const std::atomic<NumberGone>* number_gone,
                      Ready&& ready) {
    const auto gone = [number_gone]() noexcept {
        return number_gone == nullptr ? NumberGone::no : number_gone->load(std::memory_order_acquire);
    };
    const bool goes_on = gone() == NumberGone::closed;
    bool awake = true;
    WaitCounters& counters = channel.block->waits;
    dev::Bells& bells = *channel.own_bells;
    // The peer reads this line with each publication: it is written only with news.
    const auto cpu = static_cast<std::uint32_t>(::sched_getcpu()) + 1;
    if (bells.cpu.load(std::memory_order_relaxed) != cpu) {
        bells.cpu.store(cpu, std::memory_order_relaxed);
    }
    const std::uint32_t peer_cpu = channel.peer_bells->cpu.load(std::memory_order_relaxed);
    const std::uint64_t start = spin.tells_time() ? monotonic_ns() : 0;
    switch (spin.spin(peer_cpu, deadline_ns, ready)) {
        case SpinPolicy::Outcome::hit:
            count(counters.spin_hits);
            return WaitStatus::ready;
        case SpinPolicy::Outcome::miss:
            count(counters.spin_misses);
            break;
        case SpinPolicy::Outcome::skipped:
            break;
    }
    for (;;) {
        word.store(1, std::memory_order_relaxed);
        std::atomic_thread_fence(std::memory_order_seq_cst);  // sync: bell
        if (ready()) {
            return WaitStatus::ready;  // the word stays set: another thread may be asleep on it
        }
        if (awake && !goes_on && gone() != NumberGone::no) {
            return WaitStatus::interrupted;
        }
        count(counters.sleeps);
        const WaitStatus status = channel.dmb.peer_wakes
                                      ? futex_wait(word, 1, deadline_ns)
                                      : step_until(*channel.block, deadline_ns, ready);
        if (ready()) {
            spin.on_slept(monotonic_ns() - start);
            return WaitStatus::ready;
        }
        if (status != WaitStatus::ready) {
            return status;
        }
        awake = word.load(std::memory_order_relaxed) == kStayAwake;
    }
}

}  // namespace

WaitStatus futex_wait(std::atomic<std::uint32_t>& word,
                      std::uint32_t expected,
                      std::uint64_t deadline_ns) {
    timespec timeout{};
    timespec* limit = nullptr;
    if (deadline_ns != kForever) {
        const std::uint64_t now = monotonic_ns();
        if (now >= deadline_ns) {
            return WaitStatus::timed_out;
        }
        timeout.tv_sec = static_cast<time_t>((deadline_ns - now) / kNsPerSecond);
        timeout.tv_nsec = static_cast<long>((deadline_ns - now) % kNsPerSecond);
        limit = &timeout;
    }
    const int saved = errno;
    const int rc = sleep_on(word, expected, limit);
    const int error = rc == 0 ? 0 : errno;
    errno = saved;
    if (error == EINTR) {
        return WaitStatus::interrupted;
    }
    return error == ETIMEDOUT ? WaitStatus::timed_out : WaitStatus::ready;
}

void futex_wake_all(std::atomic<std::uint32_t>& word) noexcept {
    const int saved = errno;
    raw::futex_wake(word);
    errno = saved;
}

void stop_falling_asleep(dev::Bells& own_bells) noexcept {
    std::atomic_thread_fence(std::memory_order_seq_cst);  // sync: bell
    for (std::atomic<std::uint32_t>* word : {&own_bells.futex_in, &own_bells.futex_out}) {
        std::uint32_t armed = 1;
        word->compare_exchange_strong(armed, kStayAwake, std::memory_order_acq_rel);
    }
}

void wake_sleepers(dev::Bells& own_bells) noexcept {
    std::atomic_thread_fence(std::memory_order_seq_cst);  // sync: bell
    for (std::atomic<std::uint32_t>* word : {&own_bells.futex_in, &own_bells.futex_out}) {
        if (word->exchange(0, std::memory_order_acq_rel) != 0) {
            futex_wake_all(*word);
        }
    }
}

WaitStatus wait_for_data(Channel& channel,
                         SpinPolicy& spin,
                         std::uint32_t at_least,
                         std::uint64_t deadline_ns,
                         const std::atomic<NumberGone>* number_gone) {
    RxPath rx(channel);
    return wait_until(channel, spin, channel.own_bells->futex_in, deadline_ns, number_gone, [&]() noexcept {
        return rx.readable() >= at_least || rx.ended() || is_frozen(*channel.block);
    });
}

WaitStatus wait_for_space(Channel& channel,
                          SpinPolicy& spin,
                          std::uint32_t at_least,
                          std::uint64_t deadline_ns,
                          const std::atomic<NumberGone>* number_gone) {
    TxPath tx(channel);
    constexpr std::uint32_t kStop = kFlagReset | kFlagTcpHangup | kFlagShutWrite | kFlagFrozen;
    return wait_until(channel, spin, channel.own_bells->futex_out, deadline_ns, number_gone, [&]() noexcept {
        const ConnBlock& block = *channel.block;
        return tx.space() >= at_least ||
               (block.flags.load(std::memory_order_acquire) & kStop) != 0 ||
               (block.rx.peer_flags.load(std::memory_order_relaxed) &
                (kPeerConnClosed | kPeerConnAbort)) != 0;
    });
}

}  // namespace smcd
