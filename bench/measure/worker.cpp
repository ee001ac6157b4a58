#include "bench/measure/worker.hpp"

#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>

#include "report.pb.h"

namespace smcd::bench {
namespace {

void pin(int cpu) {
    if (cpu >= 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(static_cast<unsigned>(cpu), &set);
        ::sched_setaffinity(0, sizeof(set), &set);
    }
}

double cpu_seconds() {
    rusage used{};
    ::getrusage(RUSAGE_SELF, &used);
    const auto seconds = [](const timeval& time) {
        return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
    };
    return seconds(used.ru_utime) + seconds(used.ru_stime);
}

int report(const Plan& plan, const Outcome& outcome) {
    WorkerResult result;
    result.set_messages(outcome.messages);
    result.set_bytes(outcome.bytes);
    result.set_seconds(outcome.seconds);
    result.set_cpu_seconds(cpu_seconds());
    result.set_setups_per_s(outcome.setups_per_s);
    result.set_congestion(outcome.congestion);
    result.set_nodelay(plan.nodelay);
    result.set_error(outcome.error);
    for (const auto& [index, count] : outcome.latency.buckets()) {
        result.add_buckets(index);
        result.add_buckets(count);
    }
    const std::string bytes = result.SerializeAsString();
    const bool written = std::fwrite(bytes.data(), 1, bytes.size(), stdout) == bytes.size();
    return written && std::fflush(stdout) == 0 && outcome.error.empty() ? 0 : 1;
}

std::uint32_t streams_of(const Plan& plan) {
    switch (plan.mode) {
    case Mode::pingpong:
    case Mode::load:
        return 1;
    case Mode::mixed:
        return plan.connections + 1;
    case Mode::stream:
    case Mode::rate:
    case Mode::connect:
    case Mode::request:
    case Mode::many:
        return plan.connections;
    }
    return 1;
}

void serve(const Plan& plan, Network& network, Outcome& outcome) {
    switch (plan.mode) {
    case Mode::connect:
    case Mode::request:
        serve_connects(plan, network, outcome);
        return;
    case Mode::many:
        serve_many(plan, network, outcome);
        return;
    case Mode::pingpong:
    case Mode::stream:
    case Mode::rate:
    case Mode::load:
    case Mode::mixed:
        serve_streams(plan, network, streams_of(plan), outcome);
        return;
    }
}

void measure(const Plan& plan, Network& network, const std::string& address, Outcome& outcome) {
    switch (plan.mode) {
    case Mode::pingpong:
        measure_pingpong(plan, network, address, outcome);
        return;
    case Mode::stream:
    case Mode::rate:
        measure_stream(plan, network, address, outcome);
        return;
    case Mode::connect:
    case Mode::request:
        measure_connects(plan, network, address, outcome);
        return;
    case Mode::load:
        measure_load(plan, network, address, outcome);
        return;
    case Mode::mixed:
        measure_mixed(plan, network, address, outcome);
        return;
    case Mode::many:
        measure_many(plan, network, address, outcome);
        return;
    }
}

} // namespace

int run_server(const Plan& plan) {
    pin(plan.server_cpu);
    Outcome outcome;
    {
        const auto network = make_network(plan);
        const std::string address = network == nullptr ? std::string() : network->listen();
        if (address.empty()) {
            std::printf("-\n");
            outcome.error = "the server cannot listen";
            return report(plan, outcome);
        }
        std::printf("%s\n", address.c_str());
        std::fflush(stdout);
        serve(plan, *network, outcome);
    }
    return report(plan, outcome);
}

int run_client(const Plan& plan, const std::string& address) {
    pin(plan.client_cpu);
    Outcome outcome;
    {
        const auto network = make_network(plan);
        if (network == nullptr) {
            outcome.error = "the library did not start";
            return report(plan, outcome);
        }
        measure(plan, *network, address, outcome);
    }
    return report(plan, outcome);
}

} // namespace smcd::bench
