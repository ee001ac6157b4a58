#include "tests/diff/runner.hpp"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "tests/diff/describe.hpp"
#include "tests/diff/known.hpp"

namespace smcd::diff {
namespace {

using Clock = std::chrono::steady_clock;

bool has_time_limit(const Op& op) {
    switch (op.verb) {
    case Verb::setopt: {
        const OptionInfo& which = option(static_cast<std::size_t>(op.args[0]));
        return which.type == OptionType::milliseconds || which.type == OptionType::linger;
    }
    case Verb::poll:
    case Verb::ppoll:
    case Verb::epoll_wait:
        return op.args[1] != 0;
    default:
        return false;
    }
}

/// Calls that close what is in their slot, among them.
bool may_close(Verb verb) {
    return verb == Verb::close || verb == Verb::dup || verb == Verb::dup2 ||
           verb == Verb::connect || verb == Verb::accept;
}

/// A waiting receive may see the pieces of these one by one, and how many depends on the moment.
bool comes_in_pieces(const Op& op) {
    const bool has_flags = info(op.verb).kinds[1] == Kind::message_flags;
    return op.verb == Verb::sendmmsg || (has_flags && (op.args[1] & (MSG_MORE | MSG_OOB)) != 0);
}

} // namespace

void Runner::fail(std::size_t at, std::string what) {
    if (!over()) {
        result_.difference = Difference{at, std::move(what)};
    }
}

void Runner::post(std::size_t at_op, const Op& op) {
    Actor& actor = at(op.actor);
    actor.op = op;
    actor.began = at_op;
    Request request;
    request.op = op;
    request.look_too = !op.blind;
    worlds_[0]->post(op.actor, request);
    if (!shuffle_) {
        worlds_[1]->post(op.actor, request);
        return;
    }
    held_.insert((*shuffle_)() % 2 == 0 ? held_.begin() : held_.end(), {op.actor, request});
    if (!op.together) {
        post_held();
    }
}

void Runner::shuffle(unsigned seed) {
    shuffle_.emplace(seed);
    slowly_ = seed % 4 == 3;
}

/// Before the second world's next call. TCP's own timers: 40 ms for an acknowledgement, 200 ms for
/// what MSG_MORE holds back.
void Runner::pause() {
    constexpr std::array<int, 4> kShort{0, 0, 1, 3};
    constexpr std::array<int, 4> kLong{0, 10, 60, 250};
    const auto dice = (*shuffle_)() % kShort.size();
    const int milliseconds = slowly_ ? kLong[dice] : kShort[dice];
    if (milliseconds > 0) {
        ::poll(nullptr, 0, milliseconds);
    }
}

void Runner::post_held() {
    for (const auto& [actor, request] : std::exchange(held_, {})) {
        pause();
        worlds_[1]->post(actor, request);
    }
}

/// Fresh views of every process that can answer. false: one cannot.
bool Runner::look() {
    Request request;
    request.ask = Ask::look;
    for (int actor = 0; actor < kActors; ++actor) {
        if (at(actor).alive && !at(actor).blocked) {
            worlds_[0]->post(actor, request);
            worlds_[1]->post(actor, request);
        }
    }
    for (int actor = 0; actor < kActors; ++actor) {
        if (at(actor).alive && !at(actor).blocked) {
            if (collect(actor) != Wait::replied) {
                spoiled_ = true;
                return false;
            }
            at(actor).views = {replies_[0].views, replies_[1].views};
        }
    }
    return true;
}

std::optional<std::string> Runner::views_differ() const {
    std::string what;
    for (std::size_t actor = 0; actor < actors_.size(); ++actor) {
        const Actor& self = actors_[actor];
        for (std::size_t slot = 0; slot < kSlots && self.alive && !self.blocked; ++slot) {
            const View& plain = self.views[0][slot];
            const View& other = self.views[1][slot];
            if (!(plain == other)) {
                what += std::string("\n  ") + "ABab"[actor] + " " + std::to_string(slot) +
                        "\n    plain TCP:         " + describe(plain) +
                        "\n    under the library: " + describe(other);
            }
        }
    }
    return what.empty() ? std::nullopt : std::optional(what);
}

bool Runner::relative_waits_for_all(int actor) {
    const Actor& relative = at(actor ^ 2);
    return relative.alive && relative.blocked &&
           info(relative.op.verb).kinds[1] == Kind::message_flags &&
           (relative.op.args[1] & MSG_WAITALL) != 0;
}

/// Whether a view differs by bytes for which a relative waits with MSG_WAITALL, and that TCP has
/// given to it already.
bool Runner::bytes_wait_for_relative() {
    for (int actor = 0; actor < kActors; ++actor) {
        const Actor& self = at(actor);
        const bool looks = relative_waits_for_all(actor) && self.alive && !self.blocked;
        for (std::size_t slot = 0; slot < kSlots && looks; ++slot) {
            if (self.views[0][slot].unread < self.views[1][slot].unread) {
                return true;
            }
        }
    }
    return false;
}

/// Whether the views that differ lack the reset that a substitute does not draw.
bool Runner::only_resets_are_lacking() const {
    for (const Actor& self : actors_) {
        for (std::size_t slot = 0; slot < kSlots && self.alive && !self.blocked; ++slot) {
            const View& plain = self.views[0][slot];
            const View& other = self.views[1][slot];
            if (!(plain == other) && !lacks_reset(plain, other, past_)) {
                return false;
            }
        }
    }
    return true;
}

/// Waits until all descriptors look the same in both worlds.
void Runner::settle(std::size_t at_op) {
    const auto end = Clock::now() + patience;
    unsettled_ = false;
    for (int round = 0; !over(); ++round) {
        if (!look()) {
            fail(at_op, "a process does not answer");
            return;
        }
        const auto what = views_differ();
        if (!what) {
            return;
        }
        if (bytes_wait_for_relative()) {
            result_.known.emplace_back("wait_all");
            cut_ = true;
            return;
        }
        if (Clock::now() > end) {
            if (only_resets_are_lacking()) {
                result_.known.emplace_back("reset_of_a_substitute");
                cut_ = true;
                return;
            }
            fail(at_op, "the descriptors look otherwise:" + *what);
            return;
        }
        ::poll(nullptr, 0, round < 20 ? 0 : 1); // no event tells when TCP has calmed down
    }
}

void Runner::step(std::size_t at_op, const Op& op) {
    Actor& actor = at(op.actor);
    if (over() || !actor.alive || actor.blocked ||
        std::find(together_.begin(), together_.end(), op.actor) != together_.end()) {
        return;
    }
    const bool somebody_waits =
        std::any_of(actors_.begin(), actors_.end(), [](const Actor& one) { return one.blocked; });
    if (somebody_waits && comes_in_pieces(op)) {
        return;
    }
    const bool receives = op.verb >= Verb::recv && op.verb <= Verb::splice_in;
    if (receives && relative_waits_for_all(op.actor)) {
        return; // it may take what TCP has given to the other one already: known, "wait_all"
    }
    if (unsettled_ && !op.blind && together_.empty()) {
        settle(at_op);
        if (over()) {
            return;
        }
    }
    past_.left = past_.left || leads_to_tcp(op);
    past_.substituted = past_.substituted || (past_.ended && leads_to_tcp(op));
    past_.ended = past_.ended || may_close(op.verb) || op.verb == Verb::shutdown;
    past_.half_closed = past_.half_closed || op.verb == Verb::shutdown;
    past_.forked = past_.forked || op.verb == Verb::fork;
    past_.outer_edge =
        past_.outer_edge ||
        (op.verb == Verb::epoll_nest && (op.args[2] & std::int64_t{std::uint32_t{EPOLLET}}) != 0);
    past_.closed_of_several = past_.closed_of_several || (past_.forked && may_close(op.verb));
    spoiled_ =
        spoiled_ ||
        op.verb == Verb::exec; // the new image knows nothing of its listeners: all would be TCP
    post(at_op, op);
    together_.push_back(op.actor);
    if (op.together) {
        return;
    }
    std::reverse(together_.begin(), together_.end());
    for (const int posted : std::exchange(together_, {})) {
        finish(posted);
    }
    look_again_at_blocked();
    if (op.blind) {
        unsettled_ = true;
    } else {
        settle(at_op);
    }
}

/// A connection between two processes, or within one (then the accepted end is four slots on), with
/// a byte exchanged both ways if `args[2]` says so: then the handshake is over.
void Runner::open(std::size_t at_op, const Op& op) {
    Op connect = op;
    connect.verb = Verb::connect;
    connect.args = {op.args[0], op.args[1], 0};
    connect.blind = true;
    Op accept = connect;
    accept.verb = Verb::accept;
    accept.actor = static_cast<std::uint8_t>(op.args[0]);
    accept.slot =
        static_cast<std::uint8_t>(accept.actor == op.actor ? (op.slot + 4) % kSlots : op.slot);
    accept.args = {op.args[1], 0, 0};
    step(at_op, connect);
    step(at_op, accept);
    for (const Op* end : {&connect, &accept}) {
        Op transfer = *end;
        transfer.verb = Verb::send;
        transfer.args = {1, 0, 0};
        if (op.args[2] != 0) {
            step(at_op, transfer);
            const Op& receiver = end == &connect ? accept : connect;
            transfer.actor = receiver.actor;
            transfer.slot = receiver.slot;
            transfer.verb = Verb::recv;
            step(at_op, transfer);
            ++ends_;
        }
    }
    if (!op.blind && !over()) {
        settle(at_op);
    }
}

void Runner::begin() {
    for (World* world : worlds_) {
        world->start();
    }
    for (World* world : worlds_) {
        for (int child = 2; child < kActors; ++child) {
            while (world->take(child, replies_[0])) { // what a child said that was killed then
            }
        }
    }
    actors_.fill({});
    at(0).alive = at(1).alive = true;
    together_.clear();
    held_.clear();
    unsettled_ = cut_ = spoiled_ = timed_ = false;
    past_ = {};
    result_ = {};
}

/// Asks the processes that can hear to close everything. false: one did not.
bool Runner::reset(bool blocked_ones) {
    Request request;
    request.ask = Ask::reset;
    request.look_too = false;
    const auto chosen = [&](int actor) { return at(actor).blocked == blocked_ones; };
    for (int actor = 0; actor < 2; ++actor) {
        if (chosen(actor) && !blocked_ones) {
            worlds_[0]->post(actor, request);
            worlds_[1]->post(actor, request);
        }
    }
    bool done = true;
    for (int actor = 0; actor < 2; ++actor) {
        timed_ = true;
        done = done && (!chosen(actor) || collect(actor) == Wait::replied);
    }
    return done;
}

/// Makes the processes fit for the next program, or ends them.
void Runner::end() {
    spoiled_ = spoiled_ || !together_.empty();
    // Whoever is blocked wakes when the other side is closed, and can be asked then.
    spoiled_ = spoiled_ || !reset(false);
    if (!spoiled_ && (at(0).blocked || at(1).blocked)) {
        spoiled_ = !reset(true);
        at(0).blocked = at(1).blocked = false;
        spoiled_ = spoiled_ || !reset(false);
    }
    if (spoiled_) {
        worlds_[0]->let_go();
        worlds_[1]->let_go();
        worlds_[0]->kill();
        ends_counted_ += worlds_[1]->kill() ? ends_ : 0;
        ends_ = 0;
    }
}

void Runner::stop() {
    for (World* world : worlds_) {
        world->stop();
    }
    ends_counted_ += ends_;
    ends_ = 0;
}

Result Runner::run(const Program& program) {
    begin();
    for (const Op& op : program) {
        timed_ = timed_ || has_time_limit(op);
    }
    for (std::size_t i = 0; i < program.size() && !over(); ++i) {
        if (program[i].verb == Verb::open) {
            open(i, program[i]);
        } else {
            step(i, program[i]);
        }
    }
    post_held(); // the program may end with a call that another should go with
    if (!over()) {
        for (const int posted : std::exchange(together_, {})) {
            finish(posted);
        }
        look_again_at_blocked();
        settle(program.empty() ? 0 : program.size() - 1);
    }
    end();
    return std::move(result_);
}

} // namespace smcd::diff
