#include "smcd/tools/isolation.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>

#include "smcd/tools/text.hpp"

namespace smcd::tools {
namespace {

namespace fs = std::filesystem;

constexpr int kCpusMax = 4096;

/// The file without the newlines at its end; nothing when it cannot be read.
std::optional<std::string> read_text(const fs::path& path) {
    std::ifstream file(path);
    if (!file) {
        return std::nullopt;
    }
    std::string text{std::istreambuf_iterator<char>(file), {}};
    while (!text.empty() && (text.back() == '\n' || text.back() == '\0')) {
        text.pop_back();
    }
    return text;
}

bool contains(const std::vector<int>& cpus, int cpu) {
    return std::find(cpus.begin(), cpus.end(), cpu) != cpus.end();
}

std::vector<int> cpus_in(const fs::path& path) {
    return parse_cpu_list(read_text(path).value_or("")).value_or(std::vector<int>{});
}

std::vector<std::string> entries(const fs::path& folder) {
    std::vector<std::string> names;
    std::error_code error;
    for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
        names.push_back(it->path().filename());
    }
    std::sort(names.begin(), names.end());
    return names;
}

bool is_number(std::string_view text) {
    return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

/// State letter and CPU in /proc/PID/task/TID/stat; the name before them may contain anything.
std::optional<std::pair<char, int>> parse_task(std::string_view stat) {
    constexpr int kProcessorField = 39;
    constexpr int kStateField = 3;
    const auto name_end = stat.rfind(") ");
    if (name_end == std::string_view::npos || name_end + 2 >= stat.size()) {
        return std::nullopt;
    }
    std::string_view rest = stat.substr(name_end + 2);
    const char state = rest.front();
    for (int field = kStateField; field < kProcessorField; ++field) {
        const auto space = rest.find(' ');
        if (space == std::string_view::npos) {
            return std::nullopt;
        }
        rest.remove_prefix(space + 1);
    }
    int cpu = -1;
    const auto done = std::from_chars(rest.data(), rest.data() + rest.size(), cpu);
    return done.ec == std::errc() ? std::optional(std::pair(state, cpu)) : std::nullopt;
}

struct Task {
    std::string id;
    std::string name;
};

class Machine {
public:
    explicit Machine(const std::string& root) : sys_(root + "/sys"), proc_(root + "/proc") {
        online_ = cpus_in(cpu_folder() / "online");
        look_at_tasks();
        look_at_interrupts();
    }

    [[nodiscard]] Finding isolated(int cpu) const {
        const bool given = contains(cpus_in(cpu_folder() / "isolated"), cpu) ||
                           contains(cpus_in(sys_ / "fs/cgroup/cpuset.cpus.isolated"), cpu);
        const std::string name = std::to_string(cpu);
        return given ? Finding{cpu,
                               "isolated",
                               Standing::good,
                               "the scheduler places no task there",
                               ""}
                     : Finding{cpu,
                               "isolated",
                               Standing::bad,
                               "the scheduler places tasks there",
                               "kernel command line: isolcpus=domain,managed_irq," + name};
    }

    [[nodiscard]] Finding tickless(int cpu) const {
        const bool given = contains(cpus_in(cpu_folder() / "nohz_full"), cpu);
        return given ? Finding{cpu, "tickless", Standing::good, "no tick while one task runs", ""}
                     : Finding{cpu,
                               "tickless",
                               Standing::bad,
                               "the timer tick interrupts it",
                               "kernel command line: nohz_full=" + std::to_string(cpu)};
    }

    /// nohz_full implies it.
    [[nodiscard]] Finding callbacks(int cpu) const {
        constexpr std::string_view kWord = "rcu_nocbs=";
        const std::string line = ' ' + read_text(proc_ / "cmdline").value_or("");
        const auto at = line.find(' ' + std::string(kWord));
        bool given = contains(cpus_in(cpu_folder() / "nohz_full"), cpu);
        if (at != std::string::npos) {
            const std::string_view value = std::string_view(line).substr(at + 1 + kWord.size());
            const std::string_view list = value.substr(0, value.find(' '));
            given = given || list == "all" ||
                    contains(parse_cpu_list(list).value_or(std::vector<int>{}), cpu);
        }
        return given ? Finding{cpu, "callbacks", Standing::good, "RCU's run elsewhere", ""}
                     : Finding{cpu,
                               "callbacks",
                               Standing::bad,
                               "RCU's run there",
                               "kernel command line: rcu_nocbs=" + std::to_string(cpu)};
    }

    [[nodiscard]] Finding interrupts(int cpu) const {
        const auto found = interrupts_.find(cpu);
        if (found == interrupts_.end()) {
            return {cpu, "interrupts", Standing::good, "none is sent there", ""};
        }
        std::string numbers;
        for (const std::string& number : found->second) {
            numbers += (numbers.empty() ? "" : " ") + number;
        }
        return {cpu,
                "interrupts",
                Standing::bad,
                std::to_string(found->second.size()) + " are sent there: " + numbers,
                elsewhere(cpu,
                          "for i in " + numbers + "; do echo ",
                          " >/proc/irq/$i/smp_affinity_list; done")};
    }

    [[nodiscard]] Finding tasks(int cpu) const {
        const auto found = tasks_.find(cpu);
        if (found == tasks_.end()) {
            return {cpu, "tasks", Standing::good, "none wants to run there at this moment", ""};
        }
        const Task& first = found->second.front();
        return {cpu,
                "tasks",
                Standing::bad,
                std::to_string(found->second.size()) + " run there at this moment, " +
                    printable(first.name) + " among them",
                elsewhere(cpu, "taskset -pc ", " " + first.id)};
    }

    [[nodiscard]] Finding frequency(int cpu) const {
        const auto governor = read_text(folder_of(cpu) / "cpufreq/scaling_governor");
        if (!governor) {
            return {cpu, "frequency", Standing::unknown, "the kernel does not govern it", ""};
        }
        if (*governor == "performance") {
            return {cpu, "frequency", Standing::good, "governor performance", ""};
        }
        return {cpu,
                "frequency",
                Standing::bad,
                "governor " + printable(*governor),
                "cpupower -c " + std::to_string(cpu) + " frequency-set -g performance"};
    }

    [[nodiscard]] Finding sibling(int cpu) const {
        const auto text = read_text(folder_of(cpu) / "topology/thread_siblings_list");
        const auto siblings = parse_cpu_list(text.value_or("")).value_or(std::vector<int>{});
        if (siblings.empty()) {
            return {cpu, "sibling", Standing::unknown, "the topology is not shown", ""};
        }
        for (const int other : siblings) {
            if (other != cpu && contains(online_, other)) {
                return {cpu,
                        "sibling",
                        Standing::bad,
                        "shares its core with CPU " + std::to_string(other),
                        "echo 0 >" + (folder_of(other) / "online").string()};
            }
        }
        return {cpu, "sibling", Standing::good, "has its core for itself", ""};
    }

private:
    [[nodiscard]] fs::path cpu_folder() const { return sys_ / "devices/system/cpu"; }

    [[nodiscard]] fs::path folder_of(int cpu) const {
        return cpu_folder() / ("cpu" + std::to_string(cpu));
    }

    /// A command around the list of the other CPUs; nothing where there is no other.
    [[nodiscard]] std::string
    elsewhere(int cpu, const std::string& before, const std::string& after) const {
        std::string list;
        for (const int other : online_) {
            if (other != cpu) {
                list += (list.empty() ? "" : ",") + std::to_string(other);
            }
        }
        return list.empty() ? list : before + list + after;
    }

    void look_at_tasks() {
        const std::string self = std::to_string(::getpid());
        for (const std::string& process : entries(proc_)) {
            if (!is_number(process) || process == self) {
                continue;
            }
            for (const std::string& id : entries(proc_ / process / "task")) {
                const fs::path folder = proc_ / process / "task" / id;
                const auto task = parse_task(read_text(folder / "stat").value_or(""));
                if (task && task->first == 'R') {
                    tasks_[task->second].push_back({id, read_text(folder / "comm").value_or("?")});
                }
            }
        }
    }

    /// Where interrupts go, as far as a device uses them: a folder of an action is in theirs.
    void look_at_interrupts() {
        for (const std::string& number : entries(proc_ / "irq")) {
            const fs::path folder = proc_ / "irq" / number;
            if (!is_number(number)) {
                continue;
            }
            const auto names = entries(folder);
            std::error_code error;
            const bool used = std::any_of(names.begin(), names.end(), [&](const std::string& name) {
                return fs::is_directory(folder / name, error);
            });
            for (const int cpu :
                 used ? cpus_in(folder / "effective_affinity_list") : std::vector<int>{}) {
                interrupts_[cpu].push_back(number);
            }
        }
    }

    fs::path sys_;
    fs::path proc_;
    std::vector<int> online_;
    std::map<int, std::vector<std::string>> interrupts_; ///< numbers, by CPU
    std::map<int, std::vector<Task>> tasks_;             ///< that run or want to, by CPU
};

Finding locked_memory() {
    rlimit limit{};
    constexpr rlim_t kMebi = 1U << 20U;
    ::getrlimit(RLIMIT_MEMLOCK, &limit);
    if (limit.rlim_cur == RLIM_INFINITY || ::geteuid() == 0) {
        return {-1, "locked memory", Standing::good, "no limit", ""};
    }
    return {-1,
            "locked memory",
            Standing::bad,
            "at most " + std::to_string(limit.rlim_cur / kMebi) + " MiB for each process",
            "ulimit -l unlimited"};
}

} // namespace

std::optional<std::vector<int>> parse_cpu_list(std::string_view text) {
    std::vector<int> cpus;
    while (!text.empty()) {
        const std::string_view item = text.substr(0, text.find(','));
        text.remove_prefix(std::min(item.size() + 1, text.size()));
        int first = -1;
        const char* const end = item.data() + item.size();
        auto parsed = std::from_chars(item.data(), end, first);
        int last = first;
        if (parsed.ec == std::errc() && parsed.ptr != end && *parsed.ptr == '-') {
            parsed = std::from_chars(parsed.ptr + 1, end, last);
        }
        if (parsed.ec != std::errc() || parsed.ptr != end || first < 0 || last < first ||
            last >= kCpusMax) {
            return std::nullopt;
        }
        for (int cpu = first; cpu <= last; ++cpu) {
            cpus.push_back(cpu);
        }
    }
    return cpus;
}

std::vector<Finding> find_disturbances(const std::vector<int>& cpus, const std::string& root) {
    const Machine machine(root);
    std::vector<Finding> findings;
    for (const int cpu : cpus) {
        findings.insert(findings.end(),
                        {machine.isolated(cpu),
                         machine.tickless(cpu),
                         machine.callbacks(cpu),
                         machine.interrupts(cpu),
                         machine.tasks(cpu),
                         machine.frequency(cpu),
                         machine.sibling(cpu)});
    }
    findings.push_back(locked_memory());
    return findings;
}

} // namespace smcd::tools
