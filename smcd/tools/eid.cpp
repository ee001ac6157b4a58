// `smcu ueid` and `smcu seid`: enterprise ids in the configuration file. Floor 4, docs/smcu.md
// "smcu ueid".
#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "clc/messages.hpp"
#include "smcd/runtime/config.hpp"
#include "smcd/runtime/settings.hpp"
#include "smcd/runtime/system_eid.hpp"
#include "smcd/tools/command.hpp"
#include "smcd/tools/conf_file.hpp"
#include "smcd/tools/text.hpp"

namespace smcd::tools {
namespace {

constexpr const char* kUeidSetting = "ueid";
constexpr const char* kSeidSetting = "seid";
constexpr const char* kUeidSchema = "smcu.ueid/1";
constexpr const char* kSeidSchema = "smcu.seid/1";

int fail(const char* command, const std::string& text) {
    complain(command, text);
    return kExitFailure;
}

/// Puts one setting into the configuration file.
int store(const char* command, const char* name, const std::string& value) {
    const std::string path = settings_path();
    const auto text = read_text(path);
    if (!text) {
        return fail(command, path + ": " + text.error().message());
    }
    const auto replaced = replace_text(path, with_setting(*text, name, value));
    if (!replaced) {
        return fail(command, path + ": " + replaced.error().message());
    }
    return kExitOk;
}

/// What the file says; the environment is not asked.
std::string stored(const char* name) {
    std::string value;
    if (const auto text = read_text(settings_path()); text) {
        for_each_line(*text, [&](std::string_view line) {
            if (const auto setting = parse_setting(line); setting && setting->name == name) {
                value = setting->value;
            }
        });
    }
    return value;
}

std::string joined(const std::vector<std::string>& words) {
    std::string text;
    for (const std::string& word : words) {
        text += (text.empty() ? "" : ",") + word;
    }
    return text;
}

int add_ueid(const std::string& name) {
    std::vector<std::string> ueids = parse_ueids(stored(kUeidSetting));
    if (!clc::make_ueid(name)) {
        complain("ueid add",
                 "'" + printable(name) +
                     "' is no enterprise id: 1 to 32 of A-Z, 0-9, '.' and '-', first a letter or "
                     "digit, no '..'");
        return kExitUsage;
    }
    if (std::find(ueids.begin(), ueids.end(), name) != ueids.end()) {
        return fail("ueid add", name + " is there already");
    }
    if (ueids.size() == kUeidsMax) {
        return fail("ueid add", "there are " + std::to_string(kUeidsMax) + " already, no more fit");
    }
    ueids.push_back(name);
    return store("ueid add", kUeidSetting, joined(ueids));
}

int delete_ueid(const std::string& name) {
    std::vector<std::string> ueids = parse_ueids(stored(kUeidSetting));
    if (std::erase(ueids, name) == 0) {
        return fail("ueid del", printable(name) + " is not there");
    }
    return store("ueid del", kUeidSetting, joined(ueids));
}

/// Those in force: of the environment, of the file, or the built-in one.
int show_ueids(bool json) {
    std::vector<std::string> ueids = read_config().ueids;
    const bool built_in = ueids.empty();
    if (built_in) {
        const auto& text = clc::default_ueid().text;
        const std::string padded(text.begin(), text.end());
        ueids.push_back(padded.substr(0, padded.find_last_not_of(' ') + 1));
    }
    if (json) {
        const nlohmann::ordered_json document{
            {"schema",   kUeidSchema},
            {"ueids",    ueids      },
            {"built_in", built_in   }
        };
        std::puts(document.dump(2).c_str());
        return kExitOk;
    }
    for (const std::string& ueid : ueids) {
        std::printf("%s%s\n", ueid.c_str(), built_in ? " (built in)" : "");
    }
    return kExitOk;
}

int show_seid(bool json) {
    const bool enabled = read_config().offers_seid;
    if (json) {
        const nlohmann::ordered_json document{
            {"schema",  kSeidSchema },
            {"seid",    system_eid()},
            {"enabled", enabled     }
        };
        std::puts(document.dump(2).c_str());
        return kExitOk;
    }
    std::printf("%s [%s]\n", std::string(system_eid()).c_str(), enabled ? "enabled" : "disabled");
    return kExitOk;
}

} // namespace

void add_eids(CLI::App& program, int& status) {
    auto name = std::make_shared<std::string>();
    auto json = std::make_shared<bool>(false);
    CLI::App* ueid = program.add_subcommand("ueid", "Show and change the user enterprise ids");
    ueid->require_subcommand(1);
    ueid->footer("Programs read " + settings_path() + " when they start.");
    const auto add_named = [&](const char* word, const char* help, int (*run)(const std::string&)) {
        CLI::App* command = ueid->add_subcommand(word, help);
        command->add_option("UEID", *name, "the id")->required();
        command->callback([name, run, &status] { status = run(*name); });
    };
    add_named("add", "Add one, behind the others", add_ueid);
    add_named("del", "Remove one", delete_ueid);
    const auto add_show = [&](CLI::App* to, int (*run)(bool)) {
        CLI::App* command = to->add_subcommand("show", "Show what is in force here");
        command->add_flag("-j,--json", *json, "print one JSON object");
        command->callback([json, run, &status] { status = run(*json); });
    };
    add_show(ueid, show_ueids);
    ueid->add_subcommand("flush", "Remove all: the built-in one remains")->callback([&status] {
        status = store("ueid flush", kUeidSetting, "");
    });
    CLI::App* seid = program.add_subcommand("seid", "Show and switch the system enterprise id");
    seid->require_subcommand(1);
    add_show(seid, show_seid);
    seid->add_subcommand("enable", "Let it count")->callback([&status] {
        status = store("seid enable", kSeidSetting, "1");
    });
    seid->add_subcommand("disable", "Let user enterprise ids alone count")->callback([&status] {
        status = store("seid disable", kSeidSetting, "0");
    });
}

} // namespace smcd::tools
