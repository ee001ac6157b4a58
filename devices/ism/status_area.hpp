// StatusArea: the signal-bit area of an ISM device, one page that all writers of its DMBs share.
// Floor 2, docs/protocol.md "devices". Laid out as the hardware's:
//
//   offset   size      field   meaning
//        0      4      summary 0x80000000: look at the bits; 0x40000000: look at the event queue
//        4     60 x 4  bits    DMB i: word i / 32, bit i % 32 from the most significant
//      244     12      -
//      256   1920 x 2  masks   which elements of the DMB were signalled; 0x8000 is element 0
//
// Writers go upwards: mask, bit, summary; the reader downwards, each by exchange. Several signals
// may merge; none is lost: whoever finds the summary unset has its mask read later.
// sync: sba-bit. Raising releases what was written into the DMB; taking acquires it.
//
// Any peer may write anything here: what is taken is a hint, checked against our own tables.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "smcd/base/ids.hpp"

namespace smcd::dev {

inline constexpr std::uint32_t kIsmDmbCount = 1920;
/// The first indices are not used.
inline constexpr std::uint32_t kIsmReservedDmbs = 32;

struct StatusArea {
    static constexpr std::uint32_t kSummary = 0x80000000U;
    static constexpr std::uint32_t kEvent = 0x40000000U;
    static constexpr std::uint32_t kWordBits = 32;

    std::atomic<std::uint32_t> summary;
    std::array<std::atomic<std::uint32_t>, kIsmDmbCount / kWordBits> bits;
    std::array<std::uint32_t, 3> reserved;
    std::array<std::atomic<std::uint16_t>, kIsmDmbCount> masks;

    /// false: it was raised already, and this signal merges with that one. Thread: any.
    bool raise(SbaIndex index, std::uint16_t mask) noexcept {
        const std::uint32_t i = index.value() % kIsmDmbCount;
        const std::uint32_t bit = kSummary >> (i % kWordBits);
        masks[i].fetch_or(mask, std::memory_order_seq_cst); // sync: sba-bit
        const std::uint32_t before = bits[i / kWordBits].fetch_or(bit, std::memory_order_seq_cst);
        summary.fetch_or(kSummary, std::memory_order_seq_cst);
        return (before & bit) == 0;
    }

    /// Takes one DMB's signal without looking at the others.
    void clear(SbaIndex index) noexcept {
        const std::uint32_t i = index.value() % kIsmDmbCount;
        bits[i / kWordBits].fetch_and(~(kSummary >> (i % kWordBits)), std::memory_order_seq_cst);
        masks[i].store(0, std::memory_order_seq_cst);
    }

    /// Takes all signals; calls f(index, mask) for each DMB. What comes meanwhile is taken now or
    /// leaves the summary set.
    template <typename F>
    void take(F&& f) noexcept {
        summary.fetch_and(~kSummary, std::memory_order_seq_cst); // sync: sba-bit
        for (std::uint32_t word = 0; word < bits.size(); ++word) {
            std::uint32_t raised = bits[word].exchange(0, std::memory_order_seq_cst);
            for (; raised != 0;) {
                const auto bit = static_cast<std::uint32_t>(std::countl_zero(raised));
                raised &= ~(kSummary >> bit);
                const std::uint32_t index = word * kWordBits + bit;
                f(SbaIndex(index), masks[index].exchange(0, std::memory_order_seq_cst));
            }
        }
    }
};

static_assert(sizeof(StatusArea) == 4096 && offsetof(StatusArea, bits) == 4);
static_assert(offsetof(StatusArea, masks) == 256);

} // namespace smcd::dev
