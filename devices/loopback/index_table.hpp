// IndexTable: the indices of our DMBs (SbaIndex), and which link each belongs to. Floor 2.
// Lowest free index first, so that few pages of the signal areas are touched. Looking up needs no
// lock: harvesting asks for every bit that a peer raised whether the DMB exists and is that peer's.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

#include "devices/loopback/signal_area.hpp"
#include "smcd/base/ids.hpp"
#include "smcd/base/result.hpp"

namespace smcd::dev {

class IndexTable {
public:
    /// Takes the lowest free index below `limit` for the link at `place`. Thread: one at a time
    /// (the device's lock). ENOSPC: none is left; ENOMEM.
    [[nodiscard]] Result<SbaIndex> take(std::uint32_t limit, std::uint32_t place) {
        const std::size_t words = (limit + kSignalWordBits - 1) / kSignalWordBits;
        for (std::size_t word = first_free_word_; word < words; ++word) {
            if (used_[word] == ~0ULL) {
                continue;
            }
            first_free_word_ = word;
            const auto bit = static_cast<std::size_t>(std::countr_one(used_[word]));
            const std::size_t index = word * kSignalWordBits + bit;
            if (index >= limit || !grow_to(index)) {
                return Error(index >= limit ? std::errc::no_space_on_device
                                            : std::errc::not_enough_memory);
            }
            entry(index).store(place + 1, std::memory_order_release); // sync: index-owner
            used_[word] |= 1ULL << bit;
            return SbaIndex(static_cast<std::uint32_t>(index));
        }
        return Error(std::errc::no_space_on_device);
    }

    /// Never hands out the first `count` (at most 64). Before the first take().
    void reserve(std::uint32_t count) noexcept {
        used_[0] |= count >= kSignalWordBits ? ~0ULL : (1ULL << count) - 1;
    }

    /// Thread: one at a time.
    void give_back(SbaIndex index) noexcept {
        const std::size_t word = index.value() / kSignalWordBits;
        entry(index.value()).store(0, std::memory_order_release); // sync: index-owner
        used_[word] &= ~(1ULL << (index.value() % kSignalWordBits));
        first_free_word_ = word < first_free_word_ ? word : first_free_word_;
    }

    /// Whether `index` is in use by the link at `place`. Thread: any, lock-free; any index may be
    /// asked for.
    [[nodiscard]] bool belongs(SbaIndex index, std::uint32_t place) const noexcept {
        if (index.value() >= kSignalIndexCount) {
            return false;
        }
        const Chunk* chunk = chunks_[index.value() / kChunk].load(std::memory_order_acquire);
        return chunk != nullptr &&
               (*chunk)[index.value() % kChunk].load(std::memory_order_acquire) == place + 1;
    }

    IndexTable() = default;
    IndexTable(const IndexTable&) = delete;
    IndexTable& operator=(const IndexTable&) = delete;

private:
    static constexpr std::size_t kChunk = 1024;
    using Chunk = std::array<std::atomic<std::uint32_t>, kChunk>; // place + 1; 0: free

    [[nodiscard]] bool grow_to(std::size_t index) noexcept {
        std::unique_ptr<Chunk>& owned = owned_[index / kChunk];
        if (owned == nullptr) {
            // NOLINTNEXTLINE(cppcoreguidelines-owning-memory): make_unique would throw
            owned.reset(new (std::nothrow) Chunk());
            chunks_[index / kChunk].store(owned.get(), std::memory_order_release);
        }
        return owned != nullptr;
    }

    std::atomic<std::uint32_t>& entry(std::size_t index) noexcept {
        return (*owned_[index / kChunk])[index % kChunk];
    }

    std::array<std::uint64_t, kSignalWordCount> used_{};
    std::size_t first_free_word_ = 0; ///< no free index in the words before
    std::array<std::atomic<Chunk*>, kSignalIndexCount / kChunk> chunks_{};
    std::array<std::unique_ptr<Chunk>, kSignalIndexCount / kChunk> owned_;
};

} // namespace smcd::dev
