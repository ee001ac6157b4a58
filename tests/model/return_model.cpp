#include "tests/model/return_model.hpp"

#include <algorithm>
#include <functional>
#include <utility>

namespace smcd::model {
namespace {

class Mover {
public:
    Mover(const State& state, const Limits& limits) : state_(state), limits_(limits) {}

    std::vector<Step> run() {
        for (std::size_t i = 0; i < 2; ++i) {
            if (state_.side[i].phase != Phase::dead) {
                application(i);
                progress(i);
            }
        }
        return std::move(found_);
    }

private:
    [[nodiscard]] bool is(Mutation mutation) const { return limits_.mutation == mutation; }

    /// Performs a step on a copy of the state.
    void add(const char* name,
             std::size_t i,
             const std::function<void(Side& self, Side& peer, std::string& error)>& change) {
        Step step{std::string(1, static_cast<char>('0' + i)) + " " + name, state_, {}};
        change(step.next.side[i], step.next.side[1 - i], step.error);
        found_.push_back(std::move(step));
    }

    [[nodiscard]] bool has_room(const Side& receiver) const {
        return receiver.inbound.size() < limits_.tcp_items;
    }

    static bool front_is(const Side& self, Kind kind) {
        return !self.inbound.empty() && self.inbound.front().kind == kind;
    }

    static void take(Side& self) { self.inbound.erase(self.inbound.begin()); }

    /// What TCP delivers to a side that is gone draws a reset; nothing else.
    static void put(Side& receiver, Item item) {
        if (receiver.phase != Phase::dead) {
            receiver.inbound.push_back(item);
        }
    }

    /// The application reads byte `number`: it must be the next.
    static void deliver(Side& self, std::uint8_t number, std::string& error) {
        if (number != self.read) {
            error = "byte " + std::to_string(number) + " read as byte " + std::to_string(self.read);
        }
        if (self.saw_end) {
            error = "a byte behind the end";
        }
        ++self.read;
    }

    void application(std::size_t i) {
        const Side& self = state_.side[i];
        if (self.closed) {
            return;
        }
        send(i);
        receive(i);
        if (!self.shut && self.sent == limits_.bytes && self.phase != Phase::answered) {
            add("shuts down", i, [&](Side& me, Side& peer, std::string&) {
                me.shut = true;
                if (me.phase == Phase::tcp) {
                    put(peer, {Kind::fin, 0, 0});
                }
            });
        }
        const bool peer_gone = state_.side[1 - i].closed || state_.side[1 - i].phase == Phase::dead;
        if (self.phase == Phase::smc && !self.hangup && !(peer_gone && !has_news(i))) {
            add("returns", i, [&](Side& me, Side& peer, std::string&) { begin(me, peer); });
        }
        if (i == 1 && limits_.may_close && (self.phase == Phase::smc || self.phase == Phase::tcp)) {
            add("closes", i, [&](Side& me, Side& peer, std::string&) { end(me, peer, true); });
        }
        if (i == 1 && limits_.may_die) {
            add("dies", i, [&](Side& me, Side& peer, std::string&) { end(me, peer, false); });
        }
    }

    /// Whether the peer's end is not known here yet: only then can a return begin beside it.
    [[nodiscard]] bool has_news(std::size_t i) const {
        return state_.side[1 - i].phase == Phase::dead && !state_.side[1 - i].closed &&
               !state_.side[i].inbound.empty();
    }

    void send(std::size_t i) {
        const Side& self = state_.side[i];
        const Side& other = state_.side[1 - i];
        if (self.shut || self.sent == limits_.bytes) {
            return;
        }
        const bool wrongly = is(Mutation::answer_without_freeze) && self.phase == Phase::returning;
        const bool ring = self.phase == Phase::smc || wrongly;
        if (ring && self.produced - other.consumed < limits_.ring && self.produced == self.sent) {
            add("sends", i, [](Side& me, Side&, std::string&) { ++me.sent, ++me.produced; });
        }
        const bool early = is(Mutation::send_before_replay) && self.phase == Phase::answered;
        if ((self.phase == Phase::tcp || early) && has_room(other)) {
            add("sends by TCP", i, [](Side& me, Side& peer, std::string&) {
                put(peer, {Kind::byte, me.sent, 0});
                ++me.sent;
            });
        }
    }

    void receive(std::size_t i) {
        const Side& self = state_.side[i];
        const Side& other = state_.side[1 - i];
        const bool wrongly = is(Mutation::read_while_returning) && self.phase == Phase::returning;
        if (self.phase == Phase::smc || wrongly) {
            if (self.consumed < other.produced) {
                add("receives", i, [](Side& me, Side&, std::string& error) {
                    deliver(me, me.consumed, error);
                    ++me.consumed;
                });
            } else if (!self.saw_end && (other.shut || other.closed || self.hangup)) {
                add("sees the end", i, [](Side& me, Side&, std::string&) { me.saw_end = true; });
            }
        }
        if (self.phase != Phase::tcp && self.phase != Phase::answered) {
            return;
        }
        if (front_is(self, Kind::byte)) {
            add("receives by TCP", i, [](Side& me, Side&, std::string& error) {
                deliver(me, me.inbound.front().first, error);
                take(me);
            });
        } else if (front_is(self, Kind::fin) || front_is(self, Kind::reset)) {
            add("sees the end by TCP", i, [](Side& me, Side&, std::string&) {
                me.saw_end = true;
                take(me);
            });
        } else if (front_is(self, Kind::frame) || front_is(self, Kind::doorbell)) {
            add("reads a byte of ours", i, [](Side&, Side&, std::string& error) {
                error = "the application reads what is not its own";
            });
        }
    }

