// `smcu check`: will a connection be accelerated, and if not, why? Floor 4, docs/smcu.md "smcu
// check".
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "smcd/base/reason.hpp"
#include "smcd/tools/command.hpp"
#include "smcd/tools/echo_server.hpp"
#include "smcd/tools/isolation.hpp"
#include "smcd/tools/launcher.hpp"
#include "smcd/tools/preload_path.hpp"
#include "smcd/tools/probe.hpp"
#include "smcd/tools/shim_memory.hpp"
#include "smcd/tools/text.hpp"

namespace smcd::tools {
namespace {

constexpr int kDefaultPort = 37373;
constexpr int kServerStartMs = 10000;
constexpr int kProbeMarginMs = 5000;

struct CheckOptions {
    bool self = false;
    bool json = false;
    std::string target;
    std::string isolation; ///< CPUs
    std::vector<std::uint16_t> serve;
    bool wants_server = false;
    int timeout_ms = 2000;
};

struct InternalOptions {
    std::string host;
    std::string port;
    ProbeOptions probe;
    EchoOptions echo;
};

std::string reason_lines(const char* whose, std::uint32_t code) {
    const auto reason = static_cast<Reason>(code);
    std::string text = std::string(whose) + std::string(reason_text(reason)) + " [" +
                       std::string(reason_name(reason)) + ", " + hex(code) + "]\n";
    const std::string advice(reason_advice(reason));
    return advice.empty() ? text : text + "  what to do: " + advice + '\n';
}

std::string verdict_word(Verdict verdict) {
    switch (verdict) {
    case Verdict::accelerated:
        return "accelerated";
    case Verdict::on_tcp:
        return "tcp";
    case Verdict::undecided:
        return "undecided";
    case Verdict::no_connection:
        break;
    }
    return "no_connection";
}

int status_of(Verdict verdict) noexcept {
    switch (verdict) {
    case Verdict::accelerated:
        return kExitOk;
    case Verdict::on_tcp:
    case Verdict::undecided:
        return kExitOnTcp;
    case Verdict::no_connection:
        break;
    }
    return kExitNoConnection;
}

std::string describe(const ProbeReport& report) {
    const std::string ends = report.local + " -> " + report.peer + ": ";
    switch (report.verdict) {
    case Verdict::accelerated:
        return ends + "accelerated (SMC-D, device " + report.device + ")\n";
    case Verdict::no_connection:
        return "no connection: " + report.problem + '\n';
    case Verdict::undecided:
        return ends +
               "undecided: the server has not answered the Proposal; has its program accepted "
               "the connection?\n";
    case Verdict::on_tcp:
        break;
    }
    std::string text = ends + "on TCP\n";
    if (!report.problem.empty()) {
        text += "  because: " + report.problem + '\n';
    }
    if (report.reason != 0) {
        text += reason_lines("  because: ", report.reason);
    }
    if (report.peer_reason != 0) {
        text += reason_lines("  the peer says: ", report.peer_reason);
    }
    return text;
}

std::string report_json(const ProbeReport& report) {
    nlohmann::ordered_json document;
    const auto name = [](std::uint32_t code) {
        return code == 0 ? std::string() : std::string(reason_name(static_cast<Reason>(code)));
    };
    document["schema"] = "smcu.check/1";
    document["result"] = verdict_word(report.verdict);
    document["local"] = report.local;
    document["peer"] = report.peer;
    document["device"] = report.device;
    document["problem"] = report.problem;
    document["reason_name"] = name(report.reason);
    document["reason_code"] = hex(report.reason);
    document["peer_reason_name"] = name(report.peer_reason);
    document["peer_reason_code"] = hex(report.peer_reason);
    document["dmb_rx_bytes"] = report.rx_bytes;
    document["dmb_tx_bytes"] = report.tx_bytes;
    return document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + '\n';
}

int print_report(const ProbeReport& report, bool json) {
    const std::string text = json ? report_json(report) : describe(report);
    std::fputs(text.c_str(), stdout);
    return status_of(report.verdict);
}

int fail(const std::string& text) {
    complain("check", text);
    return kExitFailure;
}

/// Starts the client under the library and prints what it reports.
int run_probe(const Target& target, const CheckOptions& options) {
    std::vector<std::string> arguments{
        "internal-probe", "--timeout", std::to_string(options.timeout_ms)};
    if (options.self) {
        arguments.emplace_back("--echo");
    }
    arguments.insert(arguments.end(), {"--", target.host, target.port});
    const auto child = start_self(arguments, true);
    if (!child) {
        return fail("cannot start the client: " + child.error().message());
    }
    const ProbeOptions defaults;
    const auto line =
        read_line(*child, 2 * defaults.connect_ms + options.timeout_ms + kProbeMarginMs);
    stop(*child);
    const auto report = line ? decode_report(*line) : std::nullopt;
    if (!report) {
        return fail("the client gave no report: " +
                    (line ? "it printed something else" : line.error().message()));
    }
    return print_report(*report, options.json);
}

int check_self(const CheckOptions& options) {
    const auto server = start_self({"internal-echo"}, true);
    if (!server) {
        return fail("cannot start the server: " + server.error().message());
    }
    constexpr std::string_view kPrefix = "port ";
    const auto line = read_line(*server, kServerStartMs);
    int status = kExitFailure;
    if (line && line->starts_with(kPrefix)) {
        status = run_probe({"127.0.0.1", line->substr(kPrefix.size())}, options);
    } else {
        complain("check", "the server did not start");
    }
    stop(*server);
    return status;
}

int serve(std::uint16_t port) {
    std::vector<std::string> words{"internal-echo", "--any", "--port", std::to_string(port)};
    const auto self = own_path();
    if (!self) {
        return fail(self.error().message());
    }
    words.insert(words.begin(), *self);
    std::vector<char*> argv;
    for (std::string& word : words) {
        argv.push_back(word.data());
    }
    argv.push_back(nullptr);
    ::execv(argv[0], argv.data());
    return fail(std::strerror(errno)); // NOLINT(concurrency-mt-unsafe): one thread
}

int check(const CheckOptions& options) {
    const auto target = parse_target(options.target);
    if (static_cast<int>(options.self) + static_cast<int>(options.wants_server) +
            static_cast<int>(!options.target.empty()) +
            static_cast<int>(!options.isolation.empty()) !=
        1) {
        complain("check", "one of --self, HOST:PORT, -S and --isolation is needed");
        return kExitUsage;
    }
    if (!options.isolation.empty()) {
        return check_isolation(options.isolation, options.json);
    }
    if (!options.target.empty() && !target) {
        complain("check", "'" + options.target + "' is not HOST:PORT");
        return kExitUsage;
    }
    const auto preloaded = preload_into_environment();
    if (!preloaded) {
        return fail(describe_preload_error(preloaded.error()));
    }
    if (options.wants_server) {
        return serve(options.serve.empty() ? kDefaultPort : options.serve.front());
    }
    return options.self ? check_self(options) : run_probe(*target, options);
}

void add_internal_probe(CLI::App& program, int& status) {
    auto options = std::make_shared<InternalOptions>();
    CLI::App* command = program.add_subcommand("internal-probe", "client of check")->group("");
    command->add_option("host", options->host)->required();
    command->add_option("port", options->port)->required();
    command->add_option("--timeout", options->probe.verdict_ms);
    command->add_flag("--echo", options->probe.echo);
    command->callback([options, &status] {
        const ProbeReport report = probe({options->host, options->port}, options->probe);
        std::puts(encode(report).c_str());
        std::fflush(stdout);
        status = kExitOk;
    });
}

void add_internal_echo(CLI::App& program, int& status) {
    auto options = std::make_shared<InternalOptions>();
    CLI::App* command = program.add_subcommand("internal-echo", "server of check")->group("");
    command->add_option("--port", options->echo.port);
    command->add_flag("--any", options->echo.all_addresses);
    command->callback([options, &status] { status = serve_echo(options->echo); });
}

} // namespace

void add_check(CLI::App& program, int& status) {
    auto options = std::make_shared<CheckOptions>();
    CLI::App* command = program.add_subcommand("check", "Test whether a connection is accelerated");
    command->footer(
        "The client sends nothing to a server that is not its own: it waits for the verdict and "
        "closes.\nExit status: 0 accelerated, 10 on TCP or undecided, 20 no connection; with "
        "--isolation 0 or, when\na CPU is not left alone, 10.");
    command->add_flag("--self", options->self, "start a server and a client here");
    command->add_option("target,-C,--client", options->target, "connect to this server")
        ->type_name("HOST:PORT");
    CLI::Option* server =
        command->add_option("-S,--server", options->serve, "be the server (port 37373)");
    server->type_name("PORT")->expected(0, 1);
    command->add_flag("-j,--json",
                      options->json,
                      "print one JSON object, schema smcu.check/1 or smcu.isolation/1");
    command
        ->add_option("--isolation",
                     options->isolation,
                     "what disturbs these CPUs, and what to do; no connection")
        ->type_name("CPU,CPU-CPU");
    command->add_option("--timeout", options->timeout_ms, "how long to wait for the verdict (2000)")
        ->type_name("MS")
        ->check(CLI::Range(1, 600000));
    command->callback([options, server, &status] {
        options->wants_server = server->count() != 0;
        status = check(*options);
    });
}

void add_internal(CLI::App& program, int& status) {
    add_internal_probe(program, status);
    add_internal_echo(program, status);
    CLI::App* loaded =
        program.add_subcommand("internal-loaded", "whether the library is here")->group("");
    loaded->callback([&status] {
        const bool here = !scan_processes(::getpid()).processes.empty();
        std::puts(here ? "loaded" : "not loaded");
        std::fflush(stdout);
        status = kExitOk;
    });
}

} // namespace smcd::tools
