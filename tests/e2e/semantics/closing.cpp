// Semantics: orderly ends: half close, both directions, data and ends in every order.
// Room tests/e2e, no protocol section.
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>
#include <thread>

#include "tests/e2e/programs/net.hpp"
#include "tests/e2e/semantics/harness.hpp"

namespace smcd::e2e {
namespace {

int socket_error(int fd) {
    int value = -1;
    socklen_t size = sizeof value;
    check(::getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &size), "SO_ERROR");
    return value;
}

void peer_closes(Context& c) {
    const int fd = c.open();
    c.peer().run("send 4; close");
    c.await(fd, POLLRDHUP);
    c.poll_now("data and end", fd);
    c.receive(fd, 8);
    c.poll_now("end", fd);
    c.receive(fd, 8);
    c.receive(fd, 8);
    c.receive(fd, 8, MSG_DONTWAIT);
}

void send_after_the_peer_closed(Context& c) {
    const int fd = c.open();
    c.peer().run("close");
    c.await(fd, POLLRDHUP);
    c.result("first send", ::send(fd, "x", 1, MSG_NOSIGNAL));
    c.await(fd, POLLHUP);
    c.poll_now("after the first", fd);
    c.result("second send", ::send(fd, "x", 1, MSG_NOSIGNAL));
    c.result("third send", ::send(fd, "x", 1, 0));
    c.say("SIGPIPE %d", take_sigpipes());
    c.say("SO_ERROR %d", socket_error(fd));
    c.receive(fd, 8);
    c.poll_now("at last", fd);
}

void write_until_it_fails(Context& c) {
    const int fd = c.open();
    c.peer().run("close");
    c.await(fd, POLLRDHUP);
    ssize_t sent = 1;
    while (sent == 1) {
        sent = ::write(fd, "x", 1);
        c.await(fd, POLLHUP);
    }
    c.result("write", sent);
    c.say("SIGPIPE %d", take_sigpipes());
}

void peer_shuts_its_sending_down(Context& c) {
    const int fd = c.open();
    c.peer().run("send 3; shutdown wr");
    c.await(fd, POLLRDHUP);
    c.receive(fd, 8);
    c.receive(fd, 8);
    c.poll_now("half closed", fd);
    c.result("send", ::send(fd, "still", 5, 0));
    c.say("peer got %s", c.peer().run("recv 5").c_str());
    c.result("send", ::send(fd, "here", 4, 0));
    ::close(fd);
    c.say("peer got %s", c.peer().run("drain").c_str());
}

void own_sending_shut_down(Context& c) {
    const int fd = c.open();
    c.result("send", ::send(fd, "bye", 3, 0));
    c.result("shutdown", ::shutdown(fd, SHUT_WR));
    c.poll_now("half closed", fd);
    c.result("send", ::send(fd, "x", 1, MSG_NOSIGNAL));
    c.result("send(0)", ::send(fd, "x", 0, MSG_NOSIGNAL));
    c.say("peer got %s", c.peer().run("drain; send 6").c_str());
    c.receive(fd, 6);
    c.result("shutdown again", ::shutdown(fd, SHUT_WR));
    c.peer().run("send 2; close");
    c.await(fd, POLLRDHUP);
    c.receive(fd, 6);
    c.receive(fd, 6);
    c.poll_now("closed", fd);
}

void own_receiving_shut_down(Context& c) {
    const int fd = c.open();
    c.result("shutdown", ::shutdown(fd, SHUT_RD));
    c.poll_now("shut", fd);
    c.receive(fd, 8);
    c.say("peer send: %s", c.peer().run("send 5").c_str());
    c.receive(fd, 5);
    c.receive(fd, 5);
    c.result("send", ::send(fd, "out", 3, 0));
    c.say("peer got %s", c.peer().run("recv 3").c_str());
}

void receiving_shut_down_with_data(Context& c) {
    const int fd = c.open();
    c.peer().run("send 5");
    c.await(fd, POLLIN);
    c.result("shutdown", ::shutdown(fd, SHUT_RD));
    c.receive(fd, 3);
    c.receive(fd, 3);
    c.receive(fd, 3);
}

void both_shut_down(Context& c) {
    const int fd = c.open();
    c.result("shutdown", ::shutdown(fd, SHUT_RDWR));
    c.await(fd, POLLHUP);
    c.poll_now("shut", fd);
    c.receive(fd, 8);
    c.result("send", ::send(fd, "x", 1, MSG_NOSIGNAL));
    c.say("peer got %s", c.peer().run("drain").c_str());
    c.result("shutdown wr", ::shutdown(fd, SHUT_WR));
    c.say("peer close: %s", c.peer().run("close").c_str());
}

void both_sides_half_close(Context& c) {
    const int fd = c.open();
    c.result("send", ::send(fd, "mine", 4, 0));
    c.result("shutdown", ::shutdown(fd, SHUT_WR));
    c.say("peer got %s", c.peer().run("drain; send 5; shutdown wr").c_str());
    c.await(fd, POLLHUP);
    c.poll_now("both", fd);
    c.receive(fd, 8);
    c.receive(fd, 8);
    c.result("send", ::send(fd, "x", 1, MSG_NOSIGNAL));
}

void bad_shutdown(Context& c) {
    const int fd = c.open();
    c.result("shutdown 3", ::shutdown(fd, 3));
    c.result("shutdown -1", ::shutdown(fd, -1));
    c.result("shutdown of nothing", ::shutdown(-1, SHUT_WR));
    std::array<int, 2> pipe{};
    check(::pipe(pipe.data()), "pipe");
    c.result("shutdown of a pipe", ::shutdown(pipe[0], SHUT_WR));
    c.result("send", ::send(fd, "x", 1, 0));
}

void closed_descriptor(Context& c) {
    const int fd = c.open();
    char byte = 0;
    c.result("close", ::close(fd));
    c.result("close again", ::close(fd));
    c.result("recv", ::recv(fd, &byte, 1, 0));
    c.result("read", ::read(fd, &byte, 1));
    c.result("send", ::send(fd, &byte, 1, 0));
    c.result("shutdown", ::shutdown(fd, SHUT_WR));
    c.poll_now("closed", fd);
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    c.result("getpeername", ::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size));
    c.say("peer got %s", c.peer().run("drain").c_str());
}

