// diff_actor CONTROL CHILD_CONTROL: serves the controller on descriptor CONTROL; a forked child on
// CHILD_CONTROL. Room tests/diff, no protocol section.
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <sstream>
#include <string>

#include "tests/diff/actor.hpp"

namespace smcd::diff {
namespace {

std::atomic<int> sigpipes{0}; // a signal handler has nothing else to write to
constexpr const char* kProgram = "/proc/self/exe";

[[noreturn]] void die(const char* what) {
    std::perror(what);
    std::_Exit(3);
}

void install_handlers() {
    struct sigaction action {};

    action.sa_handler = [](int) { sigpipes.fetch_add(1); };
    ::sigaction(SIGPIPE, &action, nullptr);
    action.sa_handler = SIG_IGN;
    ::sigaction(SIGIO, &action, nullptr);
}

int listener(bool six, std::uint16_t& port) {
    const int fd =
        ::socket(six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    sockaddr_in6 address{};
    address.sin6_family = six ? AF_INET6 : AF_INET;
    socklen_t length = six ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
    if (six) {
        address.sin6_addr = IN6ADDR_LOOPBACK_INIT;
    } else {
        reinterpret_cast<sockaddr_in*>(&address)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    }
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    if (fd < 0 || ::bind(fd, generic, length) != 0 || ::listen(fd, 64) != 0) {
        if (six) {
            return -1; // no IPv6 here: such programs see the same errors in both worlds
        }
        die("listen");
    }
    ::getsockname(fd, generic, &length);
    port = ntohs(address.sin6_port);
    return fd;
}

void prepare(State& state, std::array<std::uint16_t, 2>& ports) {
    state.slots.fill(-1);
    state.sets.fill(-1);
    state.listeners = {listener(false, ports[0]), listener(true, ports[1])};
    state.file = ::memfd_create("diff", MFD_CLOEXEC);
    if (state.file < 0 || ::pipe2(state.pipe.data(), O_CLOEXEC) != 0) {
        die("prepare");
    }
}

void close_all(std::span<int> fds) {
    for (int& fd : fds) {
        if (fd >= 0) {
            ::close(fd);
        }
        fd = -1;
    }
}

void reset(State& state) {
    if (state.child > 0) {
        ::kill(state.child, SIGKILL);
        ::waitpid(state.child, nullptr, 0);
        state.child = -1;
    }
    close_all(state.slots);
    close_all(state.sets);
    for (const int fd : state.listeners) { // connections that the program did not accept
        for (int left = ::accept(fd, nullptr, nullptr); left >= 0;
             left = ::accept(fd, nullptr, nullptr)) {
            ::close(left);
        }
    }
    if (::ftruncate(state.file, 0) != 0) {
        die("ftruncate");
    }
    state.next_byte = 0;
    sigpipes.store(0);
}

void run(State& state, const Op& op, Outcome& outcome) {
    const Verb verb = op.verb;
    if (verb == Verb::connect || verb == Verb::accept ||
        (verb >= Verb::shutdown && verb <= Verb::exec)) {
        run_life(state, op, outcome);
    } else if (verb >= Verb::send && verb <= Verb::splice_out) {
        run_send(state, op, outcome);
    } else if (verb >= Verb::recv && verb <= Verb::splice_in) {
        run_receive(state, op, outcome);
    } else if (verb >= Verb::setopt && verb <= Verb::peername) {
        run_options(state, op, outcome);
    } else if (verb >= Verb::poll && verb <= Verb::epoll_wait) {
        run_readiness(state, op, outcome);
    } else {
        run_leaving(state, op, outcome);
    }
}

/// Everything that restart() carries over, as one word of the command line.
std::string pack(const State& state) {
    std::ostringstream text;
    for (const int fd : state.slots) {
        text << fd << ' ';
    }
    text << state.pipe[0] << ' ' << state.pipe[1] << ' ' << state.listeners[0] << ' '
         << state.listeners[1] << ' ' << state.file << ' ' << state.control << ' '
         << state.child_control << ' ' << state.child << ' ' << state.next_byte << ' '
         << sigpipes.load();
    for (const std::uint16_t port : state.ports) {
        text << ' ' << port;
    }
    return text.str();
}

void keep_open(int fd) {
    if (fd >= 0) {
        ::fcntl(fd, F_SETFD, 0);
    }
}

void answer(int control, const Reply& reply) {
    if (::send(control, &reply, sizeof reply, MSG_NOSIGNAL) != sizeof reply) {
        std::exit(0);
    }
}

} // namespace

bool unpack_state(const char* word, State& state) {
    std::istringstream text(word);
    state.sets.fill(-1);
    for (int& fd : state.slots) {
        text >> fd;
    }
    int counted = 0;
    text >> state.pipe[0] >> state.pipe[1] >> state.listeners[0] >> state.listeners[1] >>
        state.file >> state.control >> state.child_control >> state.child >> state.next_byte >>
        counted;
    for (std::uint16_t& port : state.ports) {
        text >> port;
    }
    sigpipes.store(counted);
    return !text.fail();
}

void restart(State& state) {
    for (const int fd : state.slots) {
        keep_open(fd);
    }
    for (const int fd : {state.pipe[0],
                         state.pipe[1],
                         state.listeners[0],
                         state.listeners[1],
                         state.file,
                         state.control,
                         state.child_control}) {
        keep_open(fd);
    }
    const std::string packed = pack(state);
    ::execl(kProgram, "diff_actor", "restarted", packed.c_str(), nullptr);
}

void serve_as_child(State& state) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);

    struct sigaction leave {};

    leave.sa_handler = [](int) { std::_Exit(0); };
    ::sigaction(SIGTERM, &leave, nullptr);
    state.control = state.child_control;
    state.child = -1;
    state.next_byte += 77; // other bytes than the parent's
    serve(state);
    std::_Exit(0);
}

void serve(State& state) {
    Request request;
    while (::recv(state.control, &request, sizeof request, 0) == sizeof request) {
        Reply reply;
        if (request.ask == Ask::ports) {
            state.ports = request.ports;
        } else if (request.ask == Ask::reset) {
            reset(state);
        } else if (request.ask == Ask::run) {
            run(state, request.op, reply.outcome);
            reply.outcome.sigpipes = sigpipes.exchange(0);
        }
        if (request.look_too) {
            reply.views = look(state);
        }
        reply.child = state.child;
        answer(state.control, reply);
    }
}

} // namespace smcd::diff

int main(int argc, char** argv) {
    using namespace smcd::diff;
    State state;
    Reply reply;
    install_handlers();
    if (argc == 3 && std::string(argv[1]) == "restarted") {
        if (!unpack_state(argv[2], state)) {
            return 2;
        }
        reply.views = look(state);
    } else if (argc == 3) {
        state.control = std::atoi(argv[1]);
        state.child_control = std::atoi(argv[2]);
        prepare(state, reply.own_ports);
    } else {
        std::fprintf(stderr, "usage: diff_actor CONTROL CHILD_CONTROL\n");
        return 2;
    }
    answer(state.control, reply);
    serve(state);
    return 0;
}
