#include "bench/measure/external.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "smcd/base/clock.hpp"
#include "smcd/base/unique_fd.hpp"
#include "smcd/tools/preload_path.hpp"
#include "smcd/tools/program_file.hpp"

namespace smcd::bench {
namespace {

constexpr double kStartS = 15;
constexpr int kLookMs = 20;
constexpr int kStopMs = 5000;

std::uint64_t in_seconds(double seconds) {
    return monotonic_ns() + static_cast<std::uint64_t>(seconds * 1e9);
}

/// From the kernel's table, so that no server sees a connection.
bool is_listening(std::uint16_t port) {
    std::ifstream table("/proc/net/tcp");
    char wanted[16];
    std::snprintf(wanted, sizeof(wanted), ":%04X", static_cast<unsigned>(port));
    for (std::string line; std::getline(table, line);) {
        std::istringstream fields(line);
        std::string number;
        std::string local;
        std::string remote;
        std::string state;
        fields >> number >> local >> remote >> state;
        if (state == "0A" && local.ends_with(wanted)) {
            return true;
        }
    }
    return false;
}

} // namespace

bool is_installed(const std::string& program) {
    return tools::find_program(program).has_value();
}

std::uint16_t free_port() {
    const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address);
    if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), length) != 0 ||
        ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &length) != 0) {
        return 0;
    }
    return ntohs(address.sin_port);
}

External::External(std::vector<std::string> words, bool under_shim) {
    if (const auto folder = tools::own_folder(); under_shim && folder) {
        words.insert(words.begin(), {*folder + "/smcu", "run", "--"});
    }
    std::vector<char*> argv;
    for (std::string& word : words) {
        argv.push_back(word.data());
    }
    argv.push_back(nullptr);
    int ends[2] = {-1, -1};
    if (::pipe2(ends, O_CLOEXEC) != 0) {
        return;
    }
    pid_ = ::fork();
    if (pid_ == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGTERM);
        ::dup2(ends[1], STDOUT_FILENO);
        ::dup2(ends[1], STDERR_FILENO);
        ::execvp(argv[0], argv.data());
        ::_exit(127);
    }
    ::close(ends[1]);
    output_ = ends[0];
}

External::~External() {
    if (output_ >= 0) {
        ::close(output_);
    }
    if (pid_ <= 0 || reaped_) {
        return;
    }
    ::kill(pid_, SIGINT);
    for (int waited_ms = 0; ::waitpid(pid_, nullptr, WNOHANG) == 0; waited_ms += kLookMs) {
        if (waited_ms >= kStopMs) {
            ::kill(pid_, SIGKILL);
            ::waitpid(pid_, nullptr, 0);
            return;
        }
        ::poll(nullptr, 0, kLookMs);
    }
}

bool External::wait_listening(std::uint16_t port) {
    const std::uint64_t end = in_seconds(kStartS);
    while (!is_listening(port)) {
        if (pid_ <= 0 || monotonic_ns() > end) {
            return false;
        }
        if (::waitpid(pid_, nullptr, WNOHANG) != 0) {
            reaped_ = true;
            return false;
        }
        ::poll(nullptr, 0, kLookMs);
    }
    return true;
}

std::optional<std::string> External::output(double seconds) {
    const std::uint64_t end = in_seconds(seconds);
    std::string text;
    std::array<char, 4096> buffer;
    for (;;) {
        const std::uint64_t now = monotonic_ns();
        pollfd waiting{output_, POLLIN, 0};
        if (now >= end || ::poll(&waiting, 1, static_cast<int>((end - now) / kNsPerMs) + 1) == 0) {
            return std::nullopt;
        }
        const ssize_t n = ::read(output_, buffer.data(), buffer.size());
        if (n == 0) {
            break;
        }
        if (n > 0) {
            text.append(buffer.data(), static_cast<std::size_t>(n));
        } else if (errno != EINTR) {
            return std::nullopt;
        }
    }
    int status = 0;
    ::waitpid(pid_, &status, 0);
    reaped_ = true;
    return status == 0 ? std::optional(text) : std::nullopt;
}

std::optional<double> number_behind(std::string_view text, std::string_view mark) {
    const std::size_t at = text.find(mark);
    if (at == std::string_view::npos) {
        return std::nullopt;
    }
    const std::string rest(text.substr(at + mark.size(), 64));
    const std::size_t first = rest.find_first_of("0123456789");
    return first == std::string::npos ? std::nullopt
                                      : std::optional(std::strtod(rest.c_str() + first, nullptr));
}

} // namespace smcd::bench
