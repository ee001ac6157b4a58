// Ping-pong between two processes that poll, and sample while they do.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <smcd/smcd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "bench/jitter/run.hpp"
#include "smcd/base/clock.hpp"

namespace smcd::jitter {
namespace {

constexpr int kVerdictMs = 5000;
/// Messages in front of the first sample.
constexpr int kWarmup = 20'000;

/// What client and server share besides the connection; anonymous memory, older than the fork.
struct Shared {
    std::atomic<std::uint64_t> gaps{0}; ///< moments in which one of both did not run
    std::atomic<std::uint32_t> port{0};
    std::atomic<bool> server_failed{false};
    std::atomic<bool> over{false};
    CpuReport server; ///< without its map, which is no memory of this page
};

using Owned = std::unique_ptr<smcd_ctx, decltype(&::smcd_ctx_destroy)>;

Owned make_context(const Plan& plan) {
    smcd_options options{};
    options.size = sizeof(options);
    options.profile = plan.profile.c_str();
    return {::smcd_ctx_create(&options), &::smcd_ctx_destroy};
}

sockaddr_in loopback(std::uint32_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

/// One end while it runs.
class Side {
public:
    Side(smcd_sock* sock, double ticks_per_ns, std::uint32_t bytes, Shared& shared)
        : sampler(ticks_per_ns), sock_(sock), message_(bytes), shared_(shared) {}

    /// Polls until a whole message is there and takes it; `ok` false: the other end is gone.
    void receive() noexcept {
        for (;;) {
            look(ticks());
            smcd_span spans[2];
            const ssize_t n = ::smcd_recv_peek(sock_, spans, message_.size(), MSG_DONTWAIT);
            if (n >= static_cast<ssize_t>(message_.size())) {
                ok = ::smcd_recv_consume(sock_, message_.size()) == 0;
                return;
            }
            const bool told = shared_.over.load(std::memory_order_relaxed);
            if (told || n == 0 || (n < 0 && errno != EAGAIN)) {
                ok = false;
                return;
            }
        }
    }

    /// A gap is known to the other end before it can hear of anything that came behind it.
    void look(std::uint64_t now) noexcept {
        if (sampler.look(now)) [[unlikely]] {
            shared_.gaps.fetch_add(1, std::memory_order_release);
        }
    }

    void send() noexcept {
        ok = ::smcd_send(sock_, message_.data(), message_.size(), 0) ==
                 static_cast<ssize_t>(message_.size()) &&
             ok;
    }

    NoiseSampler sampler;
    bool ok = true;

private:
    smcd_sock* sock_;
    std::vector<char> message_;
    Shared& shared_;
};

void serve(const Plan& plan, double per_ns, Shared& shared) {
    const Owned ctx = make_context(plan);
    smcd_sock* listener = ctx == nullptr ? nullptr : ::smcd_socket(ctx.get(), AF_INET, 0);
    sockaddr_in address = loopback(0);
    socklen_t length = sizeof(address);
    const bool listens =
        pin_to(plan.cpus[0]) && listener != nullptr &&
        ::smcd_bind(listener, reinterpret_cast<const sockaddr*>(&address), length) == 0 &&
        ::smcd_listen(listener, 1) == 0 &&
        ::getsockname(::smcd_fd(listener), reinterpret_cast<sockaddr*>(&address), &length) == 0;
    if (!listens) {
        shared.server_failed.store(true);
        return;
    }
    shared.port.store(ntohs(address.sin_port), std::memory_order_release);
    smcd_sock* sock = ::smcd_accept(listener, nullptr, nullptr, 0);
    if (sock == nullptr || ::smcd_wait_verdict(sock, kVerdictMs) < 0) {
        return;
    }
    Side side(sock, per_ns, plan.message_bytes, shared);
    side.sampler.begin(ticks());
    for (int i = 0; i < kWarmup && side.ok; ++i) {
        side.receive();
        side.send();
    }
    shared.server.locked_kib = locked_kib();
    const ThreadWatch thread;
    side.sampler = NoiseSampler(per_ns);
    side.sampler.begin(ticks());
    while (side.ok) {
        side.receive();
        if (side.ok) {
            side.send();
        }
    }
    shared.server.thread = thread.read();
    shared.server.noise = side.sampler.result();
}

/// Waits for the server's port.
std::uint32_t await_port(const Shared& shared) {
    const std::uint64_t end = monotonic_ns() + kVerdictMs * kNsPerMs;
    while (shared.port.load(std::memory_order_acquire) == 0 && !shared.server_failed.load() &&
           monotonic_ns() < end) {
        ::usleep(1000);
    }
    return shared.port.load(std::memory_order_acquire);
}

/// One half round trip, until it is known whether noise met it.
struct Sample {
    std::uint64_t ns = 0;
    std::uint64_t gaps_before = 0;
};

/// The other end tells of a gap before its next answer: so a sample is judged when the next one is
/// complete.
class Judge {
public:
    explicit Judge(TransportReport& report) noexcept : report_(report) {}

    void complete(const Sample& sample, std::uint64_t gaps) {
        settle(gaps);
        pending_ = sample;
        has_pending_ = true;
    }

    void settle(std::uint64_t gaps) {
        if (!std::exchange(has_pending_, false)) {
            return;
        }
        report_.all.record(pending_.ns);
        if (pending_.gaps_before == gaps) {
            report_.clean.record(pending_.ns);
        } else {
            ++report_.hit;
        }
    }

private:
    TransportReport& report_;
    Sample pending_;
    bool has_pending_ = false;
};

void measure(
    const Plan& plan, double per_ns, smcd_sock* sock, Shared& shared, TransportReport& report) {
    Side side(sock, per_ns, plan.message_bytes, shared);
    side.sampler.begin(ticks());
    for (int i = 0; i < kWarmup && side.ok; ++i) {
        side.send();
        side.receive();
    }
    CpuReport& own = report.sides[1];
    own.locked_kib = locked_kib();
    // Memory of this process alone: what is older than the fork is copied at the first store.
    report.all = bench::Histogram();
    report.clean = bench::Histogram();
    Judge judge(report);
    const ThreadWatch thread;
    side.sampler = NoiseSampler(per_ns);
    const std::uint64_t began = ticks();
    side.sampler.begin(began);
    const auto length = static_cast<std::uint64_t>(plan.seconds * 1e9 * per_ns);
    const auto gaps = [&shared] { return shared.gaps.load(std::memory_order_acquire); };
    while (side.ok) {
        Sample sample;
        sample.gaps_before = gaps();
        const std::uint64_t sent = ticks();
        if (sent - began >= length) {
            break;
        }
        side.look(sent);
        side.send();
        side.receive();
        const std::uint64_t back = ticks();
        side.look(back);
        sample.ns = static_cast<std::uint64_t>(static_cast<double>(back - sent) / per_ns / 2);
        judge.complete(sample, gaps());
    }
    judge.settle(gaps());
    own.thread = thread.read();
    own.noise = side.sampler.result();
    shared.over.store(true, std::memory_order_release);
    report.reason = side.ok ? report.reason : "the server has gone";
}

void connect_and_measure(const Plan& plan, double per_ns, Shared& shared, TransportReport& report) {
    const Owned ctx = make_context(plan);
    const std::uint32_t port = await_port(shared);
    smcd_sock* sock = ctx == nullptr || port == 0 ? nullptr : ::smcd_socket(ctx.get(), AF_INET, 0);
    const sockaddr_in address = loopback(port);
    if (sock == nullptr || !pin_to(plan.cpus[1]) ||
        ::smcd_connect(sock, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
        report.reason = "no connection";
        return;
    }
    report.accelerated = ::smcd_wait_verdict(sock, kVerdictMs) == 1;
    report.reason = report.accelerated ? "" : ::smcd_last_reason(sock);
    if (report.accelerated) {
        const CpuCounters server = read_cpu(plan.cpus[0]);
        const CpuCounters client = read_cpu(plan.cpus[1]);
        measure(plan, per_ns, sock, shared, report);
        report.sides[0].counters = since(server, read_cpu(plan.cpus[0]));
        report.sides[1].counters = since(client, read_cpu(plan.cpus[1]));
    }
}

} // namespace

TransportReport watch_transport(const Plan& plan, double ticks_per_ns) {
    TransportReport report;
    void* memory =
        ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        report.reason = "no memory";
        return report;
    }
    auto* shared = new (memory) Shared();
    const pid_t child = ::fork();
    if (child == 0) {
        serve(plan, ticks_per_ns, *shared);
        ::_exit(0);
    }
    connect_and_measure(plan, ticks_per_ns, *shared, report);
    if (child > 0) {
        ::waitpid(child, nullptr, 0);
    }
    report.sides[0].noise = shared->server.noise;
    report.sides[0].thread = shared->server.thread;
    report.sides[0].locked_kib = shared->server.locked_kib;
    report.sides[0].cpu = plan.cpus[0];
    report.sides[1].cpu = plan.cpus[1];
    shared->~Shared();
    ::munmap(memory, sizeof(Shared));
    return report;
}

} // namespace smcd::jitter
