#include "smcd/tools/launcher.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>

#include "smcd/base/clock.hpp"
#include "smcd/tools/preload_path.hpp"

namespace smcd::tools {
namespace {

constexpr std::size_t kLineBytesMax = 65536;
constexpr int kStopPatienceMs = 2000;

int left_ms(std::uint64_t deadline_ns) noexcept {
    const std::uint64_t now = monotonic_ns();
    return now >= deadline_ns ? 0 : static_cast<int>((deadline_ns - now) / 1'000'000U) + 1;
}

[[noreturn]] void become(const std::vector<std::string>& arguments, int output, pid_t parent) {
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (::getppid() != parent || ::dup2(output, STDOUT_FILENO) < 0) {
        ::_exit(1);
    }
    std::vector<char*> argv;
    argv.reserve(arguments.size() + 1);
    for (const std::string& argument : arguments) {
        argv.push_back(const_cast<char*>(
            argument.c_str())); // NOLINT(cppcoreguidelines-pro-type-const-cast): execv copies
    }
    argv.push_back(nullptr);
    ::execv(argv[0], argv.data());
    ::_exit(1);
}

} // namespace

Result<void> preload_into_environment() {
    SMCD_TRY(const std::string library, find_preload());
    if (!is_preload_path(library)) {
        return Error(std::errc::invalid_argument);
    }
    const char* existing = std::getenv("LD_PRELOAD"); // NOLINT(concurrency-mt-unsafe): one thread
    apply({
        {"LD_PRELOAD", compose_preload(existing == nullptr ? "" : existing, library)}
    });
    return {};
}

std::string describe_preload_error(std::error_code error) {
    if (error == std::errc::invalid_argument) {
        return "the path of " + std::string(kPreloadName) +
               " contains a space or a colon, which LD_PRELOAD cannot express";
    }
    const auto folder = own_folder();
    std::string text = "cannot find " + std::string(kPreloadName) + ", looked at";
    for (const std::string& place : preload_candidates(folder.value_or("."))) {
        text += "\n  " + place;
    }
    return text;
}

void apply(const Settings& settings) {
    for (const auto& [name, value] : settings) {
        ::setenv(name.c_str(), value.c_str(), 1); // NOLINT(concurrency-mt-unsafe): one thread
    }
}

Result<Child> start_self(const std::vector<std::string>& arguments, bool preloaded) {
    SMCD_TRY(const std::string self, own_path());
    std::vector<std::string> full{self};
    full.insert(full.end(), arguments.begin(), arguments.end());
    int ends[2] = {-1, -1};
    if (::pipe2(ends, O_CLOEXEC) != 0) {
        return errno_error();
    }
    const pid_t parent = ::getpid();
    const pid_t pid = ::fork();
    if (pid == 0) {
        if (preloaded && !preload_into_environment()) {
            ::_exit(1);
        }
        become(full, ends[1], parent);
    }
    const int error = errno;
    ::close(ends[1]);
    if (pid < 0) {
        ::close(ends[0]);
        return errno_error(error);
    }
    return Child{pid, ends[0]};
}

Result<std::string> read_line(const Child& child, int timeout_ms) {
    const std::uint64_t deadline =
        monotonic_ns() + static_cast<std::uint64_t>(timeout_ms) * 1'000'000U;
    std::string line;
    while (line.size() < kLineBytesMax) {
        pollfd waiting{child.output, POLLIN, 0};
        const int ready = ::poll(&waiting, 1, left_ms(deadline));
        if (ready == 0) {
            return Error(std::errc::timed_out);
        }
        char c = 0;
        const ssize_t n = ready < 0 ? -1 : ::read(child.output, &c, 1);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n == 0 ? Error(std::errc::no_message_available) : errno_error();
        }
        if (c == '\n') {
            return line;
        }
        line.push_back(c);
    }
    return Error(std::errc::message_size);
}

int stop(const Child& child) {
    ::close(child.output);
    ::kill(child.pid, SIGTERM);
    int status = 0;
    for (int waited_ms = 0; ::waitpid(child.pid, &status, WNOHANG) == 0; waited_ms += 10) {
        if (waited_ms >= kStopPatienceMs) {
            ::kill(child.pid, SIGKILL);
            ::waitpid(child.pid, &status, 0);
            break;
        }
        ::poll(nullptr, 0, 10);
    }
    return status;
}

} // namespace smcd::tools
