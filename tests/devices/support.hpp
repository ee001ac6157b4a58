// Helpers of the device tests: what is open, children with a deadline, waiting with a watchdog.
// Floor 4.
#pragma once

#include <dirent.h>
#include <poll.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>

#include "smcd/base/clock.hpp"

namespace smcd::dev::test {

/// Deadline of every wait; it is there to end a hang, not to measure.
inline constexpr int kWatchdogMs = 20'000;

/// Number of open descriptors of this process.
[[nodiscard]] inline std::size_t open_descriptors() {
    const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir("/proc/self/fd"), ::closedir);
    std::size_t count = 0;
    while (::readdir(dir.get()) != nullptr) {
        ++count;
    }
    return count;
}

/// Number of mappings whose name contains `name`.
[[nodiscard]] inline std::size_t mappings_of(const std::string& name) {
    const std::unique_ptr<FILE, int (*)(FILE*)> maps(std::fopen("/proc/self/maps", "re"),
                                                     std::fclose);
    std::size_t count = 0;
    char* line = nullptr;
    std::size_t size = 0;
    while (::getline(&line, &size, maps.get()) > 0) {
        count += std::string(line).find(name) != std::string::npos ? 1 : 0;
    }
    std::free(line);
    return count;
}

/// Whether the descriptor becomes readable before the watchdog ends.
[[nodiscard]] inline bool readable(int fd, int timeout_ms = kWatchdogMs) {
    pollfd item{fd, POLLIN, 0};
    return ::poll(&item, 1, timeout_ms) == 1;
}

/// Takes an eventfd's count; 0 when it was not rung.
[[nodiscard]] inline std::uint64_t take_rings(int event_fd) {
    std::uint64_t count = 0;
    return ::read(event_fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

/// Whether the thread of this process goes to sleep before the watchdog ends.
[[nodiscard]] inline bool falls_asleep(pid_t tid) {
    const std::string path = "/proc/self/task/" + std::to_string(tid) + "/stat";
    const std::uint64_t end = monotonic_ns() + kWatchdogMs * kNsPerMs;
    while (monotonic_ns() < end) {
        const std::unique_ptr<FILE, int (*)(FILE*)> stat(std::fopen(path.c_str(), "re"),
                                                         std::fclose);
        std::array<char, 256> line{};
        if (stat == nullptr || std::fgets(line.data(), line.size(), stat.get()) == nullptr) {
            return false;
        }
        const std::string text(line.data());
        if (text.compare(text.rfind(')') + 1, 2, " S") == 0) {
            return true;
        }
        ::sched_yield();
    }
    return false;
}

/// A forked child that runs `body` and exits with what it returns: 0 for success.
class Child {
public:
    explicit Child(const std::function<int()>& body) : pid_(::fork()) {
        if (pid_ == 0) {
            ::alarm(kWatchdogMs / 1000);
            ::_exit(body());
        }
    }

    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;

    ~Child() {
        if (pid_ > 0) {
            ::kill(pid_, SIGKILL);
            ::waitpid(pid_, nullptr, 0);
        }
    }

    [[nodiscard]] pid_t pid() const { return pid_; }

    /// Exit status of the child; 128 + signal when it was killed.
    [[nodiscard]] int wait() {
        int status = 0;
        ::waitpid(pid_, &status, 0);
        pid_ = -1;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }

private:
    pid_t pid_;
};

} // namespace smcd::dev::test