    /// freeze() and the frame.
    static void begin(Side& me, Side& peer) {
        me.phase = Phase::returning;
        me.wants_out = true;
        put(peer, {Kind::frame, me.consumed, me.produced});
    }

    /// TCP's half of close() and of a death.
    void end(Side& me, Side& peer, bool by_close) {
        const bool unread = !me.inbound.empty();
        if (me.phase == Phase::returning && !me.inbound.empty()) {
            me.inbound.clear();
        }
        me.closed = by_close;
        me.phase = Phase::dead;
        put(peer, {unread ? Kind::reset : Kind::fin, 0, 0});
    }

    void progress(std::size_t i) {
        const Side& self = state_.side[i];
        const bool listens = self.phase == Phase::smc || self.phase == Phase::returning;
        if (self.phase == Phase::smc && !self.rang && has_room(state_.side[1 - i])) {
            add("rings", i, [](Side& me, Side& peer, std::string&) {
                me.rang = true;
                put(peer, {Kind::doorbell, 0, 0});
            });
        }
        if (listens && front_is(self, Kind::doorbell)) {
            add("takes a doorbell", i, [](Side& me, Side&, std::string&) { take(me); });
        }
        const bool deaf = is(Mutation::ignore_crossing_frame) && self.phase == Phase::returning &&
                          state_.side[1 - i].wants_out &&
                          state_.side[1 - i].phase == Phase::returning;
        if (listens && front_is(self, Kind::frame) && !deaf) {
            add("takes the frame", i, [&](Side& me, Side& peer, std::string& error) {
                on_frame(me, peer, error);
            });
        }
        if (listens && (front_is(self, Kind::fin) || front_is(self, Kind::reset))) {
            add("hears of the end", i, [&](Side& me, Side& peer, std::string&) {
                on_end(me, peer);
            });
        }
        if (self.phase == Phase::answered) {
            replay(i);
        }
    }

    void on_frame(Side& me, Side& peer, std::string& error) {
        const Item frame = me.inbound.front();
        take(me);
        if (me.phase == Phase::smc) {
            begin(me, peer);
        }
        if (frame.second != peer.produced || frame.first > me.produced) {
            error = "a frame that contradicts the rings";
        }
        const bool wrong = is(Mutation::replay_from_known_cursor);
        me.replay_at = wrong ? static_cast<std::uint8_t>(frame.first & ~1U) : frame.first;
        me.phase = Phase::answered;
    }

    /// Without an answer the rings are thawed: what the peer has published can still be read.
    void on_end(Side& me, Side& peer) {
        take(me);
        me.hangup = true;
        me.phase = Phase::smc;
        if (is(Mutation::forget_ring_on_hangup)) {
            me.saw_end = true;
            me.consumed = peer.produced;
        }
    }

    void replay(std::size_t i) {
        const Side& self = state_.side[i];
        const Side& other = state_.side[1 - i];
        if (self.replay_at < self.produced) {
            if (has_room(other) || other.phase == Phase::dead) {
                add("replays", i, [](Side& me, Side& peer, std::string&) {
                    put(peer, {Kind::byte, me.replay_at, 0});
                    ++me.replay_at;
                });
            }
            if (!is(Mutation::end_before_replay)) {
                return;
            }
        }
        add("is on TCP", i, [](Side& me, Side& peer, std::string&) {
            me.phase = Phase::tcp;
            if (me.shut) {
                put(peer, {Kind::fin, 0, 0});
            }
        });
    }

    const State& state_;
    const Limits& limits_;
    std::vector<Step> found_;
};

void append(std::string& text, const Side& side) {
    const unsigned bits = (side.shut ? 1U : 0U) | (side.closed ? 2U : 0U) |
                          (side.saw_end ? 4U : 0U) | (side.hangup ? 8U : 0U) |
                          (side.rang ? 16U : 0U) | (side.wants_out ? 32U : 0U);
    for (const unsigned byte : {static_cast<unsigned>(side.phase),
                                unsigned{side.sent},
                                unsigned{side.read},
                                unsigned{side.produced},
                                unsigned{side.consumed},
                                unsigned{side.replay_at},
                                bits,
                                static_cast<unsigned>(side.inbound.size())}) {
        text += static_cast<char>(byte);
    }
    for (const Item& item : side.inbound) {
        text += static_cast<char>(item.kind);
        text += static_cast<char>(item.first);
        text += static_cast<char>(item.second);
    }
}

} // namespace

std::vector<Step> steps(const State& state, const Limits& limits) {
    return Mover(state, limits).run();
}

std::string stuck(const State& state, const Limits& limits) {
    for (std::size_t i = 0; i < 2; ++i) {
        const Side& self = state.side[i];
        const Side& other = state.side[1 - i];
        if (self.phase == Phase::dead) {
            continue;
        }
        const std::string name = "side " + std::to_string(i);
        if (self.phase == Phase::returning || self.phase == Phase::answered) {
            return name + " never leaves the return";
        }
        if (!self.saw_end) {
            return name + " never reads the end";
        }
        if (other.phase != Phase::dead &&
            (self.read != limits.bytes || self.sent != limits.bytes)) {
            return name + " misses bytes, or cannot send its own";
        }
        // A peer that ended before the answer: all that it had published is read.
        if (other.phase == Phase::dead && self.phase == Phase::smc && self.read != other.produced) {
            return name + " misses what the peer had published";
        }
    }
    return {};
}

std::string key(const State& state) {
    std::string text;
    append(text, state.side[0]);
    append(text, state.side[1]);
    return text;
}

} // namespace smcd::model
