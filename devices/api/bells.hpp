// Bells: the wake-up suppression words that travel with each attached DMB.
// Floor 1. An extension of ours, outside the protocol's DMB: it sits in the device's private page
// in front of it (docs/shared-memory.md). Used only on devices that support attach.
//
//   page of DMB X, owned by A, attached by B: B writes X's ring, A the ring of B's own DMB
//
//   offset size  field      writer            read by B: meaning
//        0    8  doors_in   A sets, B clears  doorbells of A to signal when B has published data
//        8    8  doors_out  A sets, B clears  doorbells of A to signal when B has freed space
//       16    4  futex_in   A sets, B clears  not 0: a thread of A sleeps on it, waiting for data
//       20    4  futex_out  A sets, B clears  not 0: a thread of A sleeps on it, waiting for space
//       24    4  cpu        A                 CPU on which A last looked for work (for spinning)
//       64    8  consumed   A                 A's exact consumer position, read once A is dead
//
// Every word is a hint: B may write anything at any time, and A looks at the cursors again after
// each wake-up.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace smcd::dev {

// NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): fields of one reader share a line
struct alignas(64) Bells {
    std::atomic<std::uint64_t> doors_in;
    std::atomic<std::uint64_t> doors_out;
    std::atomic<std::uint32_t> futex_in;
    std::atomic<std::uint32_t> futex_out;
    std::atomic<std::uint32_t> cpu;
    alignas(64) std::atomic<std::uint64_t> consumed;
};

static_assert(sizeof(Bells) == 128);
static_assert(offsetof(Bells, doors_out) == 8 && offsetof(Bells, futex_in) == 16);
static_assert(offsetof(Bells, consumed) == 64);
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

} // namespace smcd::dev
