// Every interleaving of a return to TCP; and that the check finds errors. Room tests/model.
#include <deque>
#include <unordered_map>

#include <gtest/gtest.h>

#include "tests/model/return_model.hpp"

namespace smcd::model {
namespace {

struct Explored {
    std::size_t states = 0;
    std::string error; ///< what was broken first, and the way there
};

class Explorer {
public:
    explicit Explorer(const Limits& limits) : limits_(limits) {}

    Explored run() {
        visit(State{}, "", "");
        while (!queue_.empty() && result_.error.empty()) {
            const State state = queue_.front();
            queue_.pop_front();
            const std::string from = key(state);
            const std::vector<Step> next = steps(state, limits_);
            for (const Step& step : next) {
                if (!step.error.empty()) {
                    fail(step.error, from, step.name);
                    break;
                }
                visit(step.next, from, step.name);
            }
            if (next.empty()) {
                if (const std::string what = stuck(state, limits_); !what.empty()) {
                    fail(what, from, "nothing is possible any more");
                }
            }
        }
        result_.states = seen_.size();
        return result_;
    }

private:
    void visit(const State& state, const std::string& from, const std::string& name) {
        if (seen_.emplace(key(state), std::pair(from, name)).second) {
            queue_.push_back(state);
        }
    }

    void fail(const std::string& what, std::string at, const std::string& last) {
        if (!result_.error.empty()) {
            return;
        }
        std::string way = last;
        while (!at.empty()) {
            const auto& [from, name] = seen_.at(at);
            way.insert(0, name + "\n");
            at = from;
        }
        result_.error = what + " after:\n" + way;
    }

    const Limits& limits_;
    std::deque<State> queue_;
    std::unordered_map<std::string, std::pair<std::string, std::string>> seen_;
    Explored result_;
};

void expect_sound(const Limits& limits, std::size_t states_min) {
    const Explored explored = Explorer(limits).run();
    EXPECT_EQ(explored.error, "");
    EXPECT_GT(explored.states, states_min); // it has looked at more than a corner
    std::printf("%zu states\n", explored.states);
}

void expect_found(Mutation mutation) {
    for (const bool death : {false, true}) {
        const Limits limits{.may_die = death, .mutation = mutation};
        const Explored explored = Explorer(limits).run();
        if (!explored.error.empty()) {
            return;
        }
    }
    FAIL() << "mutation " << static_cast<int>(mutation) << " was not noticed";
}

TEST(ReturnModel, BothSidesLive) {
    expect_sound({}, 5000);
}

TEST(ReturnModel, TcpHoldsHardlyAnything) {
    expect_sound({.tcp_items = 2}, 5000);
}

TEST(ReturnModel, OneSideDies) {
    expect_sound({.may_die = true}, 5000);
}

TEST(ReturnModel, OneSideCloses) {
    expect_sound({.may_close = true}, 5000);
}

TEST(ReturnModel, EveryMutationIsNoticed) {
    for (const Mutation mutation : {Mutation::replay_from_known_cursor,
                                    Mutation::send_before_replay,
                                    Mutation::read_while_returning,
                                    Mutation::answer_without_freeze,
                                    Mutation::end_before_replay,
                                    Mutation::ignore_crossing_frame,
                                    Mutation::forget_ring_on_hangup}) {
        expect_found(mutation);
    }
}

} // namespace
} // namespace smcd::model
