// SignalArea: the signal bits that one peer process raises for us, one section per doorbell.
// Floor 2, docs/shared-memory.md "signal bits". Modelled on the ISM device's signal-bit area: a bit
// per DMB, a summary above.
//
//   offset   size         field        meaning
//        0   64 x 64      any[door]    1: something is raised for that doorbell; a line each
//     4096   64 x 128     summary      bit w: word w of bits[door] may be non-zero
//    12288   64 x 8192    bits[door]   bit i: the DMB with index i on our device
//
// Owned and read by the process that created it, written by one peer; both map it writable. Raising
// goes bottom-up, harvesting top-down with exchange(0). All accesses are seq_cst: a writer that
// finds a level still set knows that the harvester has not yet come to the words below it.
//
// sync: signal-bit. Raising releases what was written into the DMB; harvesting acquires it.
//
// The peer may write anything at any time: what is harvested is a hint about a DMB, checked against
// our own tables.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "devices/api/doorbell.hpp"
#include "smcd/base/ids.hpp"

namespace smcd::dev {

inline constexpr std::uint32_t kSignalIndexCount = 65536;
inline constexpr std::size_t kSignalWordBits = 64;
inline constexpr std::size_t kSignalWordCount = kSignalIndexCount / kSignalWordBits;
inline constexpr std::size_t kSummaryWordCount = kSignalWordCount / kSignalWordBits;

struct alignas(64) SignalArea {
    using Word = std::atomic<std::uint64_t>;

    struct alignas(64) Any {
        Word word;
    };

    std::array<Any, kDoorbellCount> any;
    std::array<std::array<Word, kSummaryWordCount>, kDoorbellCount> summary;
    std::array<std::array<Word, kSignalWordCount>, kDoorbellCount> bits;

    /// Raises the bit of `index` for `door`. Thread: any. Then the full fence, then look at the
    /// doorbell.
    void raise(unsigned door, SbaIndex index) noexcept;

    /// Whether harvest(door) would find something.
    [[nodiscard]] bool has_signal(unsigned door) const noexcept {
        return any[door].word.load(std::memory_order_relaxed) != 0;
    }

    /// Takes all bits of `door`, each word at most once, and calls on_index with each index.
    template <typename OnIndex>
    void harvest(unsigned door, OnIndex&& on_index);
    template <typename OnIndex>
    void harvest_word(unsigned door, std::size_t word, OnIndex& on_index);
};

inline constexpr std::size_t kSignalAreaBytes = sizeof(SignalArea);
static_assert(offsetof(SignalArea, summary) == 4096 && offsetof(SignalArea, bits) == 12288);
static_assert(kSignalAreaBytes == 12288 + 64 * 8192 && kSignalAreaBytes % 4096 == 0);

inline void SignalArea::raise(unsigned door, SbaIndex index) noexcept {
    const std::size_t bit = index.value() % kSignalIndexCount;
    const std::size_t word = bit / kSignalWordBits;
    const std::uint64_t in_word = std::uint64_t{1} << (bit % kSignalWordBits);
    const std::uint64_t in_summary = std::uint64_t{1} << (word % kSignalWordBits);
    Word& above = summary[door][word / kSignalWordBits];
    Word& top = any[door].word;
    // sync: signal-bit. The levels above are looked at even when the bit was set before: whoever
    // set it may have been stopped in between.
    bits[door][word].fetch_or(in_word, std::memory_order_seq_cst);
    if ((above.load(std::memory_order_seq_cst) & in_summary) == 0) {
        above.fetch_or(in_summary, std::memory_order_seq_cst);
    }
    if (top.load(std::memory_order_seq_cst) == 0) {
        top.store(1, std::memory_order_seq_cst);
    }
}

/// Calls f with the number of each bit that is set.
template <typename F>
void for_each_bit(std::uint64_t word, F&& f) {
    for (; word != 0; word &= word - 1) {
        f(static_cast<std::size_t>(std::countr_zero(word)));
    }
}

template <typename OnIndex>
void SignalArea::harvest(unsigned door, OnIndex&& on_index) {
    any[door].word.exchange(0, std::memory_order_seq_cst); // sync: signal-bit
    for (std::size_t group = 0; group < kSummaryWordCount; ++group) {
        Word& above = summary[door][group];
        if (above.load(std::memory_order_seq_cst) != 0) {
            const std::uint64_t words = above.exchange(0, std::memory_order_seq_cst);
            for_each_bit(words, [&](std::size_t in_group) {
                harvest_word(door, group * kSignalWordBits + in_group, on_index);
            });
        }
    }
}

template <typename OnIndex>
void SignalArea::harvest_word(unsigned door, std::size_t word, OnIndex& on_index) {
    for_each_bit(bits[door][word].exchange(0, std::memory_order_seq_cst), [&](std::size_t bit) {
        on_index(SbaIndex(static_cast<std::uint32_t>(word * kSignalWordBits + bit)));
    });
}

} // namespace smcd::dev