void number_is_used_again(Context& c) {
    const int fd = c.open();
    ::close(fd);
    std::array<int, 2> pipe{};
    check(::pipe(pipe.data()), "pipe");
    c.say("same number: %d", pipe[0] == fd || pipe[1] == fd ? 1 : 0);
    c.result("write to the pipe", ::write(pipe[1], "pipe", 4));
    std::array<char, 8> buffer{};
    c.result("read from the pipe", ::read(pipe[0], buffer.data(), 8));
    c.result("recv from the pipe", ::recv(pipe[0], buffer.data(), 8, 0));
}

void close_with_linger_waits(Context& c) {
    const int fd = c.open();
    const linger value{1, 5};
    check(::setsockopt(fd, SOL_SOCKET, SO_LINGER, &value, sizeof value), "SO_LINGER");
    c.peer().post("recv 5");
    c.result("send", ::send(fd, "ready", 5, 0));
    c.result("close", ::close(fd));
    c.say("peer got %s", c.peer().reply().c_str());
    c.say("then %s", c.peer().run("drain").c_str());
}

void large_data_then_close(Context& c) {
    const int fd = c.open();
    const ssize_t size = fill(fd);
    ::close(fd);
    const std::string got = c.peer().run("drain");
    c.say("all of it, then the end: %d", got == std::to_string(size) + " end" ? 1 : 0);
}

void blocked_receive_and_the_peer_closes(Context& c) {
    const int fd = c.open();
    c.peer().post(Context::when_asleep() + "close");
    c.receive(fd, 8);
    c.peer().reply();
}

void blocked_receive_and_own_shutdown(Context& c) {
    int fd = c.open();
    const auto helper = when_caller_sleeps(
        [](void* argument) { ::shutdown(*static_cast<int*>(argument), SHUT_RDWR); }, &fd);
    c.receive(fd, 8);
}

void blocked_send_and_own_shutdown(Context& c) {
    int fd = c.open();
    fill(fd);
    const auto helper = when_caller_sleeps(
        [](void* argument) { ::shutdown(*static_cast<int*>(argument), SHUT_WR); }, &fd);
    c.result("send", ::send(fd, "x", 1, MSG_NOSIGNAL));
}

void blocked_send_and_the_peer_closes(Context& c) {
    const int fd = c.open();
    fill(fd);
    c.peer().post(Context::when_asleep() + "close");
    const ssize_t sent = ::send(fd, "x", 1, MSG_NOSIGNAL);
    c.say("send failed: %d", sent == -1 && (errno == EPIPE || errno == ECONNRESET) ? 1 : 0);
    c.peer().reply();
    c.result("send", ::send(fd, "x", 1, MSG_NOSIGNAL));
}

constexpr std::array kCases = {
    Case{"peer_closes",                         peer_closes                        },
    Case{"send_after_the_peer_closed",          send_after_the_peer_closed         },
    Case{"write_until_it_fails",                write_until_it_fails               },
    Case{"peer_shuts_its_sending_down",         peer_shuts_its_sending_down        },
    Case{"own_sending_shut_down",               own_sending_shut_down              },
    Case{"own_receiving_shut_down",             own_receiving_shut_down            },
    Case{"receiving_shut_down_with_data",       receiving_shut_down_with_data      },
    Case{"both_shut_down",                      both_shut_down                     },
    Case{"both_sides_half_close",               both_sides_half_close              },
    Case{"bad_shutdown",                        bad_shutdown                       },
    Case{"closed_descriptor",                   closed_descriptor                  },
    Case{"number_is_used_again",                number_is_used_again               },
    Case{"close_with_linger_waits",             close_with_linger_waits            },
    Case{"large_data_then_close",               large_data_then_close              },
    Case{"blocked_receive_and_the_peer_closes", blocked_receive_and_the_peer_closes},
    Case{"blocked_receive_and_own_shutdown",    blocked_receive_and_own_shutdown   },
    Case{"blocked_send_and_own_shutdown",       blocked_send_and_own_shutdown      },
    Case{"blocked_send_and_the_peer_closes",    blocked_send_and_the_peer_closes   },
};

} // namespace

std::span<const Case> closing_cases() {
    return kCases;
}

} // namespace smcd::e2e
