// The client's side of a sample: closed loops, streams, short connections. Floor 4.
#include <algorithm>
#include <thread>

#include "bench/measure/worker.hpp"
#include "smcd/base/clock.hpp"

namespace smcd::bench {
namespace {

constexpr double kNsPerS = 1e9;
/// Between two looks at the clock a stream sends about this much.
constexpr std::size_t kClockBytes = 128 * 1024;

std::uint64_t to_ns(double seconds) {
    return static_cast<std::uint64_t>(seconds * kNsPerS);
}

std::unique_ptr<Endpoint>
open(Network& network, const std::string& address, std::byte kind, Outcome& outcome) {
    auto endpoint = network.connect(address);
    if (endpoint != nullptr) {
        endpoint->settle(); // first: bytes that wait for the verdict shorten the patience
    }
    if (endpoint == nullptr || !endpoint->send(&kind, 1)) {
        outcome.error = "cannot connect";
        return nullptr;
    }
    outcome.congestion = endpoint->congestion();
    return endpoint;
}

/// Round trips until the time or the count is reached; the first part of the time is not recorded.
void round_trips(Endpoint& endpoint, const Plan& plan, Outcome& outcome) {
    std::vector<std::byte> out(plan.message_bytes);
    std::vector<std::byte> in(plan.message_bytes);
    const std::uint64_t start = monotonic_ns() + to_ns(plan.warmup_s);
    const std::uint64_t end = start + to_ns(plan.seconds);
    std::uint64_t before = monotonic_ns();
    std::uint64_t first = 0;
    std::uint64_t done = 0;
    for (;;) {
        if (!endpoint.send(out.data(), out.size()) || !endpoint.receive_all(in.data(), in.size())) {
            outcome.error = "the connection broke";
            return;
        }
        const std::uint64_t now = monotonic_ns();
        if (before >= start) {
            first = done++ == 0 ? before : first;
            outcome.latency.record(now - before);
        }
        before = now;
        if (plan.count != 0 ? done >= plan.count : now >= end) {
            break;
        }
    }
    outcome.messages = static_cast<double>(done);
    outcome.bytes = outcome.messages * static_cast<double>(plan.message_bytes);
    outcome.seconds = done == 0 ? 0 : static_cast<double>(before - first) / kNsPerS;
}

/// Sends until the time is over, a little longer than the receiver counts, or until the count is
/// reached.
void pour(Endpoint& endpoint, const Plan& plan, Outcome& outcome) {
    const std::vector<std::byte> data(plan.message_bytes);
    const std::size_t batch = std::max<std::size_t>(plan.batch, 1);
    const std::size_t per_look =
        std::max<std::size_t>(kClockBytes / (plan.message_bytes * batch), 1);
    const std::uint64_t warm_end = monotonic_ns() + to_ns(plan.warmup_s);
    const std::uint64_t end = warm_end + to_ns(plan.seconds * 1.02);
    std::uint64_t left = plan.count;
    while (plan.count != 0 ? left > 0 : monotonic_ns() < end) {
        for (std::size_t i = 0; i < per_look; ++i) {
            if (!endpoint.send_batch(data.data(), data.size(), batch)) {
                outcome.error = "the connection broke";
                return;
            }
            if (plan.count != 0 && monotonic_ns() >= warm_end) {
                left = left > batch ? left - batch : 0;
                if (left == 0) {
                    break;
                }
            }
        }
    }
    endpoint.finish();
    std::byte end_mark{};
    static_cast<void>(endpoint.receive(&end_mark, 1, true)); // everything has been taken
}

} // namespace

void measure_pingpong(const Plan& plan,
                      Network& network,
                      const std::string& address,
                      Outcome& outcome) {
    if (const auto endpoint = open(network, address, kEcho, outcome); endpoint != nullptr) {
        round_trips(*endpoint, plan, outcome);
    }
}

void measure_stream(const Plan& plan,
                    Network& network,
                    const std::string& address,
                    Outcome& outcome) {
    std::vector<std::unique_ptr<Endpoint>> endpoints;
    for (std::uint32_t i = 0; i < plan.connections; ++i) {
        endpoints.push_back(open(network, address, kSink, outcome));
        if (endpoints.back() == nullptr) {
            return;
        }
    }
    std::vector<Outcome> outcomes(endpoints.size());
    std::vector<std::thread> threads;
    for (std::size_t i = 1; i < endpoints.size(); ++i) {
        threads.emplace_back([&, i] { pour(*endpoints[i], plan, outcomes[i]); });
    }
    pour(*endpoints[0], plan, outcomes[0]);
    for (std::thread& thread : threads) {
        thread.join();
    }
    for (const Outcome& one : outcomes) {
        outcome.error = one.error.empty() ? outcome.error : one.error;
    }
}

void measure_mixed(const Plan& plan,
                   Network& network,
                   const std::string& address,
                   Outcome& outcome) {
    // The streams send large messages whatever the size of the round trips; the server counts them.
    constexpr std::uint64_t kStreamBytes = 64'000;
    Plan streams = plan;
    streams.message_bytes = kStreamBytes;
    Outcome background;
    std::thread thread([&] { measure_stream(streams, network, address, background); });
    if (const auto endpoint = open(network, address, kEcho, outcome); endpoint != nullptr) {
        round_trips(*endpoint, plan, outcome);
    }
    thread.join();
    outcome.error = outcome.error.empty() ? background.error : outcome.error;
}

void measure_connects(const Plan& plan,
                      Network& network,
                      const std::string& address,
                      Outcome& outcome) {
    std::vector<std::byte> request(plan.message_bytes, kRequest);
    std::vector<std::byte> reply(plan.message_bytes);
    const bool asks = plan.mode == Mode::request;
    const std::uint64_t start = monotonic_ns() + to_ns(plan.warmup_s);
    const std::uint64_t end = start + to_ns(plan.seconds);
    std::uint64_t first = 0;
    std::uint64_t now = 0;
    std::uint64_t done = 0;
    while (plan.count != 0 ? done < plan.count : now < end) {
        const std::uint64_t before = monotonic_ns();
        {
            const auto endpoint = network.connect(address);
            if (endpoint == nullptr ||
                (asks && (!endpoint->send(request.data(), request.size()) ||
                          !endpoint->receive_all(reply.data(), reply.size())))) {
                outcome.error = "a connection failed";
                break;
            }
            outcome.congestion = done == 0 ? endpoint->congestion() : outcome.congestion;
        }
        now = monotonic_ns();
        if (before >= start) {
            first = done++ == 0 ? before : first;
            outcome.latency.record(now - before);
        }
    }
    outcome.messages = static_cast<double>(done);
    outcome.bytes = asks ? outcome.messages * static_cast<double>(plan.message_bytes) : 0;
    outcome.seconds = done == 0 ? 0 : static_cast<double>(now - first) / kNsPerS;
    if (const auto last = network.connect(address); last != nullptr) {
        last->send(&kQuit, 1);
        std::byte end_mark{};
        static_cast<void>(last->receive(&end_mark, 1, true));
    }
}

void measure_load(const Plan& plan,
                  Network& network,
                  const std::string& address,
                  Outcome& outcome) {
    const auto endpoint = open(network, address, kEcho, outcome);
    if (endpoint == nullptr) {
        return;
    }
    // Open loop: request i is due at start + i * gap whatever became of the others, and its latency
    // counts from then.
    std::vector<std::byte> out(plan.message_bytes);
    std::vector<std::byte> in(plan.message_bytes);
    const double gap_ns = kNsPerS / plan.rate;
    const std::uint64_t start = monotonic_ns();
    const std::uint64_t warm_end = start + to_ns(plan.warmup_s);
    const auto total = plan.count != 0
                           ? plan.count
                           : static_cast<std::uint64_t>((plan.warmup_s + plan.seconds) * plan.rate);
    const auto due = [&](std::uint64_t i) {
        return start + static_cast<std::uint64_t>(static_cast<double>(i) * gap_ns);
    };
    std::uint64_t sent = 0;
    std::uint64_t answered = 0;
    std::size_t part = 0;
    std::uint64_t now = start;
    while (answered < total) {
        now = monotonic_ns();
        if (sent < total && now >= due(sent)) {
            if (!endpoint->send(out.data(), out.size())) {
                outcome.error = "the connection broke";
                return;
            }
            ++sent;
        }
        if (sent == answered) {
            continue;
        }
        const std::ptrdiff_t n = endpoint->receive(in.data() + part, in.size() - part, false);
        if (n == kFailed || n == kEnded) {
            outcome.error = "the connection broke";
            return;
        }
        part += n > 0 ? static_cast<std::size_t>(n) : 0;
        if (part == in.size()) {
            part = 0;
            now = monotonic_ns();
            if (plan.count != 0 || due(answered) >= warm_end) {
                outcome.latency.record(now - std::min(now, due(answered)));
            }
            ++answered;
        }
    }
    outcome.messages = static_cast<double>(outcome.latency.count());
    outcome.bytes = outcome.messages * static_cast<double>(plan.message_bytes);
    outcome.seconds = static_cast<double>(now - (plan.count != 0 ? start : warm_end)) / kNsPerS;
}

} // namespace smcd::bench
