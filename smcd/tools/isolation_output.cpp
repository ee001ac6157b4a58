// `smcu check --isolation` for people and as JSON. Floor 4, docs/smcu.md "smcu check".
#include <algorithm>
#include <cstdio>
#include <filesystem>

#include <nlohmann/json.hpp>

#include "smcd/tools/command.hpp"
#include "smcd/tools/isolation.hpp"
#include "smcd/tools/text.hpp"

namespace smcd::tools {
namespace {

std::string word(Standing standing) {
    switch (standing) {
    case Standing::good:
        return "yes";
    case Standing::bad:
        return "no";
    case Standing::unknown:
        break;
    }
    return "unknown";
}

std::string as_text(const std::vector<Finding>& findings) {
    Table table({"CPU", "What", "Good", "Seen", "What to do"});
    for (const Finding& finding : findings) {
        table.add({finding.cpu < 0 ? "-" : std::to_string(finding.cpu),
                   std::string(finding.what),
                   word(finding.standing),
                   finding.detail,
                   finding.remedy});
    }
    return table.render();
}

std::string as_json(const std::vector<Finding>& findings, bool good) {
    nlohmann::ordered_json document{
        {"schema",   "smcu.isolation/1"             },
        {"isolated", good                           },
        {"findings", nlohmann::ordered_json::array()}
    };
    for (const Finding& finding : findings) {
        nlohmann::ordered_json entry;
        if (finding.cpu >= 0) {
            entry["cpu"] = finding.cpu;
        }
        entry["what"] = std::string(finding.what);
        entry["good"] = word(finding.standing);
        entry["seen"] = finding.detail;
        entry["remedy"] = finding.remedy;
        document["findings"].push_back(std::move(entry));
    }
    return document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + '\n';
}

bool exists(int cpu) {
    return std::filesystem::exists("/sys/devices/system/cpu/cpu" + std::to_string(cpu));
}

} // namespace

int check_isolation(const std::string& cpus, bool json) {
    const auto list = parse_cpu_list(cpus);
    if (!list || list->empty() || !std::all_of(list->begin(), list->end(), exists)) {
        complain("check", "'" + cpus + "' is no list of CPUs of this machine, such as 0,2-3");
        return kExitUsage;
    }
    const auto findings = find_disturbances(*list);
    const bool good = std::all_of(findings.begin(), findings.end(), [](const Finding& finding) {
        return finding.standing == Standing::good;
    });
    std::fputs((json ? as_json(findings, good) : as_text(findings)).c_str(), stdout);
    return good ? kExitOk : kExitDisturbed;
}

} // namespace smcd::tools
