// `smcu info`: what is installed here, and whether it works. Floor 4, docs/smcu.md "smcu info".
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "devices/api/doorbell.hpp"
#include "smcd/runtime/config.hpp"
#include "smcd/runtime/devices.hpp"
#include "smcd/tools/command.hpp"
#include "smcd/tools/connections.hpp"
#include "smcd/tools/launcher.hpp"
#include "smcd/tools/preload_path.hpp"
#include "smcd/tools/proc_files.hpp"
#include "smcd/tools/text.hpp"

namespace smcd::tools {
namespace {

constexpr int kLoadMs = 10000;

struct Fact {
    std::string key;   ///< in JSON
    std::string label; ///< for people
    std::string value;
};

/// Starts a process under the library and asks it.
std::string load_test() {
    const auto child = start_self({"internal-loaded"}, true);
    if (!child) {
        return "cannot be tried: " + child.error().message();
    }
    const auto line = read_line(*child, kLoadMs);
    stop(*child);
    if (!line) {
        return "no: a program under it gives no answer";
    }
    return *line == "loaded"
               ? "yes"
               : "no: the loader refused it, or it switched itself off (SMCD_DISABLE?)";
}

std::string first_line(const char* path) {
    std::string text;
    if (std::FILE* file = std::fopen(path, "re"); file != nullptr) {
        char buffer[256] = "";
        if (std::fgets(buffer, sizeof(buffer), file) != nullptr) {
            text = buffer;
        }
        std::fclose(file);
    }
    text.erase(text.find_last_not_of('\n') + 1);
    return printable(text);
}

/// What SMCD_DEVICES asks for here, in its order.
std::string devices() {
    std::string text;
    const auto doorbells = dev::DoorbellTable::create();
    if (!doorbells) {
        return doorbells.error().message();
    }
    for (const auto& device : make_devices(read_config(), **doorbells)) {
        std::array<char, 24> chid{};
        std::snprintf(chid.data(), chid.size(), " (CHID 0x%04x)", device->fabric_id().value());
        const auto kind = static_cast<std::size_t>(device->kind());
        text +=
            (text.empty() ? "" : ", ") + std::string(dev::kDeviceKindNames.at(kind)) + chid.data();
    }
    return text;
}

std::vector<Fact> collect() {
    std::vector<Fact> facts;
    utsname system{};
    ::uname(&system);
    const auto library = find_preload();
    const std::uint64_t netns = netns_of(::getpid());
    facts.push_back({"version", "version", SMCD_VERSION});
    facts.push_back({"preload", "library", library ? *library : "not found"});
    facts.push_back({"preload_loads", "library loads", library ? load_test() : "no"});
    facts.push_back({"device", "device", devices()});
    facts.push_back({"netns", "network namespace", netns == 0 ? "unknown" : std::to_string(netns)});
    facts.push_back({"kernel", "kernel", system.release});
    facts.push_back({"uid", "uid", std::to_string(::geteuid())});
    facts.push_back({"ptrace_scope",
                     "kernel.yama.ptrace_scope",
                     first_line("/proc/sys/kernel/yama/ptrace_scope")});
    facts.push_back({"congestion_control",
                     "TCP congestion control",
                     first_line("/proc/sys/net/ipv4/tcp_congestion_control")});
    return facts;
}

int print(bool json) {
    const std::vector<Fact> facts = collect();
    nlohmann::ordered_json document{
        {"schema", "smcu.info/1"}
    };
    bool works = false;
    for (const Fact& fact : facts) {
        document[fact.key] = fact.value;
        works = works || (fact.key == "preload_loads" && fact.value == "yes");
        if (!json) {
            std::printf("%-25s %s\n",
                        (fact.label + ':').c_str(),
                        fact.value.empty() ? "-" : fact.value.c_str());
        }
    }
    if (json) {
        std::puts(document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
    }
    return works ? kExitOk : kExitFailure;
}

} // namespace

void add_info(CLI::App& program, int& status) {
    auto json = std::make_shared<bool>(false);
    CLI::App* info =
        program.add_subcommand("info", "Show what is installed here and whether it works");
    info->footer("Exit status: 0 when programs can be started under the library, else 1.");
    info->add_flag("-j,--json", *json, "print one JSON object, schema smcu.info/1");
    info->callback([json, &status] { status = print(*json); });
}

} // namespace smcd::tools
