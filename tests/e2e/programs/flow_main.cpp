// e2e_flow serve|connect: endless verified streams, for tests that kill one of the two ends.
// Room tests/e2e, no protocol section. Each connection's end is printed with its time.
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/e2e/programs/net.hpp"
#include "tests/e2e/programs/pattern.hpp"

namespace {

using namespace smcd::e2e;

constexpr std::size_t kChunkBytes = 40000;
constexpr std::size_t kPorts = 65536;

// Bytes whose send() has returned, by the client's port; a file, so that it outlives the sender.
using Progress = std::atomic<std::uint64_t>;

Progress* map_progress(const std::string& path) {
    if (path.empty()) {
        return nullptr;
    }
    const int fd = check(::open(path.c_str(), O_RDWR | O_CLOEXEC), "open the progress file");
    void* base =
        ::mmap(nullptr, kPorts * sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED) {
        die_errno("mmap");
    }
    ::close(fd);
    return static_cast<Progress*>(base);
}

// One direction of one connection.
struct Flow {
    int fd = -1;
    std::uint16_t port = 0;
    std::uint64_t seed = 0;
    bool sends = false;
    Progress* progress = nullptr;
    std::uint64_t position = 0;
    std::vector<char> buffer = std::vector<char>(kChunkBytes);

    // False at the end, which is printed; EAGAIN is true.
    bool step() { return sends ? send_step() : receive_step(); }

    bool send_step() {
        pattern_fill(buffer.data(), buffer.size(), seed, position);
        const ssize_t sent = ::send(fd, buffer.data(), buffer.size(), MSG_NOSIGNAL);
        if (sent == -1) {
            return errno == EAGAIN || end(::strerrorname_np(errno));
        }
        position += static_cast<std::uint64_t>(sent);
        if (progress != nullptr) {
            progress[port].store(position, std::memory_order_release);
        }
        return true;
    }

    bool receive_step() {
        const ssize_t got = ::recv(fd, buffer.data(), buffer.size(), 0);
        if (got <= 0) {
            return (got == -1 && errno == EAGAIN) ||
                   end(got == 0 ? "end" : ::strerrorname_np(errno));
        }
        const auto count = static_cast<std::size_t>(got);
        const std::size_t at = pattern_mismatch(buffer.data(), count, seed, position);
        if (at != count) {
            die("wrong byte %llu", static_cast<unsigned long long>(position + at));
        }
        position += count;
        return true;
    }

    // Prints "flow PORT send|recv BYTES HOW TIME"; always false.
    bool end(const char* how) const {
        std::printf("flow %u %s %llu %s %.6f\n",
                    static_cast<unsigned>(port),
                    sends ? "send" : "recv",
                    static_cast<unsigned long long>(position),
                    how,
                    now_s());
        std::fflush(stdout);
        return false;
    }
};

using Flows = std::vector<std::unique_ptr<Flow>>;

void run_blocking(Flows& flows) {
    std::vector<std::thread> threads;
    for (auto& flow : flows) {
        threads.emplace_back([&flow] {
            while (flow->step()) {
            }
        });
    }
    for (auto& thread : threads) {
        thread.join();
    }
}

void run_poll(Flows& flows) {
    Flows left = std::move(flows);
    while (!left.empty()) {
        std::vector<pollfd> waits;
        for (const auto& flow : left) {
            const int events = flow->sends ? POLLOUT : POLLIN;
            waits.push_back({flow->fd, static_cast<short>(events), 0});
        }
        check(::poll(waits.data(), waits.size(), -1), "poll");
        for (std::size_t i = waits.size(); i-- > 0;) {
            if (waits[i].revents != 0 && !left[i]->step()) {
                left.erase(left.begin() + static_cast<std::ptrdiff_t>(i));
            }
        }
    }
}

void run_epoll(Flows& flows) {
    const int set = check(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
    for (const auto& flow : flows) {
        epoll_event event{};
        event.events = flow->sends ? EPOLLOUT : EPOLLIN;
        event.data.ptr = flow.get();
        check(::epoll_ctl(set, EPOLL_CTL_ADD, flow->fd, &event), "epoll_ctl");
    }
    std::size_t left = flows.size();
    while (left > 0) {
        epoll_event event{};
        check(::epoll_wait(set, &event, 1, -1), "epoll_wait");
        auto* flow = static_cast<Flow*>(event.data.ptr);
        if (!flow->step()) {
            check(::epoll_ctl(set, EPOLL_CTL_DEL, flow->fd, nullptr), "epoll_ctl");
            --left;
        }
    }
    ::close(set);
}

struct Options {
    bool server = false;
    std::string action; // send, recv, both, stall
    std::string wait;
    std::uint16_t port = 0;
    std::size_t connections = 1;
    std::uint64_t rounds = 1;
    Progress* progress = nullptr;
    std::map<int, std::uint16_t> peer_ports; // server: by descriptor, as accept() told
};

void add_flow(Flows& flows, int fd, const Options& options, bool sends) {
    auto flow = std::make_unique<Flow>();
    flow->fd = fd;
    flow->port = options.server ? options.peer_ports.at(fd) : local_port(fd);
    flow->seed = std::uint64_t{flow->port} * 2 + (sends == options.server ? 1 : 0);
    flow->sends = sends;
    flow->progress = options.progress;
    flows.push_back(std::move(flow));
}

// Runs one set of connections to their end and closes them.
void run_round(const std::vector<int>& sockets, const Options& options) {
    Flows flows;
    for (const int fd : sockets) {
        set_nonblocking(fd, options.wait != "blocking");
        if (options.action == "send" || options.action == "both") {
            add_flow(flows, fd, options, true);
        }
        if (options.action == "recv" || options.action == "both") {
            add_flow(flows, fd, options, false);
        }
    }
    std::puts("running");
    std::fflush(stdout);
    if (options.action == "stall") {
        ::pause();
    } else if (options.wait == "blocking") {
        run_blocking(flows);
    } else if (options.wait == "poll") {
        run_poll(flows);
    } else {
        run_epoll(flows);
    }
    for (const int fd : sockets) {
        check(::close(fd), "close");
    }
    std::puts("round done");
    std::fflush(stdout);
}

int accept_with_port(int listener, Options& options) {
    std::uint16_t port = 0;
    const int fd = accept_one(listener, &port);
    options.peer_ports[fd] = port;
    return fd;
}

} // namespace

int main(int argc, char** argv) {
    ::signal(SIGPIPE, SIG_IGN);
    Options options;
    options.server = argc > 1 && std::strcmp(argv[1], "serve") == 0;
    options.action = option(argc, argv, "do", "recv");
    options.wait = option(argc, argv, "wait", "blocking");
    options.port = static_cast<std::uint16_t>(number_option(argc, argv, "port", 0));
    options.connections = number_option(argc, argv, "conns", 1);
    options.rounds = number_option(argc, argv, "rounds", 1);
    options.progress = map_progress(option(argc, argv, "progress", ""));
    int listener = -1;
    if (options.server) {
        listener = listen_on("127.0.0.1", options.port, 128);
        announce_port(local_port(listener));
    }
    for (std::uint64_t round = 0; round < options.rounds; ++round) {
        std::vector<int> sockets;
        for (std::size_t i = 0; i < options.connections; ++i) {
            sockets.push_back(options.server ? accept_with_port(listener, options)
                                             : connect_to("127.0.0.1", options.port));
        }
        run_round(sockets, options);
    }
    if (flag_option(argc, argv, "linger")) { // the driver still wants to look at this process
        char line = 0;
        return ::read(STDIN_FILENO, &line, 1) == 1 ? 0 : 1;
    }
    return 0;
}
