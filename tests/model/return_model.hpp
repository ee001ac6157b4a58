// A model of the return to TCP, small enough that every interleaving can be tried
// (docs/protocol.md, "Return to TCP"; smcd/runtime/return_tcp.cpp). Room tests/model.
//
// Two sides, a ring of two bytes and a TCP connection with little room for each direction. A step
// is what the code does under one lock: a call of the application, a look of the progress thread, a
// byte of the replay. Bytes are numbered, so that a lost, doubled or displaced one is seen when it
// is read.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace smcd::model {

enum class Phase : std::uint8_t { smc, returning, answered, tcp, dead };

/// What may stand on a TCP connection.
enum class Kind : std::uint8_t { doorbell, frame, byte, fin, reset };

struct Item {
    Kind kind = Kind::byte;
    std::uint8_t first = 0;  ///< frame: consumed; byte: its number
    std::uint8_t second = 0; ///< frame: produced
};

/// One side. Cursors count bytes of the whole stream.
struct Side {
    Phase phase = Phase::smc;
    std::uint8_t sent = 0;     ///< bytes that the application has sent
    std::uint8_t read = 0;     ///< bytes that the application has read
    std::uint8_t produced = 0; ///< ... of sent, those that went through the peer's ring
    std::uint8_t consumed = 0; ///< ... of read, those that came out of the own ring
    std::uint8_t replay_at = 0;
    bool shut = false;         ///< the application has shut its sending down
    bool closed = false;       ///< ... has closed
    bool saw_end = false;      ///< ... has read the end of the stream
    bool hangup = false;       ///< TCP said that the peer is gone
    bool rang = false;         ///< the doorbell byte was sent
    bool wants_out = false;    ///< this side has begun a return
    std::vector<Item> inbound; ///< what stands on TCP towards this side
};

struct State {
    std::array<Side, 2> side;
};

/// Errors that the check must find, one at a time.
enum class Mutation : std::uint8_t {
    none,
    replay_from_known_cursor, ///< from the consumer cursor as last published, not as the frame says
    send_before_replay,       ///< new bytes overtake the replayed ones
    read_while_returning,     ///< the ring goes on being read behind the frame
    answer_without_freeze,    ///< the answering side still writes its ring
    end_before_replay,        ///< a half close goes out before the replay
    ignore_crossing_frame,    ///< a side that has begun does not take the other's frame
    forget_ring_on_hangup,    ///< the peer ends during the return, and what it had published is not
                              ///< read
};

struct Limits {
    std::uint8_t bytes = 3; ///< each application sends so many
    std::uint8_t ring = 2;
    std::uint8_t tcp_items = 3; ///< a TCP buffer takes so many
    bool may_die = false;       ///< side 1 may be killed at any moment
    bool may_close = false;     ///< side 1 may close at any moment
    Mutation mutation = Mutation::none;
};

struct Step {
    std::string name;
    State next;
    std::string error; ///< not empty: the step itself broke a promise
};

/// All steps that are possible in a state.
[[nodiscard]] std::vector<Step> steps(const State& state, const Limits& limits);

/// Not empty: the state has no steps, and should have.
[[nodiscard]] std::string stuck(const State& state, const Limits& limits);

/// A state as bytes, for a set of those that were seen.
[[nodiscard]] std::string key(const State& state);

} // namespace smcd::model
