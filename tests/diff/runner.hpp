// Runs a program in two worlds at once, call by call, and compares what both showed. Room
// tests/diff, no protocol section.
#pragma once

#include <chrono>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "tests/diff/known.hpp"
#include "tests/diff/worlds.hpp"

namespace smcd::diff {

struct Difference {
    std::size_t at = 0; ///< the call behind which it was seen
    std::string what;
};

struct Result {
    std::optional<Difference> difference;
    std::vector<std::string> known; ///< names of tolerated differences (known.hpp)
};

class Runner {
public:
    Runner(World& plain, World& other) : worlds_{&plain, &other} {}

    /// How long both worlds may take to show the same; a watchdog, not an expectation.
    std::chrono::milliseconds patience{2000};

    /// Connections that were opened in order, both ends counted, in processes that ended in order.
    [[nodiscard]] std::uint64_t connection_ends() const { return ends_counted_; }

    Result run(const Program& program);
    /// From now on the second world waits a random while before each call, and begins calls that
    /// go together in either order. What TCP shows then depends on no moment, or differs.
    void shuffle(unsigned seed);
    void stop();

private:
    enum class Wait { replied, blocked, gone, differs };

    struct Actor {
        bool alive = false;
        bool blocked = false;
        Op op;                 ///< under way
        std::size_t began = 0; ///< position in the program
        std::array<std::array<View, kSlots>, 2> views{};
    };

    void begin();
    bool reset(bool blocked_ones);
    void end();
    void step(std::size_t at, const Op& op);
    void open(std::size_t at, const Op& op);
    void post(std::size_t at, const Op& op);
    Wait collect(int actor);
    void finish(int actor);
    void compare(int actor, const Outcome& plain, const Outcome& other);
    void ended(int actor);
    void look_again_at_blocked();
    void pause();
    void post_held();
    void settle(std::size_t at);
    bool look();
    std::optional<std::string> views_differ() const;
    bool relative_waits_for_all(int actor);
    bool bytes_wait_for_relative();
    bool only_resets_are_lacking() const;
    bool repeat_until_equal(int actor);
    void fail(std::size_t at, std::string what);

    [[nodiscard]] bool over() const { return result_.difference.has_value() || cut_; }

    Actor& at(int actor) { return actors_[static_cast<std::size_t>(actor)]; }

    std::array<World*, 2> worlds_;
    std::array<Actor, kActors> actors_;
    std::array<Reply, 2> replies_;
    std::vector<int> together_; ///< posted and not collected
    std::optional<std::mt19937> shuffle_;
    bool slowly_ = false;
    std::vector<std::pair<int, Request>> held_; ///< for the second world, not posted yet
    bool timed_ = false;                        ///< a call may end by its time limit
    bool unsettled_ = false;                    ///< behind a blind call
    Past past_;
    bool cut_ = false;     ///< a known difference ended the comparison
    bool spoiled_ = false; ///< the processes cannot serve another program
    std::uint64_t ends_ = 0;
    std::uint64_t ends_counted_ = 0;
    Result result_;
};

} // namespace smcd::diff
