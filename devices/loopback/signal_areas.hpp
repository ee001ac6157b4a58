// SignalAreas: where the signal areas that we own are mapped, one per link, so that any thread can
// scan them without a lock. Floor 2. The addresses are reserved for good and recycled: when a link
// goes, empty anonymous memory replaces its area, and later another link's area that. A reader that
// is late by any time reads valid memory, at worst another link's hints.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "devices/loopback/signal_area.hpp"
#include "smcd/base/result.hpp"

namespace smcd::dev {

class SignalAreas {
public:
    /// Number of areas at once.
    static constexpr std::uint32_t kCapacity = 4096;
    /// What find_place() and IndexTable use for "none".
    static constexpr std::uint32_t kNone = ~0U;

    SignalAreas() = default;
    ~SignalAreas();
    SignalAreas(const SignalAreas&) = delete;
    SignalAreas& operator=(const SignalAreas&) = delete;

    /// Maps the area (a memfd of kSignalAreaBytes). Thread: one at a time (the device's lock).
    /// ENOSPC: kCapacity reached.
    Result<std::uint32_t> add(int memfd);
    /// Thread: one at a time.
    void remove(std::uint32_t place) noexcept;

    /// Calls f(place, area) for each area. Thread: any, lock-free.
    template <typename F>
    void for_each(F&& f) const {
        const std::uint32_t count = count_.load(std::memory_order_acquire); // sync: area-place
        for (std::uint32_t place = 0; place < count; ++place) {
            const auto& chunk = *chunks_[place / kChunk];
            if (!f(place, *chunk[place % kChunk].load(std::memory_order_acquire))) {
                return;
            }
        }
    }

private:
    static constexpr std::uint32_t kChunk = 64;
    using Chunk = std::array<std::atomic<SignalArea*>, kChunk>;

    [[nodiscard]] Result<std::uint32_t> reserve();

    /// Places 0 .. count_ - 1 are mapped; a chunk is there before count_ says so, and never
    /// changes.
    std::array<std::unique_ptr<Chunk>, kCapacity / kChunk> chunks_;
    std::atomic<std::uint32_t> count_{0};
    std::uint32_t reserved_ = 0; ///< places that have an address; count_ <= reserved_
    std::vector<bool> taken_;
};

} // namespace smcd::dev
