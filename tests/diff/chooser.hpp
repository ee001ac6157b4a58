// What the parts of the generator share: chance, the program so far, and what is roughly open. Room
// tests/diff, no protocol section.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <random>

#include "tests/diff/program.hpp"

namespace smcd::diff {

class Chooser {
public:
    explicit Chooser(std::uint64_t seed) : random_(seed) {}

protected:
    bool chance(unsigned percent) { return random_() % 100 < percent; }

    std::int64_t below(std::int64_t n) {
        return static_cast<std::int64_t>(random_() % static_cast<std::uint64_t>(n));
    }

    template <typename T>
    T one_of(std::initializer_list<T> values) {
        return values.begin()[random_() % values.size()];
    }

    Op& add(Verb verb, int actor, int slot, std::array<std::int64_t, 3> args = {}) {
        Op op;
        op.verb = verb;
        op.actor = static_cast<std::uint8_t>(actor);
        op.slot = static_cast<std::uint8_t>(slot);
        op.args = args;
        return program_.emplace_back(op);
    }

    bool& is_open(int actor, int slot) { return open_[actor % 2][slot]; }

    /// Somebody with an open descriptor.
    bool choose(int& actor, int& slot) {
        for (int tries = 0; tries < 20; ++tries) {
            actor = static_cast<int>(below(2));
            slot = chance(75) ? 0 : static_cast<int>(below(kSlots));
            if (is_open(actor, slot)) {
                if (child_[actor] && chance(50)) {
                    actor += 2;
                }
                return true;
            }
        }
        return chance(5); // now and then a closed one
    }

    std::int64_t size() {
        const std::int64_t top = one_of<std::int64_t>({1, 2, 8, 20, 20, 100, 600, 600, 3000});
        return chance(4) ? 0 : 1 + below(top);
    }

    /// A close that crosses the handshake may reach the peer as a reset: docs/known-differences.md,
    /// "Ends".
    [[nodiscard]] bool may_close() const {
        const auto settled = std::find_if(program_.rbegin(), program_.rend(), [](const Op& op) {
            return op.verb == Verb::open || op.verb == Verb::accept || op.verb == Verb::connect;
        });
        return warm_ || std::count_if(program_.rbegin(), settled, [](const Op& op) {
                            return !op.blind;
                        }) >= 3;
    }

    std::mt19937_64 random_;
    Program program_;
    bool warm_ = true;
    bool forked_ = false;
    bool urgent_ = false; ///< a byte was sent with MSG_OOB
    bool intact_ = true;  ///< nothing has ended yet, nobody sends to itself
    std::array<std::array<bool, kSlots>, 2> open_{};
    std::array<bool, 2> child_{};
    std::array<std::int64_t, 2> sets_{};
    std::array<std::int64_t, 2> sent_{};
    std::array<std::int64_t, 2> waiting_{}; ///< about so many bytes wait for this side
};

} // namespace smcd::diff
