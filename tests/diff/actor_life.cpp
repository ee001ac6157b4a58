// Connections, descriptors and processes come and go. Room tests/diff, no protocol section.
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/diff/actor.hpp"

namespace smcd::diff {
namespace {

constexpr int kAcceptMs = 300; ///< the connection is there already, or will never come

/// Puts a descriptor into a slot; what was there is closed.
void put(State& state, std::size_t slot, int fd) {
    if (state.slots[slot] >= 0) {
        ::close(state.slots[slot]);
    }
    state.slots[slot] = fd;
}

int connect_slot(State& state, const Op& op) {
    const bool six = op.args[1] != 0;
    const std::size_t target = op.args[0] == 0 ? 0 : 1;
    const int fd = ::socket(six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int yes = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(state.ports[target * 2]);
    v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(state.ports[target * 2 + 1]);
    v6.sin6_addr = IN6ADDR_LOOPBACK_INIT;
    const auto* address = six ? reinterpret_cast<sockaddr*>(&v6) : reinterpret_cast<sockaddr*>(&v4);
    if (op.args[2] != 0) {
        ::fcntl(fd, F_SETFL, O_NONBLOCK);
    }
    const int rc = ::connect(fd, address, six ? sizeof v6 : sizeof v4);
    const int error = errno;
    put(state, op.slot, fd);
    errno = error;
    return rc;
}

int accept_slot(State& state, const Op& op) {
    const int listener = state.listeners[op.args[0] != 0 ? 1 : 0];
    pollfd wait{listener, POLLIN, 0};
    ::poll(&wait, 1, kAcceptMs);
    const int fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    const int yes = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    put(state, op.slot, fd);
    return 0;
}

int close_slot(State& state, const Op& op) {
    const int rc = ::close(state.slots[op.slot]);
    state.slots[op.slot] = -1;
    return rc;
}

int duplicate(State& state, const Op& op) {
    const auto target = static_cast<std::size_t>(op.args[0]) % kSlots;
    if (op.verb == Verb::dup2) {
        if (state.slots[target] < 0) {
            errno = EBADF;
            return -1;
        }
        return ::dup2(state.slots[op.slot], state.slots[target]) >= 0 ? 0 : -1;
    }
    const int fd = ::fcntl(state.slots[op.slot], F_DUPFD_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    put(state, target, fd);
    return 0;
}

int fork_child(State& state) {
    if (state.child > 0) {
        errno = EEXIST;
        return -1;
    }
    Request stale; // a child that was killed may have left one
    while (::recv(state.child_control, &stale, sizeof stale, MSG_DONTWAIT) > 0) {
    }
    const pid_t child = ::fork();
    if (child == 0) {
        serve_as_child(state);
    }
    state.child = child;
    return child > 0 ? 0 : -1;
}

int await_child(State& state, int number) {
    if (state.child <= 0) {
        errno = ECHILD;
        return -1;
    }
    ::kill(state.child, number); // SIGTERM: the child leaves with exit()
    int status = 0;
    ::waitpid(state.child, &status, 0);
    state.child = -1;
    return WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
}

} // namespace

void run_life(State& state, const Op& op, Outcome& outcome) {
    switch (op.verb) {
    case Verb::connect:
        outcome.value = connect_slot(state, op);
        break;
    case Verb::accept:
        outcome.value = accept_slot(state, op);
        break;
    case Verb::shutdown:
        outcome.value = ::shutdown(state.slots[op.slot], static_cast<int>(op.args[0]));
        break;
    case Verb::close:
        outcome.value = close_slot(state, op);
        break;
    case Verb::dup:
    case Verb::dup2:
        outcome.value = duplicate(state, op);
        break;
    case Verb::fork:
        outcome.value = fork_child(state);
        break;
    case Verb::reap:
        outcome.value = await_child(state, SIGTERM);
        break;
    case Verb::kill:
        outcome.value = await_child(state, SIGKILL);
        break;
    case Verb::exit:
        std::exit(0);
    case Verb::exec:
        restart(state);
        outcome.value = -1;
        break;
    default:
        outcome.value = -2;
        break;
    }
    outcome.error = outcome.value == -1 ? errno : 0;
}

} // namespace smcd::diff
