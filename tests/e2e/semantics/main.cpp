// e2e_semantics list | run CASE [--server] [--warm] [--in-process] | peer FD | echo FD | thread FD
// Room tests/e2e, no protocol section.
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <string>
#include <thread>

#include "tests/e2e/programs/net.hpp"
#include "tests/e2e/semantics/harness.hpp"

namespace {

using namespace smcd::e2e;

std::vector<Case> all_cases() {
    std::vector<Case> cases;
    for (const auto part : {transfer_cases(),
                            flag_cases(),
                            file_cases(),
                            closing_cases(),
                            reset_cases(),
                            option_cases(),
                            descriptor_cases(),
                            bypass_cases(),
                            handed_on_cases(),
                            process_cases(),
                            connecting_cases(),
                            polling_cases(),
                            epoll_cases(),
                            epoll_set_cases(),
                            epoll_sharing_cases(),
                            epoll_thread_cases(),
                            interrupt_cases(),
                            sleeper_cases()}) {
        cases.insert(cases.end(), part.begin(), part.end());
    }
    return cases;
}

int list_cases() {
    for (const Case& known : all_cases()) {
        std::puts(known.name);
    }
    return 0;
}

int run_case(const std::string& name, const Settings& settings) {
    install_sigpipe_counter();
    for (const Case& known : all_cases()) {
        if (name == known.name) {
            Context context(name, settings);
            known.run(context);
            return 0;
        }
    }
    die("no case %s", name.c_str());
}

// What an exec'ed program does with an inherited connection: sends back what it receives.
int echo(int fd) {
    std::array<char, 4096> buffer{};
    for (;;) {
        const ssize_t got = ::read(fd, buffer.data(), buffer.size());
        if (got <= 0) {
            return got == 0 ? 0 : 1;
        }
        if (::write(fd, buffer.data(), static_cast<std::size_t>(got)) != got) {
            return 2;
        }
    }
}

// Serves one connection in a thread that outlives the main one.
[[noreturn]] void leave_to_a_thread(int listener) {
    std::thread([listener] { echo(accept_one(listener)); }).detach();
    ::pthread_exit(nullptr);
}

} // namespace

int main(int argc, char** argv) {
    const std::string mode = argc > 1 ? argv[1] : "";
    if (mode == "list") {
        return list_cases();
    }
    if (mode == "run" && argc > 2) {
        const Settings settings{flag_option(argc, argv, "server"),
                                flag_option(argc, argv, "warm"),
                                flag_option(argc, argv, "in-process")};
        return run_case(argv[2], settings);
    }
    if (mode == "peer" && argc > 2) {
        serve_peer(std::stoi(argv[2]));
        return 0;
    }
    if (mode == "echo" && argc > 2) {
        return echo(std::stoi(argv[2]));
    }
    if (mode == "thread" && argc > 2) {
        leave_to_a_thread(std::stoi(argv[2]));
    }
    die("usage: e2e_semantics list | run CASE [--server] [--warm] [--in-process]");
}
