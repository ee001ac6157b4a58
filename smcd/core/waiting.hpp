// Waiting of one thread on one connection: spin, arm the bell, look again, sleep on the futex. Floor 2,
// docs/architecture.md "waiting and waking". Sets (poll, select, epoll) wait elsewhere, on doorbells.
//
//   sleeper (owner of the DMB)            mover (peer)
//   bells.futex_in = 1                    publish producer (release)
//   full fence                            full fence
//   look at the cursor again              load bells.futex_in: 1 -> exchange 0, FUTEX_WAKE
//   FUTEX_WAIT(futex_in, 1)
//
// Either the sleeper's second look sees the publication, or the mover's load sees the 1: no wake-up is lost.
// FUTEX_WAIT has the restart class of a blocking recv(): EINTR and SA_RESTART come out as on TCP.
#pragma once

#include <atomic>
#include <cstdint>

#include "smcd/core/channel.hpp"
#include "smcd/core/spin.hpp"

namespace smcd {

enum class WaitStatus { ready, timed_out, interrupted };

/// The application took the number of a connection away, by close() or by putting something else in its place.
enum class NumberGone : std::uint8_t { no, closed, replaced };

// number_gone, where given: a thread that is awake in here when the number goes does not fall asleep: it is interrupted. Whoever
// takes a number away may send a signal next, once, to whom it finds asleep. A call that was asleep elsewhere, in the
// handshake, goes on when the number was closed, as on TCP; when it was replaced, the signal may have come in between.

/// Waits until at least `at_least` bytes are readable or the stream has ended. deadline_ns: monotonic, or kForever.
WaitStatus wait_for_data(Channel& channel,
                         SpinPolicy& spin,
                         std::uint32_t at_least,
                         std::uint64_t deadline_ns,
                         const std::atomic<NumberGone>* number_gone = nullptr);

/// Waits until at least `at_least` bytes of send space are free, or sending fails at once.
WaitStatus wait_for_space(Channel& channel,
                          SpinPolicy& spin,
                          std::uint32_t at_least,
                          std::uint64_t deadline_ns,
                          const std::atomic<NumberGone>* number_gone = nullptr);

/// Those of the two functions above that are about to sleep look once more, behind the store of number_gone; who is asleep
/// is not woken.
void stop_falling_asleep(dev::Bells& own_bells) noexcept;

/// Wakes every thread of this family that sleeps in one of the two functions above.
void wake_sleepers(dev::Bells& own_bells) noexcept;

/// FUTEX_WAIT on a shared word until it differs from `expected`; EINTR gives interrupted. A cancellation point.
WaitStatus futex_wait(std::atomic<std::uint32_t>& word,
                      std::uint32_t expected,
                      std::uint64_t deadline_ns);
void futex_wake_all(std::atomic<std::uint32_t>& word) noexcept;

}  // namespace smcd
