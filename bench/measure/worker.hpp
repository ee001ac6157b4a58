// The two processes of a sample: a server that answers and a client that measures. Floor 4.
//
// Both print what they did as a WorkerResult on standard output; the server prints its address
// first, on a line of its own.
#pragma once

#include <string>
#include <vector>

#include "bench/measure/endpoint.hpp"
#include "bench/measure/histogram.hpp"
#include "bench/measure/plan.hpp"

namespace smcd::bench {

/// What one side has measured; the other side's share is zero.
struct Outcome {
    double messages = 0;
    double bytes = 0;
    double seconds = 0;
    double setups_per_s = 0;
    std::string congestion;
    std::string error;
    Histogram latency;
};

/// Exit status of the process.
int run_server(const Plan& plan);
int run_client(const Plan& plan, const std::string& address);

// One function per way of measuring; `outcome.error` tells what went wrong.
void measure_pingpong(const Plan& plan,
                      Network& network,
                      const std::string& address,
                      Outcome& outcome);
void measure_stream(const Plan& plan,
                    Network& network,
                    const std::string& address,
                    Outcome& outcome);
void measure_connects(const Plan& plan,
                      Network& network,
                      const std::string& address,
                      Outcome& outcome);
void measure_load(const Plan& plan, Network& network, const std::string& address, Outcome& outcome);
void measure_mixed(const Plan& plan,
                   Network& network,
                   const std::string& address,
                   Outcome& outcome);
void measure_many(const Plan& plan, Network& network, const std::string& address, Outcome& outcome);

void serve_connects(const Plan& plan, Network& network, Outcome& outcome);
/// plan.connections of them, each served as its first byte says.
void serve_streams(const Plan& plan, Network& network, std::uint32_t connections, Outcome& outcome);
void serve_many(const Plan& plan, Network& network, Outcome& outcome);

/// First byte of a connection: what the server is to do with it.
inline constexpr std::byte kEcho{'e'};
inline constexpr std::byte kSink{'s'};
/// First byte of a short connection.
inline constexpr std::byte kRequest{'r'};
inline constexpr std::byte kQuit{'q'};

/// The most that one receive asks for.
inline constexpr std::size_t kReceiveBytes = 256 * 1024;

} // namespace smcd::bench
