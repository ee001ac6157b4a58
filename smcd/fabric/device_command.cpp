// `smcu device`: list and drain. Floor 4, docs/smcu.md "smcu device".
#include <sys/stat.h>

#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "devices/api/doorbell.hpp"
#include "smcd/fabric/commands.hpp"
#include "smcd/fabric/management.hpp"
#include "smcd/fabric/request.hpp"
#include "smcd/fabric/serve.hpp"
#include "smcd/runtime/config.hpp"
#include "smcd/runtime/devices.hpp"
#include "smcd/tools/command.hpp"
#include "smcd/tools/connections.hpp"
#include "smcd/tools/shim_memory.hpp"
#include "smcd/tools/text.hpp"

namespace smcd::fabric {
namespace {

struct Options {
    std::string folder;
    std::string device;
    bool json = false;
    bool undo = false;
};

struct DeviceRow {
    std::string name;
    std::uint32_t chid = 0;
    std::string gid;
    std::string transfer; ///< attach (no copy) or copy
    std::uint32_t dmbs_max = 0;
    std::size_t connections = 0;
    std::string fabric; ///< attachment point
    std::string state = "ready";
};

/// The folder of the fabric that the configuration names, if a server's socket is what it names.
std::string folder_of(const std::string& attach_point) {
    struct stat info {};

    if (::stat(attach_point.c_str(), &info) == 0 && S_ISSOCK(info.st_mode)) {
        return std::filesystem::path(attach_point).parent_path().string();
    }
    return {};
}

/// Live connections of the processes under the library that we may see, by device.
std::map<std::uint32_t, std::size_t> count_connections() {
    std::map<std::uint32_t, std::size_t> counts;
    for (const auto& connection : tools::list_connections(tools::scan_processes())) {
        if (connection.mode == tools::Mode::smcd && connection.block) {
            ++counts[connection.block->device];
        }
    }
    return counts;
}

/// Whether an administrator drains the fabric, as far as its server can be asked.
std::string fabric_state(const std::string& folder) {
    if (folder.empty()) {
        return "ready";
    }
    pb::Request request;
    request.mutable_status();
    const auto reply = ask(management_path(folder), request);
    if (!reply) {
        return "ready, no server";
    }
    return reply->status().drained() ? "drained" : "ready";
}

std::vector<DeviceRow> collect() {
    std::vector<DeviceRow> rows;
    const Config config = read_config();
    const auto counts = count_connections();
    for (const DeviceChoice& choice : config.devices) {
        DeviceRow row;
        row.name = dev::kDeviceKindNames.at(static_cast<std::size_t>(choice.kind));
        row.fabric = choice.kind == dev::DeviceKind::ivshmem ? config.fabric : "";
        Config one = config;
        one.devices = {choice};
        const auto doorbells = dev::DoorbellTable::create();
        const auto devices = doorbells ? make_devices(one, **doorbells)
                                       : std::vector<std::unique_ptr<dev::LinkedDevice>>();
        if (devices.empty()) {
            row.state = "cannot be had";
            rows.push_back(row);
            continue;
        }
        const dev::LinkedDevice& device = *devices.front();
        row.chid = device.fabric_id().value();
        row.gid = tools::hex(device.gid().high, 16).substr(2) +
                  tools::hex(device.gid().low, 16).substr(2);
        row.transfer = device.supports_attach() ? "attach" : "copy";
        row.dmbs_max = device.max_dmbs();
        const std::uint32_t id = dev::DeviceId{choice.kind, device.fabric_id()}.word();
        if (const auto found = counts.find(id); found != counts.end()) {
            row.connections = found->second;
        }
        if (choice.kind == dev::DeviceKind::ivshmem) {
            row.state = fabric_state(folder_of(config.fabric));
        }
        rows.push_back(row);
    }
    return rows;
}

int list(const Options& options) {
    const std::vector<DeviceRow> rows = collect();
    if (options.json) {
        nlohmann::ordered_json document{
            {"schema",  "smcu.device/1"                },
            {"devices", nlohmann::ordered_json::array()}
        };
        for (const DeviceRow& row : rows) {
            document["devices"].push_back({
                {"name",        row.name       },
                {"chid",        row.chid       },
                {"gid",         row.gid        },
                {"transfer",    row.transfer   },
                {"dmbs_max",    row.dmbs_max   },
                {"connections", row.connections},
                {"fabric",      row.fabric     },
                {"state",       row.state      }
            });
        }
        std::puts(document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
        return tools::kExitOk;
    }
    tools::Table table(
        {"Device", "CHID", "Transfer", "DMBs", "Connections", "State", "GID", "Fabric"});
    for (const DeviceRow& row : rows) {
        table.add({row.name,
                   tools::hex(row.chid, 4),
                   row.transfer.empty() ? "-" : row.transfer,
                   std::to_string(row.dmbs_max),
                   std::to_string(row.connections),
                   row.state,
                   row.gid.empty() ? "-" : row.gid,
                   row.fabric.empty() ? "-" : tools::printable(row.fabric)});
    }
    std::fputs(table.render().c_str(), stdout);
    return tools::kExitOk;
}

int drain(const Options& options) {
    if (options.device != "ivshmem") {
        tools::complain("device drain",
                        "only ivshmem has an administrator; leave others out of SMCD_DEVICES");
        return tools::kExitUsage;
    }
    std::string folder = options.folder;
    if (folder.empty()) {
        folder = folder_of(read_config().fabric);
    }
    pb::Request request;
    request.mutable_drain()->set_everybody(true);
    request.mutable_drain()->set_undo(options.undo);
    return ask_to_drain(
        "device drain", folder.empty() ? default_folder() : folder, request, options.json);
}

} // namespace

void add_device(CLI::App& program, int& status) {
    auto options = std::make_shared<Options>();
    CLI::App* device = program.add_subcommand("device", "The devices of this configuration");
    device->require_subcommand(1);
    CLI::App* listed = device->add_subcommand("list", "Show them and who uses them");
    listed->add_flag("-j,--json", options->json, "print one JSON object, schema smcu.device/1");
    listed->callback([options, &status] { status = list(*options); });
    CLI::App* drained =
        device->add_subcommand("drain", "Take connections off a device, and allow no new ones");
    drained->add_option("DEVICE", options->device, "ivshmem")->required();
    drained->add_option(
        "-d,--directory", options->folder, "of the fabric (default: SMCD_FABRIC's)");
    drained->add_flag("--undo", options->undo, "allow connections again");
    drained->add_flag("-j,--json", options->json, "print one JSON object");
    drained->callback([options, &status] { status = drain(*options); });
}

} // namespace smcd::fabric
