// Many connections, few of them with a request under way: one epoll loop on each side. Floor 4.
#include <sys/epoll.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>

#include "bench/measure/worker.hpp"
#include "smcd/base/clock.hpp"
#include "smcd/base/unique_fd.hpp"

namespace smcd::bench {
namespace {

constexpr double kNsPerS = 1e9;

void allow_descriptors() {
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
}

/// The connections of one side, by the order in which they were made.
class Set {
public:
    Set() : epoll_(::epoll_create1(EPOLL_CLOEXEC)) { allow_descriptors(); }

    bool add(std::unique_ptr<Endpoint> endpoint) {
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.u64 = endpoints_.size();
        const int fd = endpoint->fd();
        endpoints_.push_back(std::move(endpoint));
        parts_.push_back(0);
        return ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
    }

    /// Calls take(index) for each connection with something to read. false: an error.
    template <typename F>
    bool wait(F&& take) {
        std::array<epoll_event, 256> events;
        const int n =
            ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), -1);
        for (int i = 0; i < n; ++i) {
            take(static_cast<std::size_t>(events[static_cast<std::size_t>(i)].data.u64));
        }
        return n >= 0;
    }

    Endpoint& at(std::size_t index) { return *endpoints_[index]; }

    /// Bytes of the message that has come in part.
    std::size_t& part(std::size_t index) { return parts_[index]; }

    void remove(std::size_t index) { endpoints_[index].reset(); }

    [[nodiscard]] std::size_t size() const { return endpoints_.size(); }

private:
    UniqueFd epoll_;
    std::vector<std::unique_ptr<Endpoint>> endpoints_;
    std::vector<std::size_t> parts_;
};

/// One receive. true: a message is complete.
bool take_message(Set& set, std::size_t index, std::vector<std::byte>& buffer, bool& broken) {
    std::size_t& part = set.part(index);
    const std::ptrdiff_t n = set.at(index).receive(buffer.data(), buffer.size() - part, false);
    broken = n == kEnded || n == kFailed;
    part += n > 0 ? static_cast<std::size_t>(n) : 0;
    if (part < buffer.size()) {
        return false;
    }
    part = 0;
    return true;
}

} // namespace

void serve_many(const Plan& plan, Network& network, Outcome& outcome) {
    Set set;
    for (std::uint32_t i = 0; i < plan.connections; ++i) {
        auto endpoint = network.accept();
        if (endpoint == nullptr || !set.add(std::move(endpoint))) {
            outcome.error = "accept failed";
            return;
        }
    }
    std::vector<std::byte> buffer(plan.message_bytes);
    std::size_t open = set.size();
    while (open > 0) {
        const bool waited = set.wait([&](std::size_t index) {
            bool broken = false;
            if (take_message(set, index, buffer, broken)) {
                set.at(index).send(buffer.data(), buffer.size());
            } else if (broken) {
                set.remove(index);
                --open;
            }
        });
        if (!waited) {
            outcome.error = "epoll_wait failed";
            return;
        }
    }
}

void measure_many(const Plan& plan,
                  Network& network,
                  const std::string& address,
                  Outcome& outcome) {
    Set set;
    const std::uint64_t opening = monotonic_ns();
    for (std::uint32_t i = 0; i < plan.connections; ++i) {
        auto endpoint = network.connect(address);
        if (endpoint == nullptr || endpoint->fd() < 0) {
            outcome.error = "connection " + std::to_string(i) + " failed";
            return;
        }
        outcome.congestion = endpoint->congestion();
        if (!set.add(std::move(endpoint))) {
            outcome.error = "epoll_ctl failed";
            return;
        }
    }
    outcome.setups_per_s =
        plan.connections / (static_cast<double>(monotonic_ns() - opening) / kNsPerS);
    std::vector<std::byte> buffer(plan.message_bytes);
    std::vector<std::uint64_t> asked(set.size());
    std::size_t next = 0;
    // Each request goes to another connection, so that all take part; when all are busy, to the one
    // that is free now.
    const auto ask = [&](std::size_t free) {
        const std::size_t index = plan.active < set.size() ? next : free;
        next = next + 1 == set.size() ? 0 : next + 1;
        asked[index] = monotonic_ns();
        if (!set.at(index).send(buffer.data(), buffer.size())) {
            outcome.error = "the connection broke";
        }
    };
    for (std::uint32_t i = 0; i < std::min(plan.active, plan.connections); ++i) {
        ask(i);
    }
    const std::uint64_t start =
        monotonic_ns() + static_cast<std::uint64_t>(plan.warmup_s * kNsPerS);
    const std::uint64_t end = start + static_cast<std::uint64_t>(plan.seconds * kNsPerS);
    std::uint64_t now = 0;
    while (outcome.error.empty() &&
           (plan.count != 0 ? outcome.latency.count() < plan.count : now < end)) {
        set.wait([&](std::size_t index) {
            bool broken = false;
            if (take_message(set, index, buffer, broken)) {
                now = monotonic_ns();
                if (asked[index] >= start) {
                    outcome.latency.record(now - asked[index]);
                }
                ask(index);
            } else if (broken) {
                outcome.error = "the connection broke";
            }
        });
    }
    outcome.messages = static_cast<double>(outcome.latency.count());
    outcome.bytes = outcome.messages * static_cast<double>(plan.message_bytes);
    outcome.seconds = now > start ? static_cast<double>(now - start) / kNsPerS : 0;
}

} // namespace smcd::bench
