#include "tests/diff/worlds.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>

namespace smcd::diff {
namespace {

constexpr int kStartMs = 60'000;
constexpr int kLeaveMs = 200; ///< for a process that may be blocked in a call

[[noreturn]] void die(const char* what) {
    std::perror(what);
    std::exit(3);
}

} // namespace

World::World(WorldSettings settings) : settings_(std::move(settings)) {}

World::~World() {
    kill();
}

void World::spawn(int actor) {
    std::array<int, 2> own{};
    std::array<int, 2> child{};
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, own.data()) != 0 ||
        ::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, child.data()) != 0) {
        die("socketpair");
    }
    const pid_t pid = ::fork();
    if (pid < 0) {
        die("fork");
    }
    if (pid == 0) {
        ::fcntl(own[1], F_SETFD, 0);
        ::fcntl(child[1], F_SETFD, 0);
        for (std::string& word : settings_.environment) {
            ::putenv(word.data());
        }
        if (!settings_.statistics.empty()) {
            ::setenv("SMCD_STATS_FILE", settings_.statistics.c_str(), 1);
        }
        std::vector<std::string> words = settings_.wrap;
        words.push_back(settings_.actor);
        words.push_back(std::to_string(own[1]));
        words.push_back(std::to_string(child[1]));
        std::vector<char*> arguments;
        for (std::string& word : words) {
            arguments.push_back(word.data());
        }
        arguments.push_back(nullptr);
        ::execvp(arguments[0], arguments.data());
        die(arguments[0]);
    }
    ::close(own[1]);
    ::close(child[1]);
    links_[index(actor)] = {pid, own[0], false};
    links_[index(actor) + 2] = {-1, child[0], false};
}

void World::await(int actor, Reply& reply) {
    pollfd wait{descriptor(actor), POLLIN, 0};
    if (::poll(&wait, 1, kStartMs) != 1 || !take(actor, reply)) {
        std::fprintf(stderr, "a process under test does not start\n");
        std::exit(3);
    }
}

void World::start() {
    if (running()) {
        return;
    }
    Request request;
    request.ask = Ask::ports;
    Reply reply;
    for (int actor = 0; actor < 2; ++actor) {
        spawn(actor);
        await(actor, reply);
        const auto at = index(actor) * 2;
        request.ports[at] = reply.own_ports[0];
        request.ports[at + 1] = reply.own_ports[1];
    }
    for (int actor = 0; actor < 2; ++actor) {
        post(actor, request);
        await(actor, reply);
    }
}

void World::let_go() {
    for (Link& link : links_) {
        if (link.control >= 0) {
            ::close(link.control);
        }
        link.control = -1;
    }
}

bool World::reap(bool by_force) {
    bool in_order = true;
    let_go();
    for (std::size_t i = 0; i < 2; ++i) {
        Link& link = links_[i];
        if (link.pid > 0) {
            const int process =
                by_force ? static_cast<int>(::syscall(SYS_pidfd_open, link.pid, 0)) : -1;
            pollfd wait{process, POLLIN, 0};
            if (by_force && ::poll(&wait, 1, kLeaveMs) != 1) {
                ::kill(link.pid, SIGKILL);
                in_order = false;
            }
            ::close(process);
            int status = 0;
            ::waitpid(link.pid, &status, 0);
            in_order = in_order && WIFEXITED(status);
        }
    }
    links_.fill({});
    return in_order;
}

void World::stop() {
    reap(false);
}

bool World::kill() {
    return reap(true);
}

void World::post(int actor, const Request& request) {
    if (::send(descriptor(actor), &request, sizeof request, MSG_NOSIGNAL) != sizeof request) {
        links_[index(actor)].gone = true;
    }
}

bool World::take(int actor, Reply& reply) {
    Link& link = links_[index(actor)];
    const ssize_t n = ::recv(link.control, &reply, sizeof reply, MSG_DONTWAIT);
    if (n == sizeof reply) {
        if (actor < 2) {
            links_[index(actor) + 2].pid = reply.child;
        }
        return true;
    }
    if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        link.gone = true;
    }
    return false;
}

void World::await_end(int actor) const {
    siginfo_t how{};
    if (actor < 2) {
        ::waitid(P_PID, static_cast<id_t>(links_[index(actor)].pid), &how, WEXITED | WNOWAIT);
    }
}

bool World::asleep(int actor) const {
    const pid_t pid = links_[index(actor)].pid;
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    std::string text;
    std::getline(file, text);
    const std::size_t at = text.rfind(')');
    return at != std::string::npos && at + 2 < text.size() && text[at + 2] == 'S';
}

std::uint64_t World::accelerated() const {
    std::ifstream file(settings_.statistics);
    std::string line;
    std::uint64_t total = 0;
    while (std::getline(file, line)) {
        constexpr std::string_view kKey = "\"accelerated\":";
        const std::size_t at = line.find(kKey);
        if (at != std::string::npos) {
            total += std::strtoull(line.c_str() + at + kKey.size(), nullptr, 10);
        }
    }
    return total;
}

} // namespace smcd::diff
