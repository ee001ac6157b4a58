// LocalSignals: which sockets an event inside this process concerns, for each doorbell. Floor 3,
// docs/architecture.md "many connections". What the signal bits of a device are to peers
// (devices/loopback/signal_area.hpp), in private memory: bits of socket numbers in three levels.
//
//   Process::wake_local()                      the waiting set of the doorbell
//   change the state, clear the doors word     arm the doors word, full fence, look at the state
//   raise() from the bottom up                 harvest() from the top down, by exchange
//   ring the doorbell
//
// sync: local-signal. All accesses are seq_cst: who finds a level still set knows that the
// harvester has not yet come to the words below it. Raising takes no lock, and may happen in a
// signal handler.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

#include "devices/api/doorbell.hpp"

namespace smcd {

class LocalSignals {
public:
    /// Sockets with a higher number are never signalled.
    static constexpr std::uint32_t kCapacity = 131072;

    LocalSignals() = default;
    LocalSignals(const LocalSignals&) = delete;
    LocalSignals& operator=(const LocalSignals&) = delete;

    ~LocalSignals() {
        for (std::atomic<Tree*>& tree : trees_) {
            delete tree.load(std::memory_order_relaxed);
        }
    }

    /// Makes room for the signals of that doorbell, once. false: no memory. Thread: the doorbell's
    /// owner.
    bool open(unsigned door) noexcept {
        std::atomic<Tree*>& tree = trees_[door];
        if (tree.load(std::memory_order_relaxed) == nullptr) {
            // NOLINTNEXTLINE(cppcoreguidelines-owning-memory): make_unique would throw
            tree.store(new (std::nothrow) Tree(), std::memory_order_release);
        }
        return tree.load(std::memory_order_relaxed) != nullptr;
    }

    /// Thread: any. Then ring the doorbell.
    void raise(unsigned door, std::uint32_t number) noexcept {
        Tree* tree = trees_[door].load(std::memory_order_acquire);
        if (tree == nullptr || number >= kCapacity) {
            return;
        }
        const std::size_t word = number / kWordBits;
        tree->bits[word].fetch_or(bit(number), std::memory_order_seq_cst);
        tree->summary[word / kWordBits].fetch_or(bit(word), std::memory_order_seq_cst);
        tree->any.store(1, std::memory_order_seq_cst); // sync: local-signal
    }

    /// Whether harvest() would find something.
    [[nodiscard]] bool has_signal(unsigned door) const noexcept {
        const Tree* tree = trees_[door].load(std::memory_order_acquire);
        return tree != nullptr && tree->any.load(std::memory_order_relaxed) != 0;
    }

    /// Takes the signals of that doorbell and calls on_number with each socket number.
    template <typename OnNumber>
    void harvest(unsigned door, OnNumber&& on_number) {
        Tree* tree = trees_[door].load(std::memory_order_acquire);
        if (tree == nullptr || tree->any.exchange(0, std::memory_order_seq_cst) == 0) {
            return;
        }
        for (std::size_t group = 0; group < kSummaries; ++group) {
            if (tree->summary[group].load(std::memory_order_seq_cst) == 0) {
                continue;
            }
            each_bit(tree->summary[group].exchange(0, std::memory_order_seq_cst), [&](auto at) {
                const std::size_t word = group * kWordBits + at;
                each_bit(tree->bits[word].exchange(0, std::memory_order_seq_cst),
                         [&](auto in_word) {
                             on_number(static_cast<std::uint32_t>(word * kWordBits + in_word));
                         });
            });
        }
    }

private:
    static constexpr std::size_t kWordBits = 64;
    static constexpr std::size_t kWords = kCapacity / kWordBits;
    static constexpr std::size_t kSummaries = kWords / kWordBits;

    struct Tree {
        alignas(64) std::atomic<std::uint64_t> any{0};
        alignas(64) std::array<std::atomic<std::uint64_t>, kSummaries> summary{};
        alignas(64) std::array<std::atomic<std::uint64_t>, kWords> bits{};
    };

    static constexpr std::uint64_t bit(std::size_t number) noexcept {
        return std::uint64_t{1} << (number % kWordBits);
    }

    template <typename F>
    static void each_bit(std::uint64_t word, F&& f) {
        for (; word != 0; word &= word - 1) {
            f(static_cast<std::size_t>(std::countr_zero(word)));
        }
    }

    std::array<std::atomic<Tree*>, dev::kDoorbellCount> trees_{}; ///< made at the first need, kept
};

} // namespace smcd
