// What results depend on: the machine and the kernel's settings. Floor 4.
#include <sys/utsname.h>
#include <unistd.h>

#include <ctime>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "bench/measure/campaign.hpp"

namespace smcd::bench {
namespace {

std::string read_file(const std::filesystem::path& path) {
    std::ifstream file(path);
    std::stringstream text;
    text << file.rdbuf();
    std::string content = text.str();
    while (!content.empty() && content.back() == '\n') {
        content.pop_back();
    }
    return content;
}

/// The value behind "name : " in the first such line.
std::string field_of(const std::string& text, const std::string& name) {
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        const std::size_t colon = line.find(':');
        if (line.starts_with(name) && colon != std::string::npos) {
            const std::size_t value = line.find_first_not_of(" \t", colon + 1);
            return value == std::string::npos ? "" : line.substr(value);
        }
    }
    return "";
}

} // namespace

void describe_machine(Machine& machine) {
    const std::string cpu = read_file("/proc/cpuinfo");
    machine.set_cpu(field_of(cpu, "model name"));
    machine.set_virtual_machine((" " + field_of(cpu, "flags") + " ").find(" hypervisor ") !=
                                std::string::npos);
    machine.set_cpus(static_cast<double>(::sysconf(_SC_NPROCESSORS_ONLN)));
    utsname name{};
    ::uname(&name);
    machine.set_kernel(name.release);
    machine.set_governor(read_file("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"));
    std::error_code error;
    for (const auto& entry :
         std::filesystem::directory_iterator("/sys/devices/system/cpu/vulnerabilities", error)) {
        (*machine.mutable_mitigations())[entry.path().filename()] = read_file(entry.path());
    }
    machine.set_congestion_control(read_file("/proc/sys/net/ipv4/tcp_congestion_control"));
    machine.set_tcp_rmem(read_file("/proc/sys/net/ipv4/tcp_rmem"));
    machine.set_tcp_wmem(read_file("/proc/sys/net/ipv4/tcp_wmem"));
    machine.set_load_before(read_file("/proc/loadavg"));
    machine.set_compiler(__VERSION__);
    machine.set_memory_mib(static_cast<double>(::sysconf(_SC_PHYS_PAGES)) *
                           static_cast<double>(::sysconf(_SC_PAGESIZE)) / (1024.0 * 1024.0));
    const std::time_t now = std::time(nullptr);
    std::tm utc{};
    char text[32] = {};
    if (::gmtime_r(&now, &utc) != nullptr) {
        static_cast<void>(std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc));
    }
    machine.set_started(text);
}

} // namespace smcd::bench
