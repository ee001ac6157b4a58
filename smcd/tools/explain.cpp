// `smcu explain`: what a reason code means and what to do. Floor 4, docs/smcu.md "smcu explain".
#include <algorithm>
#include <cctype>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

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

/// "peer-no-smc" and "PEER_NO_SMC" mean peer_no_smc.
std::string plain_name(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) {
        return c == '-' ? '_' : static_cast<char>(std::tolower(c));
    });
    return text;
}

std::optional<Reason> find_reason(const std::string& what) {
    std::uint64_t code = 0;
    const bool is_code = parse_number(what, code);
    const std::string name = plain_name(what);
    for (const Reason reason : all_reasons()) {
        if (is_code ? static_cast<std::uint32_t>(reason) == code : reason_name(reason) == name) {
            return reason;
        }
    }
    return std::nullopt;
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
    std::string text = std::string(reason_name(reason)) + " (" + code_of(reason) + ")\n  " +
                       std::string(reason_text(reason)) + '\n';
    const std::string advice(reason_advice(reason));
    return advice.empty() ? text : text + "  What to do: " + advice + '\n';
}

std::string list_text() {
    Table table({"Code", "Name", "In words"});
    for (const Reason reason : all_reasons()) {
        table.add(
            {code_of(reason), std::string(reason_name(reason)), std::string(reason_text(reason))});
    }
    return table.render();
}

std::string list_json() {
    nlohmann::ordered_json document{
        {"schema",  "smcu.explain/1"               },
        {"reasons", nlohmann::ordered_json::array()}
    };
    for (const Reason reason : all_reasons()) {
        document["reasons"].push_back(reason_json(reason));
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
    const auto reason = find_reason(options.what);
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
