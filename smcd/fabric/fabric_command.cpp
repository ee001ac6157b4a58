// `smcu fabric`: serve, status, peers, events, drain. Floor 4, docs/smcu.md "smcu fabric".
#include <array>
#include <cstdio>
#include <ctime>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "smcd/fabric/commands.hpp"
#include "smcd/fabric/management.hpp"
#include "smcd/fabric/request.hpp"
#include "smcd/fabric/serve.hpp"
#include "smcd/runtime/config.hpp"
#include "smcd/tools/command.hpp"
#include "smcd/tools/text.hpp"

namespace smcd::fabric {
namespace {

struct Options {
    ServeOptions serve;
    std::string size;
    std::string mode;
    unsigned patience_s = 30;
    bool json = false;
    bool undo = false;
    bool all = false;
    std::uint32_t pid = 0;
    int slot = -1;
};

int run_serve(Options& options) {
    if (!options.size.empty()) {
        options.serve.bytes = parse_size(options.size.c_str());
        if (options.serve.bytes == 0) {
            tools::complain("fabric serve", "'" + options.size + "' is not a size");
            return tools::kExitUsage;
        }
    }
    if (!options.mode.empty()) {
        options.serve.mode = static_cast<unsigned>(std::stoul(options.mode, nullptr, 8));
    }
    options.serve.patience = std::chrono::seconds(options.patience_s);
    return serve(options.serve);
}

int show_status(const Options& options) {
    pb::Request request;
    request.mutable_status();
    const auto reply = ask_fabric("fabric status", options.serve.folder, request);
    if (!reply) {
        return tools::kExitFailure;
    }
    const pb::Status& status = reply->status();
    if (options.json) {
        print_json("smcu.fabric.status/1", "status", status);
        return tools::kExitOk;
    }
    std::printf("server:    pid %u, version %s, up %.1f s\n",
                status.pid(),
                status.version().c_str(),
                static_cast<double>(status.uptime_ms()) / 1000.0);
    std::printf("region:    %s, %s, GID %s%s\n",
                status.region().c_str(),
                bytes_text(status.region_bytes()).c_str(),
                status.gid().c_str(),
                status.drained() ? ", drained" : "");
    std::printf("socket:    %s\n", status.socket().c_str());
    std::printf("peers:     %u of %u slots\n", status.slots_used(), status.slots());
    std::printf("DMBs:      %llu, %s; %llu since the peers joined\n",
                static_cast<unsigned long long>(status.dmbs()),
                bytes_text(status.dmb_bytes()).c_str(),
                static_cast<unsigned long long>(status.dmbs_opened()));
    std::printf("clients:   %u now, %llu served, %llu dropped, %llu refused; %u vectors each\n",
                status.clients(),
                static_cast<unsigned long long>(status.clients_served()),
                static_cast<unsigned long long>(status.clients_dropped()),
                static_cast<unsigned long long>(status.clients_refused()),
                status.vectors());
    return tools::kExitOk;
}

std::string listeners_text(const pb::Peer& peer) {
    std::string text;
    for (const pb::Listener& listener : peer.listeners()) {
        const bool v6 = listener.address().find(':') != std::string::npos;
        text += (text.empty() ? "" : " ") +
                (v6 ? "[" + listener.address() + "]" : listener.address()) + ":" +
                std::to_string(listener.port()) +
                (listener.pnetid().empty() ? "" : "@" + listener.pnetid());
    }
    return text.empty() ? "-" : text;
}

int show_peers(const Options& options) {
    pb::Request request;
    request.mutable_peers();
    const auto reply = ask_fabric("fabric peers", options.serve.folder, request);
    if (!reply) {
        return tools::kExitFailure;
    }
    if (options.json) {
        print_json("smcu.fabric.peers/1", "", reply->peers());
        return tools::kExitOk;
    }
    tools::Table table({"Slot",
                        "State",
                        "Group",
                        "PID/Name",
                        "Machine",
                        "Client",
                        "Hears by",
                        "DMBs",
                        "Bytes",
                        "Opened",
                        "Listens at"});
    for (const pb::Peer& peer : reply->peers().peers()) {
        std::string client = "-";
        if (peer.has_client()) {
            client = std::to_string(peer.client()) + (peer.connected() ? "" : " (not now)");
        }
        table.add({std::to_string(peer.slot()),
                   peer.state() + (peer.drained() ? ", drained" : ""),
                   tools::hex(peer.group()),
                   std::to_string(peer.pid()) + "/" + peer.name(),
                   peer.same_kernel() ? "this" : "other",
                   client,
                   peer.hears_by(),
                   std::to_string(peer.dmbs()),
                   bytes_text(peer.dmb_bytes()),
                   std::to_string(peer.opened()),
                   listeners_text(peer)});
    }
    std::fputs(table.render().c_str(), stdout);
    return tools::kExitOk;
}

/// "2026-01-31 12:00:00.123", in UTC.
std::string time_text(std::uint64_t unix_ms) {
    constexpr std::uint64_t kMs = 1000;
    const auto seconds = static_cast<std::time_t>(unix_ms / kMs);
    std::tm parts{};
    std::array<char, 32> text{};
    ::gmtime_r(&seconds, &parts);
    const std::size_t length = std::strftime(text.data(), text.size(), "%F %T", &parts);
    std::snprintf(
        text.data() + length, text.size() - length, ".%03u", static_cast<unsigned>(unix_ms % kMs));
    return text.data();
}

int show_events(const Options& options) {
    pb::Request request;
    request.mutable_events();
    const auto reply = ask_fabric("fabric events", options.serve.folder, request);
    if (!reply) {
        return tools::kExitFailure;
    }
    if (options.json) {
        print_json("smcu.fabric.events/1", "", reply->events());
        return tools::kExitOk;
    }
    tools::Table table({"Number", "Time (UTC)", "What", "Client", "Peers"});
    for (const pb::Event& event : reply->events().events()) {
        table.add({std::to_string(event.number()),
                   time_text(event.unix_ms()),
                   event.what(),
                   event.has_client() ? std::to_string(event.client()) : "-",
                   event.has_peers() ? std::to_string(event.peers()) : "-"});
    }
    std::fputs(table.render().c_str(), stdout);
    return tools::kExitOk;
}

int drain(const Options& options) {
    pb::Request request;
    pb::DrainRequest& wanted = *request.mutable_drain();
    wanted.set_undo(options.undo);
    const int named =
        (options.pid != 0 ? 1 : 0) + (options.slot >= 0 ? 1 : 0) + (options.all ? 1 : 0);
    if (named != 1) {
        tools::complain("fabric drain", "one of --all, --pid and --slot is needed");
        return tools::kExitUsage;
    }
    if (options.pid != 0) {
        wanted.set_pid(options.pid);
    } else if (options.slot >= 0) {
        wanted.set_slot(static_cast<std::uint32_t>(options.slot));
    } else {
        wanted.set_everybody(true);
    }
    return ask_to_drain("fabric drain", options.serve.folder, request, options.json);
}

void add_serve(CLI::App& fabric, const std::shared_ptr<Options>& options, int& status) {
    CLI::App* command = fabric.add_subcommand("serve", "Provide a fabric, until SIGTERM");
    ServeOptions& serve = options->serve;
    command->add_option("--socket", serve.socket, "ivshmem socket (default: DIRECTORY/ivshmem)");
    command->add_option("--mode", options->mode, "permissions of that socket, octal (default: 600)")
        ->check(CLI::Number);
    command->add_option("-s,--size", options->size, "of a new region, e.g. 64M (default: 256M)");
    command->add_option("--peers", serve.peers, "slots of a new region (default: by its size)")
        ->check(CLI::Range(2U, 1024U));
    command->add_option("--vectors", serve.vectors, "eventfds of each client (default: 1)")
        ->check(CLI::Range(1U, 64U));
    command->add_option("--clients", serve.clients_max, "connections at most (default: 1024)")
        ->check(CLI::Range(1U, 2048U));
    command
        ->add_option("--patience",
                     options->patience_s,
                     "seconds after which a client that takes nothing is dropped (default: 30)")
        ->check(CLI::Range(1U, 3600U));
    command->callback([options, &status] { status = run_serve(*options); });
}

} // namespace

void add_fabric(CLI::App& program, int& status) {
    auto options = std::make_shared<Options>();
    options->serve.folder = default_folder();
    CLI::App* fabric = program.add_subcommand("fabric", "Shared memory between machines");
    fabric->require_subcommand(1);
    fabric->fallthrough();
    fabric->add_option("-d,--directory", options->serve.folder, "of the fabric")
        ->capture_default_str();
    add_serve(*fabric, options, status);
    const auto add = [&](const char* name, const char* help, int (*run)(const Options&)) {
        CLI::App* command = fabric->add_subcommand(name, help);
        command->add_flag("-j,--json", options->json, "print one JSON object");
        command->callback([options, run, &status] { status = run(*options); });
        return command;
    };
    add("status", "Show the server, its region and its clients", show_status);
    add("peers", "Show the processes that have joined", show_peers);
    add("events", "Show what happened at the server lately", show_events);
    CLI::App* drained = add("drain", "Let no new connections use the fabric", drain);
    drained->add_flag("--all", options->all, "all peers, and those that will join");
    drained->add_option("--pid", options->pid, "the peers of that process");
    drained->add_option("--slot", options->slot, "the peer in that slot");
    drained->add_flag("--undo", options->undo, "allow new connections again");
}

} // namespace smcd::fabric
