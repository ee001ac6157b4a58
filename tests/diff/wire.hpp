// What the controller and a process under test say to one another, over one SOCK_SEQPACKET socket
// for each. Room tests/diff, no protocol section.
#pragma once

#include <array>
#include <cstdint>

#include "tests/diff/program.hpp"

namespace smcd::diff {

enum class Ask : std::uint8_t { run, look, reset, ports };

struct Request {
    Ask ask = Ask::run;
    bool look_too = true; ///< the reply carries views
    Op op;
    std::array<std::uint16_t, 4> ports{}; ///< listeners of A and of B, each IPv4 and IPv6
};

/// What a program could see of one descriptor without changing anything.
struct View {
    bool open = false;
    std::uint16_t events = 0;
    std::int32_t unread = 0;
    friend bool operator==(const View&, const View&) = default;
};

inline constexpr int kExtras = 12;

/// What a call showed to its caller.
struct Outcome {
    std::int64_t value = 0;
    std::int32_t error = 0;
    std::int32_t sigpipes = 0;
    std::uint32_t hash = 0; ///< over the bytes that were received
    std::int32_t extra_count = 0;
    std::array<std::int64_t, kExtras> extra{};
    std::array<char, 16> bytes{}; ///< the first of them

    /// One value more that the call wrote; those behind the twelfth are not compared.
    void add_extra(std::int64_t extra_value) noexcept {
        if (extra_count < kExtras) {
            extra[static_cast<std::size_t>(extra_count++)] = extra_value;
        }
    }
    friend bool operator==(const Outcome&, const Outcome&) = default;
};

struct Reply {
    Outcome outcome;
    std::array<View, kSlots> views{};
    std::array<std::uint16_t, 2> own_ports{}; ///< in the first reply
    std::int32_t child = -1;                  ///< process id of the child
};

} // namespace smcd::diff
