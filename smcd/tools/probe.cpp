#include "smcd/tools/probe.hpp"

#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>

#include <nlohmann/json.hpp>

#include "devices/api/device_kind.hpp"
#include "smcd/base/clock.hpp"
#include "smcd/base/unique_fd.hpp"
#include "smcd/tools/connections.hpp"
#include "smcd/tools/shim_memory.hpp"

namespace smcd::tools {
namespace {

constexpr int kStepMs = 2;

struct FreeAddresses {
    void operator()(addrinfo* list) const noexcept { ::freeaddrinfo(list); }
};

/// A descriptor that close() closes: the library must see it, and UniqueFd goes past it.
class ClosingFd {
public:
    explicit ClosingFd(int fd) noexcept : fd_(fd) {}

    ClosingFd(const ClosingFd&) = delete;
    ClosingFd& operator=(const ClosingFd&) = delete;

    ~ClosingFd() {
        if (fd_ >= 0) {
            ::close(fd_);
        }
    }

    [[nodiscard]] int get() const noexcept { return fd_; }

private:
    int fd_;
};

std::string error_text(int error) {
    return std::strerror(error); // NOLINT(concurrency-mt-unsafe): one thread
}

timeval milliseconds(int ms) noexcept {
    return {ms / 1000, static_cast<suseconds_t>(ms % 1000) * 1000};
}

/// A connected socket, or -1 with the last error in `problem`.
int connect_to(const Target& target, int timeout_ms, std::string& problem) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* list = nullptr;
    const int failed = ::getaddrinfo(target.host.c_str(), target.port.c_str(), &hints, &list);
    if (failed != 0) {
        problem = ::gai_strerror(failed);
        return -1;
    }
    const std::unique_ptr<addrinfo, FreeAddresses> addresses(list);
    const timeval patience = milliseconds(timeout_ms);
    for (const addrinfo* one = list; one != nullptr; one = one->ai_next) {
        const int fd = ::socket(one->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        // A blocking connect() as most programs do it; the send timeout bounds it.
        if (fd >= 0 &&
            ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) == 0 &&
            ::connect(fd, one->ai_addr, one->ai_addrlen) == 0) {
            return fd;
        }
        problem = errno == EINPROGRESS ? "no answer in time" : error_text(errno);
        if (fd >= 0) {
            ::close(fd);
        }
    }
    return -1;
}

std::string address_text(int fd, bool peer) {
    sockaddr_storage address{};
    socklen_t length = sizeof(address);
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    const int done =
        peer ? ::getpeername(fd, generic, &length) : ::getsockname(fd, generic, &length);
    std::array<char, NI_MAXHOST> host{};
    std::array<char, NI_MAXSERV> port{};
    if (done != 0 || ::getnameinfo(generic,
                                   length,
                                   host.data(),
                                   host.size(),
                                   port.data(),
                                   port.size(),
                                   NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
        return "?";
    }
    const std::string name = host.data();
    return (address.ss_family == AF_INET6 ? '[' + name + ']' : name) + ':' + port.data();
}

/// What the library in this process says about the socket.
struct OwnState {
    bool loaded = false;
    std::optional<ConnView> block;
    std::uint32_t counted_reason = 0; ///< of the one connection that this process has had
};

OwnState own_state(int fd) {
    OwnState state;

    struct stat info {};

    const ShimSnapshot snapshot = scan_processes(::getpid());
    if (snapshot.processes.empty() || ::fstat(fd, &info) != 0) {
        return state;
    }
    state.loaded = true;
    const ShimProcess& self = snapshot.processes.front();
    if (self.counters && !self.counters->reasons.empty()) {
        state.counted_reason = self.counters->reasons.front().first;
    }
    for (const auto& [id, chunk] : snapshot.chunks) {
        for (const ConnView& view : chunk.blocks) {
            if (view.inode == info.st_ino || (view.inode == 0 && view.fd == fd)) {
                state.block = view;
            }
        }
    }
    return state;
}

bool is_pending(const OwnState& state) noexcept {
    return state.block && mode_of(state.block, kTcpEstablished) == Mode::handshake;
}

OwnState wait_for_verdict(int fd, int timeout_ms) {
    const std::uint64_t deadline =
        monotonic_ns() + static_cast<std::uint64_t>(timeout_ms) * 1'000'000U;
    OwnState state = own_state(fd);
    while (is_pending(state) && monotonic_ns() < deadline) {
        // A look at the socket lets the library take a step in this thread; then there is time for
        // the other side.
        pollfd look{fd, POLLIN, 0};
        ::poll(&look, 1, 0);
        ::poll(nullptr, 0, kStepMs);
        state = own_state(fd);
    }
    return state;
}

/// Sends some bytes to our own echo server and compares what comes back.
bool echo_works(int fd, int timeout_ms) {
    constexpr std::string_view kText = "The quick brown fox jumps over the lazy dog.";
    const timeval patience = milliseconds(timeout_ms);
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    std::array<char, kText.size()> back{};
    return ::send(fd, kText.data(), kText.size(), MSG_NOSIGNAL) ==
               static_cast<ssize_t>(kText.size()) &&
           ::recv(fd, back.data(), back.size(), MSG_WAITALL) == static_cast<ssize_t>(back.size()) &&
           std::string_view(back.data(), back.size()) == kText;
}

void judge(ProbeReport& report, const OwnState& state) {
    report.verdict = Verdict::on_tcp;
    if (!state.loaded) {
        report.problem = "the library is not loaded in the client";
        return;
    }
    if (!state.block) {
        report.reason = state.counted_reason;
        if (report.reason == 0) {
            report.problem = "the library does not follow this connection";
        }
        return;
    }
    report.reason = state.block->reason;
    report.peer_reason = state.block->peer_reason;
    if (is_pending(state)) {
        report.verdict = Verdict::undecided;
    }
    if (mode_of(state.block, kTcpEstablished) == Mode::smcd) {
        report.verdict = Verdict::accelerated;
        report.device = dev::device_name(dev::DeviceId::of(state.block->device));
        report.rx_bytes = state.block->rx_bytes;
        report.tx_bytes = state.block->tx_bytes;
    }
}

} // namespace

std::optional<Target> parse_target(std::string_view text) {
    const auto colon = text.rfind(':');
    if (colon == std::string_view::npos || colon + 1 == text.size() || colon == 0) {
        return std::nullopt;
    }
    std::string_view host = text.substr(0, colon);
    if (host.front() == '[' && host.back() == ']') {
        host = host.substr(1, host.size() - 2);
    } else if (host.find(':') != std::string_view::npos) {
        return std::nullopt; // an IPv6 address needs brackets to have a port
    }
    if (host.empty()) {
        return std::nullopt;
    }
    return Target{std::string(host), std::string(text.substr(colon + 1))};
}

ProbeReport probe(const Target& target, const ProbeOptions& options) {
    ProbeReport report;
    const ClosingFd fd(connect_to(target, options.connect_ms, report.problem));
    if (fd.get() < 0) {
        return report;
    }
    report.problem.clear();
    report.local = address_text(fd.get(), false);
    report.peer = address_text(fd.get(), true);
    OwnState state = wait_for_verdict(fd.get(), options.verdict_ms);
    if (options.echo) {
        if (!echo_works(fd.get(), options.connect_ms)) {
            report.problem = "the connection does not carry data";
            return report;
        }
        state = own_state(fd.get());
    }
    judge(report, state);
    return report;
}

std::string encode(const ProbeReport& report) {
    const nlohmann::json document{
        {"verdict",     static_cast<int>(report.verdict)},
        {"local",       report.local                    },
        {"peer",        report.peer                     },
        {"device",      report.device                   },
        {"problem",     report.problem                  },
        {"reason",      report.reason                   },
        {"peer_reason", report.peer_reason              },
        {"rx_bytes",    report.rx_bytes                 },
        {"tx_bytes",    report.tx_bytes                 }
    };
    return document.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::optional<ProbeReport> decode_report(const std::string& line) {
    try {
        const auto document = nlohmann::json::parse(line);
        const int verdict = document.at("verdict").get<int>();
        if (verdict < 0 || verdict > static_cast<int>(Verdict::no_connection)) {
            return std::nullopt;
        }
        ProbeReport report;
        report.verdict = static_cast<Verdict>(verdict);
        document.at("local").get_to(report.local);
        document.at("peer").get_to(report.peer);
        document.at("device").get_to(report.device);
        document.at("problem").get_to(report.problem);
        document.at("reason").get_to(report.reason);
        document.at("peer_reason").get_to(report.peer_reason);
        document.at("rx_bytes").get_to(report.rx_bytes);
        document.at("tx_bytes").get_to(report.tx_bytes);
        return report;
    } catch (const nlohmann::json::exception&) {
        return std::nullopt;
    }
}

} // namespace smcd::tools
