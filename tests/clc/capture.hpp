// Writes conversations into a pcap file as the wire would have carried them, and lets tshark read
// it. Floor 4.
#pragma once

#include <string>
#include <vector>

#include "tests/clc/support.hpp"

namespace smcd::test {

/// One message, one TCP segment.
struct Segment {
    bool from_client = true;
    Bytes bytes;
};

using Conversation = std::vector<Segment>;

/// Ethernet, IPv4, TCP with right checksums; each conversation opens with SYN and SYN-ACK that
/// carry the SMC option.
void write_capture(const std::string& path, const std::vector<Conversation>& conversations);

/// What tshark prints for its arguments, line by line; ends the test if it cannot be run.
[[nodiscard]] std::vector<std::string> tshark(const std::string& arguments);

} // namespace smcd::test
