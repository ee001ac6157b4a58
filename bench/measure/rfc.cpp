#include "bench/measure/rfc.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>

#include "bench/measure/external.hpp"
#include "bench/measure/output.hpp"
#include "bench/measure/statistics.hpp"
#include "smcd/base/unique_fd.hpp"
#include "smcd/tools/command.hpp"

namespace smcd::bench {
namespace {

constexpr std::uint64_t kRoundTrips = 1'000'000;
constexpr std::uint64_t kRoundTripBytes = 100;
constexpr double kPatienceS = 30;

/// A folder that goes with the object.
class Folder {
public:
    Folder() {
        std::string pattern = std::filesystem::temp_directory_path() / "smcu-bench-XXXXXX";
        path_ = ::mkdtemp(pattern.data()) == nullptr ? "" : pattern;
    }

    ~Folder() {
        std::error_code error;
        std::filesystem::remove_all(path_, error);
    }

    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;

    [[nodiscard]] const std::string& path() const { return path_; }

private:
    std::string path_;
};

/// One of the published benchmarks. `run` gives one figure, on TCP or under the shim.
struct Row {
    const char* what;
    const char* unit;
    double tcp_published;
    double smc_published;
    std::vector<std::string> programs;
    std::function<std::optional<double>(bool under_shim)> run;
};

using Words = std::vector<std::string>;

std::optional<double>
with_server(const Words& server,
            const Words& client,
            bool under_shim,
            std::uint16_t port,
            double seconds,
            const std::function<std::optional<double>(const std::string&)>& read) {
    External serving(server, under_shim);
    if (!serving.wait_listening(port)) {
        return std::nullopt;
    }
    External asking(client, under_shim);
    const auto text = asking.output(seconds + kPatienceS);
    return text ? read(*text) : std::nullopt;
}

std::optional<double> round_trips(const Options& options, bool under_shim) {
    Plan plan;
    plan.mode = Mode::pingpong;
    plan.path = under_shim ? Path::shim : Path::tcp;
    plan.message_bytes = kRoundTripBytes;
    plan.count = options.count != 0 ? options.count : kRoundTrips;
    plan.warmup_s = options.warmup_s;
    plan.congestion = options.congestion;
    const Measured measured = run_settled(plan);
    const Sample& sample = measured.sample;
    if (sample.failed() || (under_shim && !sample.accelerated())) {
        return std::nullopt;
    }
    return sample.messages() / sample.seconds();
}

std::optional<double>
sockperf(const Options& options, const char* mode, int bytes, bool under_shim) {
    const std::uint16_t port = free_port();
    const std::string number = std::to_string(port);
    Words client{"sockperf",
                 mode,
                 "--tcp",
                 "-i",
                 "127.0.0.1",
                 "-p",
                 number,
                 "-m",
                 std::to_string(bytes),
                 "-t",
                 std::to_string(static_cast<int>(options.seconds))};
    const bool latency = std::string_view(mode) == "pp";
    if (latency) {
        client.insert(client.end(),
                      {"--mps", "5000000"}); // its default makes room for 600,000 only
    }
    return with_server({"sockperf", "sr", "--tcp", "-i", "127.0.0.1", "-p", number},
                       client,
                       under_shim,
                       port,
                       options.seconds,
                       [&](const std::string& text) {
                           return number_behind(text, latency ? "Latency is " : "BandWidth is ");
                       });
}

/// An ordinary user may choose only what the machine allows to everybody.
bool may_choose(const std::string& congestion) {
    const UniqueFd probe(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    return ::setsockopt(probe.get(), IPPROTO_TCP, TCP_CONGESTION, congestion.data(),
                        static_cast<socklen_t>(congestion.size())) == 0;
}

std::optional<double> iperf3(const Options& options, bool under_shim) {
    const std::uint16_t port = free_port();
    const std::string number = std::to_string(port);
    const std::string seconds = std::to_string(static_cast<int>(options.seconds));
    Words client{"iperf3", "-c", "127.0.0.1", "-p", number, "-t", seconds, "-J"};
    if (!under_shim && may_choose(options.congestion)) {
        client.insert(client.end(), {"-C", options.congestion});
    }
    return with_server({"iperf3", "-s", "-B", "127.0.0.1", "-p", number},
                       client,
                       under_shim,
                       port,
                       options.seconds,
                       [](const std::string& text) -> std::optional<double> {
                           const std::size_t at = text.rfind("\"sum_received\"");
                           const auto bits = at == std::string::npos
                                                 ? std::nullopt
                                                 : number_behind(std::string_view(text).substr(at),
                                                                 "bits_per_second\":");
                           return bits ? std::optional(*bits / 1e9) : std::nullopt;
                       });
}

std::string nginx_config(const std::string& folder, const std::string& port) {
    // Processes of different users never share memory: the workers keep the user of the client.
    std::string text = ::geteuid() == 0 ? "user root;\n" : "";
    text += "daemon off;\nworker_processes auto;\npid " + folder +
            "/pid;\nerror_log stderr crit;\n"
            "events { worker_connections 2048; }\nhttp {\n    access_log off;\n    sendfile on;\n"
            "    keepalive_requests 1000000000;\n";
    for (const char* kind : {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"}) {
        text += std::string("    ") + kind + "_temp_path " + folder + "/" + kind + ";\n";
    }
    return text + "    server { listen 127.0.0.1:" + port + "; root " + folder + "; }\n}\n";
}

std::optional<double> nginx(const Options& options, bool under_shim) {
    const Folder folder;
    const std::uint16_t port = free_port();
    const std::string number = std::to_string(port);
    std::ofstream(folder.path() + "/file") << std::string(128, 'x');
    std::ofstream(folder.path() + "/nginx.conf") << nginx_config(folder.path(), number);
    return with_server(
        {"nginx", "-p", folder.path(), "-e", "stderr", "-c", folder.path() + "/nginx.conf"},
        {"wrk",
         "-t8",
         "-c500",
         "-d" + std::to_string(static_cast<int>(options.seconds)) + "s",
         "http://127.0.0.1:" + number + "/file"},
        under_shim,
        port,
        options.seconds,
        [](const std::string& text) { return number_behind(text, "Requests/sec:"); });
}

/// The figures of the proposal (version 4 of the letter where it has them), of a virtual machine
/// with 8 CPUs of 2.5 GHz.
std::vector<Row> rows_of(const Options& options) {
    return {
        {"round trips of 100 B",
         "per second", 77'500,
         150'000, {},
         [&](bool shim) { return round_trips(options, shim); }           },
        {"sockperf ping-pong 14 B",
         "us",         6.28,
         3.35,    {"sockperf"},
         [&](bool shim) { return sockperf(options, "pp", 14, shim); }    },
        {"sockperf stream 64000 B",
         "MiB/s",      4879,
         8151,    {"sockperf"},
         [&](bool shim) { return sockperf(options, "tp", 64'000, shim); }},
        {"iperf3",
         "Gbit/s",     40.6,
         74,      {"iperf3"},
         [&](bool shim) { return iperf3(options, shim); }                },
        {"nginx, wrk -t8 -c500",
         "requests/s", 154'600,
         226'800, {"nginx", "wrk"},
         [&](bool shim) { return nginx(options, shim); }                 },
    };
}

std::string missing_of(const Row& row) {
    std::string missing;
    for (const std::string& program : row.programs) {
        missing += is_installed(program) ? "" : (missing.empty() ? "" : ", ") + program;
    }
    return missing;
}

void measure(const Row& row, std::uint32_t repetitions, Published& published) {
    std::vector<double> values[2];
    for (std::uint32_t i = 0; i < repetitions; ++i) {
        for (const bool turn : {false, true}) {
            const bool under_shim = turn != (i % 2 == 1);
            if (const auto value = row.run(under_shim); value) {
                values[under_shim ? 1 : 0].push_back(*value);
            }
        }
    }
    published.set_tcp_here(interval_of(values[0]).median);
    published.set_smc_here(interval_of(values[1]).median);
    if (values[0].size() < repetitions || values[1].size() < repetitions) {
        published.set_note("runs that failed: " +
                           std::to_string(2 * repetitions - values[0].size() - values[1].size()));
    }
}

double gain(double tcp, double smc, bool lower_is_better) {
    if (tcp <= 0 || smc <= 0) {
        return 0;
    }
    return lower_is_better ? tcp / smc : smc / tcp;
}

void print(const Published& row) {
    const bool latency = row.unit() == "us";
    std::printf("%-26s %-11s %10.6g %10.6g %6.2fx | %10.6g %10.6g %6.2fx %s\n",
                row.what().c_str(),
                row.unit().c_str(),
                row.tcp_published(),
                row.smc_published(),
                gain(row.tcp_published(), row.smc_published(), latency),
                row.tcp_here(),
                row.smc_here(),
                gain(row.tcp_here(), row.smc_here(), latency),
                row.note().c_str());
    std::fflush(stdout);
}

} // namespace

int run_rfc(const Options& options) {
    Options used = options;
    used.seconds = std::max(used.seconds, 1.0); // the programs count whole seconds
    Result result;
    result.report.set_schema("smcu.bench/1");
    result.report.set_version(SMCD_VERSION);
    result.report.set_command(options.command);
    describe_machine(*result.report.mutable_machine());
    const bool table = options.json_file != "-" && !options.quiet;
    if (table) {
        std::printf("%-38s published: %-9s %-10s       | here: %-4s %-10s\n",
                    "",
                    "TCP",
                    "SMC-D",
                    "TCP",
                    "shim");
    }
    bool failed = false;
    for (const Row& row : rows_of(used)) {
        Published& published = *result.report.add_published();
        published.set_what(row.what);
        published.set_unit(row.unit);
        published.set_tcp_published(row.tcp_published);
        published.set_smc_published(row.smc_published);
        if (const std::string missing = missing_of(row); !missing.empty()) {
            published.set_note("not installed: " + missing);
        } else {
            measure(row, used.repetitions, published);
            failed = failed || !published.note().empty();
        }
        if (table) {
            print(published);
        }
    }
    if (!options.json_file.empty()) {
        std::ofstream file(options.json_file == "-" ? "/dev/stdout" : options.json_file);
        file << json_text(result);
        failed = failed || !file.flush();
    }
    return failed ? tools::kExitFailure : tools::kExitOk;
}

} // namespace smcd::bench
