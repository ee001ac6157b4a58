// The server's side of a sample: echo, sink, short connections. Floor 4.
#include <atomic>
#include <mutex>
#include <thread>

#include "bench/measure/worker.hpp"
#include "smcd/base/clock.hpp"

namespace smcd::bench {
namespace {

constexpr double kNsPerS = 1e9;

/// Sends each message back once it is complete.
void echo(Endpoint& endpoint, std::size_t bytes) {
    std::vector<std::byte> buffer(bytes);
    while (endpoint.receive_all(buffer.data(), bytes) && endpoint.send(buffer.data(), bytes)) {
    }
}

struct Counted {
    double bytes = 0;
    double seconds = 0;
};

/// Counts what comes between the end of the warm-up and the end of the measured time.
Counted sink(Endpoint& endpoint, const Plan& plan) {
    std::vector<std::byte> buffer(kReceiveBytes);
    const auto warm_ns = static_cast<std::uint64_t>(plan.warmup_s * kNsPerS);
    const auto time_ns =
        plan.count != 0 ? UINT64_MAX / 2 : static_cast<std::uint64_t>(plan.seconds * kNsPerS);
    Counted counted;
    std::uint64_t began = 0;
    std::uint64_t last = 0;
    for (;;) {
        const std::ptrdiff_t n = endpoint.drain(buffer.data(), buffer.size());
        if (n <= 0) {
            break;
        }
        const std::uint64_t now = monotonic_ns();
        if (began == 0) {
            began = now + warm_ns;
        } else if (now >= began && now - began <= time_ns) {
            counted.bytes += static_cast<double>(n);
            last = now;
        }
    }
    counted.seconds = last > began ? static_cast<double>(last - began) / kNsPerS : 0;
    return counted;
}

} // namespace

void serve_streams(const Plan& plan,
                   Network& network,
                   std::uint32_t connections,
                   Outcome& outcome) {
    std::mutex mutex;
    std::vector<std::thread> threads;
    for (std::uint32_t i = 0; i < connections; ++i) {
        auto endpoint = network.accept();
        if (endpoint == nullptr) {
            outcome.error = "accept failed";
            break;
        }
        threads.emplace_back([&plan, &mutex, &outcome, endpoint = std::move(endpoint)] {
            std::byte kind{};
            if (!endpoint->receive_mark(kind)) {
                return;
            }
            if (kind == kEcho) {
                echo(*endpoint, plan.message_bytes);
                return;
            }
            const Counted counted = sink(*endpoint, plan);
            const std::lock_guard guard(mutex);
            outcome.bytes += counted.bytes;
            outcome.seconds = std::max(outcome.seconds, counted.seconds);
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    outcome.messages = outcome.bytes / static_cast<double>(plan.message_bytes);
}

void serve_connects(const Plan& plan, Network& network, Outcome& outcome) {
    std::vector<std::byte> buffer(plan.message_bytes);
    for (;;) {
        auto endpoint = network.accept();
        if (endpoint == nullptr) {
            outcome.error = "accept failed";
            return;
        }
        std::byte kind{};
        if (!endpoint->receive_mark(kind)) {
            continue; // connect and close
        }
        if (kind == kQuit) {
            return;
        }
        if (endpoint->receive_all(buffer.data() + 1, buffer.size() - 1)) {
            endpoint->send(buffer.data(), buffer.size());
        }
    }
}

} // namespace smcd::bench
