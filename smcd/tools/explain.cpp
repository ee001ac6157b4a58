// `smcu explain`: what a reason code means and what to do. Floor 4, docs/smcu.md "smcu explain".
#include <cstdio>
#include <memory>
#include <string>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "smcd/base/reason.hpp"
#include "smcd/tools/command.hpp"
#include "smcd/tools/text.hpp"

namespace smcd::tools {
namespace {

struct ExplainOptions {
    std::string what;
    bool list = false;
    bool json = false;
};

std::string code_of(Reason reason) {
    return hex(static_cast<std::uint32_t>(reason));
}

nlohmann::ordered_json reason_json(Reason reason) {
    return {
        {"name",   std::string(reason_name(reason))  },
        {"code",   code_of(reason)                   },
        {"text",   std::string(reason_text(reason))  },
        {"advice", std::string(reason_advice(reason))}
    };
}

std::string describe(Reason reason) {
    const std::string advice(reason_advice(reason));
    std::string text = std::string(reason_name(reason)) + " (" + code_of(reason) + ")\n  " +
                       std::string(reason_text(reason)) + '\n';
    return advice.empty() ? text : text + "  What to do: " + advice + '\n';
}

std::string list_text() {
    Table table({"Code", "Name", "In words"});
    for (const ReasonRow& row : reason_rows()) {
        table.add({code_of(row.reason), std::string(row.name), std::string(row.text)});
    }
    return table.render();
}

std::string list_json() {
    nlohmann::ordered_json document{
        {"schema",  "smcu.explain/1"               },
        {"reasons", nlohmann::ordered_json::array()}
    };
    for (const ReasonRow& row : reason_rows()) {
        document["reasons"].push_back(reason_json(row.reason));
    }
    return document.dump(2) + '\n';
}

int explain(const ExplainOptions& options) {
    if (options.list == !options.what.empty()) {
        complain("explain", "a code, a name or --list is needed");
        return kExitUsage;
    }
    if (options.list) {
        std::fputs((options.json ? list_json() : list_text()).c_str(), stdout);
        return kExitOk;
    }
    const auto reason = parse_reason(options.what);
    if (!reason) {
        complain("explain", "no reason '" + options.what + "'; 'smcu explain --list' shows all");
        return kExitFailure;
    }
    const std::string text = options.json ? reason_json(*reason).dump(2) + '\n' : describe(*reason);
    std::fputs(text.c_str(), stdout);
    return kExitOk;
}

} // namespace

void add_explain(CLI::App& program, int& status) {
    auto options = std::make_shared<ExplainOptions>();
    CLI::App* command = program.add_subcommand("explain", "Explain why a connection stays on TCP");
    command->footer("Exit status: 0 explained, 1 there is no such reason.");
    command->add_option(
        "reason", options->what, "code (0x03010000) or name, as 'smcu ss' shows them");
    command->add_flag("--list", options->list, "all reasons");
    command->add_flag("-j,--json", options->json, "print JSON");
    command->callback([options, &status] { status = explain(*options); });
}

} // namespace smcd::tools
