// A process under test: it makes the calls that the controller names and tells what they returned.
// Room tests/diff, no protocol section.
#pragma once

#include <sys/types.h>

#include "tests/diff/wire.hpp"

namespace smcd::diff {

/// Everything that a program can name. Copied by fork().
struct State {
    std::array<int, kSlots> slots{};
    std::array<int, kSets> sets{};
    std::array<int, 2> pipe{-1, -1};
    std::array<int, 2> listeners{-1, -1}; ///< IPv4, IPv6
    std::array<std::uint16_t, 4> ports{}; ///< of A and of B, each IPv4 and IPv6
    int file = -1;                        ///< for sendfile()
    int control = -1;
    int child_control = -1; ///< the end that a child serves
    pid_t child = -1;
    unsigned next_byte = 0; ///< of the bytes that are sent
};

// Each performs one call. `outcome` gets value and errno; actor_transfer.cpp and its neighbours.
void run_send(State& state, const Op& op, Outcome& outcome);
void run_receive(State& state, const Op& op, Outcome& outcome);
void run_options(State& state, const Op& op, Outcome& outcome);
void run_readiness(State& state, const Op& op, Outcome& outcome);
void run_life(State& state, const Op& op, Outcome& outcome);
/// What makes a connection return to TCP.
void run_leaving(State& state, const Op& op, Outcome& outcome);

[[nodiscard]] std::array<View, kSlots> look(const State& state);

/// Serves `state.control` until it is closed.
void serve(State& state);
/// Replaces the process image by the same program; the descriptors in `state` live on. Returns on
/// failure only.
void restart(State& state);
/// Undoes restart()'s packing. false: `text` is none.
bool unpack_state(const char* text, State& state);
[[noreturn]] void serve_as_child(State& state);

} // namespace smcd::diff
