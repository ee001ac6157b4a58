// e2e_vfork PORT: a vfork child closes and opens descriptors of its own, in its parent's memory.
// Room tests/e2e, no protocol section.
//
// Behind it all connections of the parent to the echo server at PORT must work: an accelerated one, and a crowd that a burst of
// short connections leaves on TCP. Prints "right".
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <vector>

#include "tests/e2e/programs/net.hpp"

namespace {

using namespace smcd::e2e;

constexpr int kBurst = 300;
constexpr int kCrowd = 60;

void ask(int fd, char question) {
    char answer = 0;
    if (check(static_cast<int>(::write(fd, &question, 1)), "write") != 1 ||
        check(static_cast<int>(::read(fd, &answer, 1)), "read") != 1 || answer != question) {
        die("descriptor %d: wrong answer", fd);
    }
}

/// Status 0: the socket that it made had the number of a connection of its parent.
int run_child(int first, int untouched, const std::vector<int>& crowd) {
    const pid_t child = ::vfork();
    if (child == 0) {
        ::close(first);
        const int again = ::socket(AF_INET, SOCK_STREAM, 0);
        ::close(untouched);
        for (const int fd : crowd) {
            ::close(fd);
        }
        ::close(again);
        ::_exit(again == first ? 0 : 1);
    }
    int status = 0;
    check(::waitpid(child, &status, 0), "waitpid");
    return status;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        die("usage: e2e_vfork PORT");
    }
    const auto port = static_cast<std::uint16_t>(std::strtoul(argv[1], nullptr, 10));
    const int first = connect_to("127.0.0.1", port);
    ask(first, '1');
    for (int i = 0; i < kBurst; ++i) {
        const int fd = connect_to("127.0.0.1", port);
        ask(fd, 's');
        ::close(fd);
    }
    std::vector<int> crowd;
    for (int i = 0; i < kCrowd; ++i) {
        crowd.push_back(connect_to("127.0.0.1", port));
        ask(crowd.back(), 'c');
    }
    const int untouched = check(::socket(AF_INET, SOCK_STREAM, 0), "socket");
    if (const int status = run_child(first, untouched, crowd); status != 0) {
        die("the child ended with %d", status);
    }
    ask(first, '2');
    for (const int fd : crowd) {
        ask(fd, 'd');
    }
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    check(::connect(untouched, reinterpret_cast<const sockaddr*>(&to), sizeof(to)), "connect");
    ask(untouched, '3');
    check(static_cast<int>(::write(STDOUT_FILENO, "right\n", 6)), "write");
    return 0;
}
