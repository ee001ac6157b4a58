// The Runner's waiting for replies, and what it makes of them. Room tests/diff, no protocol
// section.
#include <poll.h>

#include <utility>

#include "tests/diff/describe.hpp"
#include "tests/diff/known.hpp"
#include "tests/diff/runner.hpp"

namespace smcd::diff {
namespace {

using Clock = std::chrono::steady_clock;

/// A process that was seen asleep this often in a row, a millisecond apart, is blocked in its call
/// ...
constexpr int kAsleepEnough = 3;
/// ... unless its call may have a time limit: then after this time.
constexpr std::chrono::milliseconds kTimedCall{100};

/// Whether the call may wait for the other process. All else returns, sooner or later.
bool may_block(Verb verb) {
    return (verb >= Verb::send && verb <= Verb::splice_in) || verb == Verb::close ||
           verb == Verb::dup2 || verb == Verb::dprintf;
}

} // namespace

/// Waits until both worlds' process has replied, or sleeps in its call in both. Fills replies_.
Runner::Wait Runner::collect(int actor) {
    std::array<bool, 2> have{};
    const auto began = Clock::now();
    int asleep = 0;
    for (;;) {
        std::array<pollfd, 2> waits{};
        for (std::size_t w = 0; w < 2; ++w) {
            have[w] = have[w] || worlds_[w]->take(actor, replies_[w]);
            waits[w] = {have[w] ? -1 : worlds_[w]->descriptor(actor), POLLIN, 0};
        }
        const bool one_gone = worlds_[0]->gone(actor) || worlds_[1]->gone(actor);
        if (have[0] && have[1]) {
            return Wait::replied;
        }
        if (worlds_[0]->gone(actor) && worlds_[1]->gone(actor)) {
            return Wait::gone;
        }
        const auto waited = Clock::now() - began;
        if (!have[0] && !have[1] && !one_gone && may_block(at(actor).op.verb)) {
            const bool sleeps = worlds_[0]->asleep(actor) && worlds_[1]->asleep(actor);
            asleep = sleeps ? asleep + 1 : 0;
            if (asleep >= kAsleepEnough && (!timed_ || waited > kTimedCall)) {
                return Wait::blocked;
            }
        }
        if (waited > patience && (have[0] || have[1] || one_gone || waited > 10 * patience)) {
            return Wait::differs;
        }
        ::poll(waits.data(), waits.size(), asleep == 0 ? 2 : 1);
    }
}

bool Runner::repeat_until_equal(int actor) {
    const auto end = Clock::now() + patience;
    while (Clock::now() < end) {
        ::poll(nullptr, 0, 1); // no event tells when TCP has calmed down
        post(at(actor).began, at(actor).op);
        if (collect(actor) != Wait::replied) {
            spoiled_ = true;
            return false;
        }
        if (replies_[0].outcome == replies_[1].outcome) {
            return true;
        }
    }
    return false;
}

void Runner::compare(int actor, const Outcome& plain, const Outcome& other) {
    if (plain == other) {
        return;
    }
    const Op op = at(actor).op;
    const Known known = known_outcome(op, plain, other, past_);
    if (known.name != nullptr) {
        result_.known.emplace_back(known.name);
        cut_ = cut_ || known.ends;
        return;
    }
    if (info(op.verb).query && repeat_until_equal(actor)) {
        return;
    }
    fail(at(actor).began,
         to_text(op) + "\n  plain TCP:         " + describe(replies_[0].outcome) +
             "\n  under the library: " + describe(replies_[1].outcome));
}

void Runner::ended(int actor) {
    at(actor).alive = false;
    if (actor < 2) {
        spoiled_ = true;
    }
}

/// The call of this process is over, or blocks, in both worlds.
void Runner::finish(int actor) {
    Actor& self = at(actor);
    switch (collect(actor)) {
    case Wait::blocked:
        self.blocked = true;
        return;
    case Wait::gone:
        ended(actor);
        worlds_[0]->await_end(actor); // its listeners are closed, too, then
        worlds_[1]->await_end(actor);
        if (self.op.verb != Verb::exit) {
            fail(self.began, to_text(self.op) + "\n  ended both processes");
        }
        return;
    case Wait::differs: {
        spoiled_ = true;
        std::string what = to_text(self.op);
        for (std::size_t w = 0; w < 2; ++w) {
            what += w == 0 ? "\n  plain TCP:         " : "\n  under the library: ";
            what +=
                worlds_[w]->gone(actor) ? "the process has ended" : "no end, or the other has none";
        }
        what += "\n  the last reply: " + describe(replies_[0].outcome) + " / " +
                describe(replies_[1].outcome);
        fail(self.began, what);
        return;
    }
    case Wait::replied:
        break;
    }
    self.blocked = false;
    compare(actor, replies_[0].outcome, replies_[1].outcome);
    if (!self.op.blind) {
        self.views = {replies_[0].views, replies_[1].views};
    }
    const bool done = replies_[0].outcome.value >= 0 && replies_[1].outcome.value >= 0;
    if (self.op.verb == Verb::fork && done) {
        at(actor + 2).alive = true;
    } else if ((self.op.verb == Verb::reap || self.op.verb == Verb::kill) && done) {
        at(actor + 2).alive = false;
        at(actor + 2).blocked = false;
    }
}

void Runner::look_again_at_blocked() {
    for (int actor = 0; actor < kActors && !over(); ++actor) {
        if (at(actor).alive && at(actor).blocked) {
            finish(actor);
        }
    }
}

} // namespace smcd::diff
