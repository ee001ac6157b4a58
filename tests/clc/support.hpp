// Helpers of the CLC tests: golden messages, random values, seeds. Floor 4.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "clc/messages.hpp"
#include "clc/negotiate.hpp"

namespace smcd::clc {

// gtest prints values through these.
void PrintTo(const Proposal& proposal, std::ostream* out);
void PrintTo(const AcceptConfirm& message, std::ostream* out);
void PrintTo(const Decline& decline, std::ostream* out);

} // namespace smcd::clc

namespace smcd::test {

using Bytes = std::vector<std::byte>;
using Random = std::mt19937_64;

/// Messages of tests/golden/clc_messages.txt by name; ends the program if the file is damaged.
[[nodiscard]] const std::map<std::string, Bytes>& golden_messages();
[[nodiscard]] const Bytes& golden(std::string_view name);

[[nodiscard]] Bytes from_hex(std::string_view hex);
[[nodiscard]] std::string to_hex(std::span<const std::byte> bytes);
[[nodiscard]] Bytes to_bytes(const clc::Message& message);
[[nodiscard]] Bytes operator+(Bytes left, const Bytes& right);

/// SMCD_SEED or a fresh one; printed, and recorded with the test.
[[nodiscard]] std::uint64_t test_seed();

/// An EID that is known to be valid.
[[nodiscard]] clc::Eid eid_of(std::string_view text);

// Values that an encoder may be given: every one survives encoding and decoding unchanged.
[[nodiscard]] clc::Proposal random_proposal(Random& random);
[[nodiscard]] clc::AcceptConfirm random_accept(Random& random, clc::MessageType type);
[[nodiscard]] clc::Decline random_decline(Random& random);

/// Decodes whatever it is as every kind of message; what decodes must encode to something that
/// decodes again. false: it did not, which is a bug. decoded: whether any decoder took it.
struct Digest {
    bool sound = true;
    bool decoded = false;
};
[[nodiscard]] Digest digest(std::span<const std::byte> bytes);

} // namespace smcd::test
