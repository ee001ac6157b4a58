#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "smcd/tools/isolation.hpp"

namespace smcd::tools {
namespace {

namespace fs = std::filesystem;

/// Files as the kernel shows them, of a machine with CPUs 0 to 3.
class IsolationTest : public ::testing::Test {
protected:
    void SetUp() override {
        std::string pattern = fs::temp_directory_path() / "smcd-isolation-XXXXXX";
        ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
        root_ = pattern;
        write("sys/devices/system/cpu/online", "0-3\n");
        write("proc/cmdline", "quiet\n");
    }

    void TearDown() override { fs::remove_all(root_); }

    void write(const std::string& name, const std::string& text) const {
        fs::create_directories((root_ / name).parent_path());
        std::ofstream(root_ / name) << text;
    }

    void cpu_file(int cpu, const std::string& name, const std::string& text) const {
        write("sys/devices/system/cpu/cpu" + std::to_string(cpu) + '/' + name, text);
    }

    void task(int pid, const std::string& name, char state, int cpu) const {
        const std::string folder = "proc/" + std::to_string(pid) + "/task/" + std::to_string(pid);
        std::string fields;
        for (int field = 4; field < 39; ++field) {
            fields += " 0";
        }
        write(folder + "/stat",
              std::to_string(pid) + " (" + name + ") " + state + fields + ' ' +
                  std::to_string(cpu) + " 0 0\n");
        write(folder + "/comm", name + '\n');
    }

    void interrupt(int number, const std::string& cpus, bool used) const {
        const std::string folder = "proc/irq/" + std::to_string(number);
        write(folder + "/effective_affinity_list", cpus + '\n');
        if (used) {
            fs::create_directories(root_ / folder / "eth0");
        }
    }

    [[nodiscard]] Finding of(int cpu, std::string_view what) const {
        const auto findings = find_disturbances({cpu}, root_);
        const auto found = std::find_if(findings.begin(), findings.end(), [&](const Finding& f) {
            return f.cpu == cpu && f.what == what;
        });
        EXPECT_NE(found, findings.end()) << what;
        return found == findings.end() ? Finding{} : *found;
    }

    fs::path root_;
};

TEST(CpuListTest, IsTheKernelsForm) {
    EXPECT_EQ(parse_cpu_list(""), std::vector<int>{});
    EXPECT_EQ(parse_cpu_list("3"), std::vector<int>{3});
    EXPECT_EQ(parse_cpu_list("0,2-4"), (std::vector<int>{0, 2, 3, 4}));
    for (const char* text : {"-1", "a", "2-1", "1,,2", "1-", "1 2", "99999", "0x1", "1-2-3"}) {
        EXPECT_FALSE(parse_cpu_list(text)) << text;
    }
}

TEST_F(IsolationTest, ABareMachineIsNotIsolated) {
    for (const char* what : {"isolated", "tickless", "callbacks"}) {
        const Finding finding = of(2, what);
        EXPECT_EQ(finding.standing, Standing::bad) << what;
        EXPECT_NE(finding.remedy.find('2'), std::string::npos) << finding.remedy;
    }
    EXPECT_EQ(of(2, "interrupts").standing, Standing::good);
    EXPECT_EQ(of(2, "tasks").standing, Standing::good);
    EXPECT_EQ(of(2, "frequency").standing, Standing::unknown);
    EXPECT_EQ(of(2, "sibling").standing, Standing::unknown);
}

TEST_F(IsolationTest, TheKernelsListsCount) {
    write("sys/devices/system/cpu/isolated", "2-3\n");
    write("sys/devices/system/cpu/nohz_full", "3\n");
    write("proc/cmdline", "quiet rcu_nocbs=2 splash\n");

    EXPECT_EQ(of(2, "isolated").standing, Standing::good);
    EXPECT_EQ(of(1, "isolated").standing, Standing::bad);
    EXPECT_EQ(of(3, "tickless").standing, Standing::good);
    EXPECT_EQ(of(2, "tickless").standing, Standing::bad);
    EXPECT_EQ(of(2, "callbacks").standing, Standing::good);
    EXPECT_EQ(of(3, "callbacks").standing, Standing::good);
    EXPECT_EQ(of(1, "callbacks").standing, Standing::bad);
}

TEST_F(IsolationTest, ACpusetPartitionIsolatesToo) {
    write("sys/fs/cgroup/cpuset.cpus.isolated", "1\n");
    EXPECT_EQ(of(1, "isolated").standing, Standing::good);
}

TEST_F(IsolationTest, InterruptsThatADeviceUsesCount) {
    interrupt(30, "1", true);
    interrupt(31, "1-2", true);
    interrupt(32, "1", false);

    EXPECT_EQ(of(1, "interrupts").remedy,
              "for i in 30 31; do echo 0,2,3 >/proc/irq/$i/smp_affinity_list; done");
    EXPECT_EQ(of(3, "interrupts").standing, Standing::good);
}

TEST_F(IsolationTest, TasksThatWantToRunCount) {
    task(100, "busy) R (x", 'R', 1);
    task(101, "idle", 'S', 1);
    task(102, "elsewhere", 'R', 0);

    EXPECT_EQ(of(1, "tasks").remedy, "taskset -pc 0,2,3 100");
    EXPECT_NE(of(1, "tasks").detail.find("busy) R (x"), std::string::npos);
    EXPECT_EQ(of(2, "tasks").standing, Standing::good);
}

TEST_F(IsolationTest, AnotherGovernorThanPerformanceIsNamed) {
    cpu_file(0, "cpufreq/scaling_governor", "powersave\n");
    cpu_file(1, "cpufreq/scaling_governor", "performance\n");

    EXPECT_EQ(of(0, "frequency").standing, Standing::bad);
    EXPECT_EQ(of(0, "frequency").detail, "governor powersave");
    EXPECT_EQ(of(1, "frequency").standing, Standing::good);
}

TEST_F(IsolationTest, ASiblingMattersWhileItIsOnline) {
    cpu_file(0, "topology/thread_siblings_list", "0,2\n");
    cpu_file(1, "topology/thread_siblings_list", "1\n");

    EXPECT_EQ(of(0, "sibling").standing, Standing::bad);
    EXPECT_NE(of(0, "sibling").remedy.find("cpu2/online"), std::string::npos);
    EXPECT_EQ(of(1, "sibling").standing, Standing::good);
    write("sys/devices/system/cpu/online", "0-1,3\n");
    EXPECT_EQ(of(0, "sibling").standing, Standing::good);
}

TEST_F(IsolationTest, DamagedFilesAreNoFindings) {
    write("proc/7/task/7/stat", "7 (x) R 1 2");
    write("proc/8/task/8/stat", "");
    write("proc/irq/9/effective_affinity_list", "?");
    fs::create_directories(root_ / "proc/irq/9/eth0");
    cpu_file(0, "topology/thread_siblings_list", "0-");

    EXPECT_EQ(of(0, "tasks").standing, Standing::good);
    EXPECT_EQ(of(0, "interrupts").standing, Standing::good);
    EXPECT_EQ(of(0, "sibling").standing, Standing::unknown);
}

} // namespace
} // namespace smcd::tools
