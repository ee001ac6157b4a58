#include "bench/measure/sample.hpp"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <optional>

#include <nlohmann/json.hpp>

#include "smcd/base/clock.hpp"
#include "smcd/tools/launcher.hpp"

namespace smcd::bench {
namespace {

constexpr int kStartMs = 20'000;
/// A sample that takes this much longer than planned hangs.
constexpr double kPatienceS = 60;
/// Opening and closing so many connections may take a while.
constexpr double kPatiencePerConnectionS = 0.01;
/// Where the number of messages is given: several times what a round trip of two sleepers and its bytes cost on TCP.
constexpr double kPatiencePerMessageS = 300e-6;
constexpr double kPatiencePerByteS = 10e-9;

/// A file name of our own in the folder for temporary files.
class StatsFile {
public:
    StatsFile() {
        const char* folder = std::getenv("TMPDIR"); // NOLINT(concurrency-mt-unsafe): one thread
        path_ = std::string(folder == nullptr ? P_tmpdir : folder) + "/smcu-bench-" +
                std::to_string(::getpid());
        remove();
    }

    ~StatsFile() { remove(); }

    StatsFile(const StatsFile&) = delete;
    StatsFile& operator=(const StatsFile&) = delete;

    [[nodiscard]] const std::string& path() const { return path_; }

    void remove() const { std::remove(path_.c_str()); }

private:
    std::string path_;
};

/// What is left of a worker's output once its address line is read; nothing when it hangs.
std::optional<std::string> read_rest(const tools::Child& child, std::uint64_t deadline_ns) {
    std::string text;
    std::array<char, 65536> buffer;
    for (;;) {
        const std::uint64_t now = monotonic_ns();
        pollfd waiting{child.output, POLLIN, 0};
        const int left_ms =
            now >= deadline_ns ? 0 : static_cast<int>((deadline_ns - now) / kNsPerMs) + 1;
        const int ready = ::poll(&waiting, 1, left_ms);
        if (ready == 0) {
            return std::nullopt;
        }
        const ssize_t n = ready < 0 ? -1 : ::read(child.output, buffer.data(), buffer.size());
        if (n == 0) {
            return text;
        }
        if (n > 0) {
            text.append(buffer.data(), static_cast<std::size_t>(n));
        } else if (errno != EINTR) {
            return std::nullopt;
        }
    }
}

/// Sums the counters of both processes; says whether every connection was accelerated, and if not,
/// why.
void add_statistics(Sample& sample, const std::string& path) {
    std::ifstream file(path);
    std::string line;
    std::string reasons;
    while (std::getline(file, line)) {
        const auto counters = nlohmann::json::parse(line, nullptr, false);
        if (!counters.is_object()) {
            continue;
        }
        for (const auto& [name, value] : counters.items()) {
            if (value.is_number() && name != "pid") {
                (*sample.mutable_counters())[name] += value.get<double>();
            } else if (name == "tcp_reasons" && value.is_object()) {
                for (const auto& [reason, count] : value.items()) {
                    reasons += (reasons.empty() ? "" : ", ") + reason + " " + count.dump();
                }
            }
        }
    }
    const auto& counters = sample.counters();
    const auto of = [&](const char* name) {
        return counters.contains(name) ? counters.at(name) : 0.0;
    };
    sample.set_accelerated(of("accelerated") > 0 && of("tcp") == 0);
    if (!sample.accelerated()) {
        sample.set_reason(reasons.empty() ? "no connection was accelerated" : reasons);
    }
}

struct Workers {
    tools::Child server;
    tools::Child client;
    std::string error;
};

std::vector<std::string> worker_words(const char* role, const Plan& plan) {
    std::vector<std::string> words{role};
    const auto fields = plan.words();
    words.insert(words.end(), fields.begin(), fields.end());
    return words;
}

Workers start(const Plan& plan) {
    Workers workers;
    const bool preloaded = plan.path == Path::shim;
    auto server = tools::start_self(worker_words("internal-server", plan), preloaded);
    if (!server) {
        workers.error = "cannot start a worker: " + server.error().message();
        return workers;
    }
    workers.server = *server;
    const auto address = tools::read_line(workers.server, kStartMs);
    if (!address || *address == "-") {
        workers.error = "the server did not start";
        return workers;
    }
    auto words = worker_words("internal-client", plan);
    words.push_back(*address);
    const auto client = tools::start_self(words, preloaded);
    if (!client) {
        workers.error = "cannot start a worker: " + client.error().message();
        return workers;
    }
    workers.client = *client;
    return workers;
}

/// What a worker tells at its end. nothing: it hangs or crashed.
std::optional<WorkerResult> result_of(const tools::Child& child, std::uint64_t deadline_ns) {
    const auto text = read_rest(child, deadline_ns);
    WorkerResult result;
    if (!text || !result.ParseFromString(*text)) {
        return std::nullopt;
    }
    return result;
}

void combine(const Plan& plan,
             const WorkerResult& client,
             const WorkerResult& server,
             Measured& measured) {
    Sample& sample = measured.sample;
    const bool receiver_counts = plan.mode == Mode::stream || plan.mode == Mode::rate;
    const WorkerResult& counted = receiver_counts ? server : client;
    sample.set_messages(counted.messages());
    sample.set_bytes(plan.mode == Mode::mixed ? server.bytes() : counted.bytes());
    sample.set_seconds(counted.seconds());
    sample.set_client_cpu_seconds(client.cpu_seconds());
    sample.set_server_cpu_seconds(server.cpu_seconds());
    sample.set_setups_per_s(client.setups_per_s());
    measured.congestion = client.congestion();
    for (int i = 0; i + 1 < client.buckets_size(); i += 2) {
        measured.latency.add_bucket(static_cast<std::uint32_t>(client.buckets(i)),
                                    client.buckets(i + 1));
    }
    fill_percentiles(*sample.mutable_latency_us(), measured.latency, latency_scale(plan.mode));
    const std::string& error = client.error().empty() ? server.error() : client.error();
    if (!error.empty() || sample.seconds() <= 0) {
        sample.set_failed(true);
        sample.set_reason(error.empty() ? "nothing was measured: more time is needed" : error);
    }
}

} // namespace

void fill_percentiles(Percentiles& percentiles, const Histogram& histogram, double scale) {
    const auto us = [&](double ns) { return ns / 1000.0 * scale; };
    const auto at = [&](double percent) {
        return us(static_cast<double>(histogram.percentile_ns(percent)));
    };
    percentiles.set_min(us(static_cast<double>(histogram.min_ns())));
    percentiles.set_mean(us(histogram.mean_ns()));
    percentiles.set_p50(at(50));
    percentiles.set_p90(at(90));
    percentiles.set_p99(at(99));
    percentiles.set_p999(at(99.9));
    percentiles.set_p9999(at(99.99));
    percentiles.set_max(us(static_cast<double>(histogram.max_ns())));
    percentiles.set_count(static_cast<double>(histogram.count()));
}

double patience_s(const Plan& plan) noexcept {
    const double each = kPatiencePerMessageS + kPatiencePerByteS * static_cast<double>(plan.message_bytes);
    return plan.seconds + plan.warmup_s + kPatienceS + kPatiencePerConnectionS * plan.connections +
           each * static_cast<double>(plan.count);
}

Measured run_sample(const Plan& plan) {
    Measured measured;
    const StatsFile file;
    tools::apply({
        {"SMCD_STATS_FILE", file.path()}
    });
    if (!plan.profile.empty()) {
        tools::apply({
            {"SMCD_PROFILE", plan.profile}
        });
    }
    const Workers workers = start(plan);
    const std::uint64_t deadline_ns = monotonic_ns() + static_cast<std::uint64_t>(patience_s(plan) * 1e9);
    std::optional<WorkerResult> client;
    std::optional<WorkerResult> server;
    if (workers.error.empty()) {
        client = result_of(workers.client, deadline_ns);
        server = client ? result_of(workers.server, deadline_ns) : std::nullopt;
    }
    for (const tools::Child& child : {workers.client, workers.server}) {
        if (child.pid > 0) {
            tools::stop(child);
        }
    }
    if (client && server) {
        combine(plan, *client, *server, measured);
    } else {
        measured.sample.set_failed(true);
        measured.sample.set_reason(workers.error.empty() ? "a worker hangs or crashed"
                                                         : workers.error);
    }
    if (is_subject(plan.path) && !measured.sample.failed()) {
        add_statistics(measured.sample, file.path());
    }
    return measured;
}

Measured run_settled(const Plan& plan) {
    constexpr int kAttempts = 3;
    Measured measured = run_sample(plan);
    for (int attempt = 1; attempt < kAttempts; ++attempt) {
        const Sample& sample = measured.sample;
        const bool late = sample.reason().find("timed_out") != std::string::npos;
        if (!late || sample.failed() || sample.accelerated()) {
            break;
        }
        measured = run_sample(plan);
    }
    return measured;
}

} // namespace smcd::bench
