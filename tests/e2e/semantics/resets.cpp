// Semantics: ends that are not orderly: linger 0, unread data, a killed peer.
// Room tests/e2e, no protocol section.
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
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

void peer_resets(Context& c) {
    const int fd = c.open();
    c.peer().run("reset");
    c.await(fd, POLLHUP);
    c.poll_now("reset", fd);
    c.receive(fd, 8);
    c.receive(fd, 8);
    c.poll_now("after the error", fd);
    c.result("send", ::send(fd, "x", 1, MSG_NOSIGNAL));
    c.say("SO_ERROR %d", socket_error(fd));
}

void reset_seen_by_send(Context& c) {
    const int fd = c.open();
    c.peer().run("reset");
    c.await(fd, POLLHUP);
    c.result("send", ::send(fd, "x", 1, 0));
    c.say("SIGPIPE %d", take_sigpipes());
    c.result("send", ::send(fd, "x", 1, 0));
    c.say("SIGPIPE %d", take_sigpipes());
    c.receive(fd, 8);
}

void reset_seen_by_the_option(Context& c) {
    const int fd = c.open();
    c.peer().run("reset");
    c.await(fd, POLLHUP);
    c.say("SO_ERROR %d", socket_error(fd));
    c.say("SO_ERROR %d", socket_error(fd));
    c.receive(fd, 8);
    c.result("send", ::send(fd, "x", 1, MSG_NOSIGNAL));
}

void reset_behind_data(Context& c) {
    const int fd = c.open();
    c.peer().run("send 5; reset");
    c.await(fd, POLLHUP);
    c.poll_now("reset", fd);
    c.receive(fd, 3);
    c.receive(fd, 3);
    c.receive(fd, 3);
    c.receive(fd, 3);
}

void peer_closes_with_unread_data(Context& c) {
    const int fd = c.open();
    c.result("send", ::send(fd, "unread", 6, 0));
    c.peer().run("recv 2; close");
    c.await(fd, POLLHUP);
    c.poll_now("reset", fd);
    c.receive(fd, 8);
    c.receive(fd, 8);
    c.result("send", ::send(fd, "x", 1, MSG_NOSIGNAL));
}

void own_close_with_unread_data(Context& c) {
    const int fd = c.open();
    c.peer().run("send 5");
    c.await(fd, POLLIN);
    c.receive(fd, 2);
    c.result("close", ::close(fd));
    c.say("peer got %s", c.peer().run("drain").c_str());
    c.say("then %s", c.peer().run("send 1").c_str());
}

void own_reset(Context& c) {
    const int fd = c.open();
    const linger value{1, 0};
    check(::setsockopt(fd, SOL_SOCKET, SO_LINGER, &value, sizeof value), "SO_LINGER");
    c.result("close", ::close(fd));
    c.say("peer got %s", c.peer().run("drain").c_str());
    c.say("then %s", c.peer().run("drain").c_str());
    c.say("then %s", c.peer().run("send 1").c_str());
}

void own_reset_behind_data(Context& c) {
    const int fd = c.open();
    const linger value{1, 0};
    check(::setsockopt(fd, SOL_SOCKET, SO_LINGER, &value, sizeof value), "SO_LINGER");
    c.result("send", ::send(fd, "lost?", 5, 0));
    c.result("close", ::close(fd));
    c.say("peer got %s", c.peer().run("drain").c_str());
}

void blocked_receive_and_the_peer_resets(Context& c) {
    const int fd = c.open();
    c.peer().post(Context::when_asleep() + "reset");
    c.receive(fd, 8);
    c.peer().reply();
}

void blocked_send_and_the_peer_resets(Context& c) {
    const int fd = c.open();
    fill(fd);
    c.peer().post(Context::when_asleep() + "reset");
    c.result("send", ::send(fd, "x", 1, MSG_NOSIGNAL));
    c.peer().reply();
    c.result("send", ::send(fd, "x", 1, MSG_NOSIGNAL));
}

void blocked_poll_and_the_peer_resets(Context& c) {
    const int fd = c.open();
    c.peer().post(Context::when_asleep() + "reset");
    pollfd wait{fd, POLLIN, 0};
    c.result("poll", ::poll(&wait, 1, 8000));
    c.mask("events", wait.revents);
    c.peer().reply();
}

void half_closed_then_reset(Context& c) {
    const int fd = c.open();
    ::shutdown(fd, SHUT_WR);
    c.say("peer got %s", c.peer().run("drain; reset").c_str());
    c.await(fd, POLLHUP);
    c.poll_now("reset", fd);
    c.receive(fd, 8);
    c.receive(fd, 8);
}

void peer_half_closed_then_reset(Context& c) {
    const int fd = c.open();
    c.peer().run("send 2; shutdown wr; reset");
    c.await(fd, POLLHUP);
    c.receive(fd, 8);
    c.receive(fd, 8);
    c.result("send", ::send(fd, "x", 1, MSG_NOSIGNAL));
}

// The listener goes before it accepts: the client's next call says so, whoever was at work on the connection.
void listener_goes_first(Context& c) {
    int silent = 0;
    for (int round = 0; round < 400; ++round) {
        const int listener = listen_on("127.0.0.1", 0, 8);
        const int fd = connect_to("127.0.0.1", local_port(listener));
        std::atomic<bool> ready{false};
        const std::jthread closer([&] {
            while (!ready) {
            }
            for (std::atomic<int> step{0}; step < round * 5; ++step) {
            }
            ::close(listener);
        });
        ready = true;
        const ssize_t sent = ::send(fd, "hello", 5, MSG_NOSIGNAL);
        std::array<char, 8> buffer{};
        silent += sent == 5 && ::recv(fd, buffer.data(), buffer.size(), 0) == 0 ? 1 : 0;
        ::close(fd);
    }
    c.say("ends without an error: %d", silent);
}

// A server that accepts, says little or nothing, and closes: the client finds an orderly end, however early it looks.
void accepted_and_closed_at_once(Context& c) {
    const int listener = listen_on("127.0.0.1", 0, 8);
    int errors = 0;
    std::size_t bytes = 0;
    for (int round = 0; round < 400; ++round) {
        const std::jthread server([&] {
            const int fd = accept_one(listener);
            if (round % 2 == 1) {
                ::send(fd, "banner", 6, MSG_NOSIGNAL);
            }
            ::close(fd);
        });
        const int fd = connect_to("127.0.0.1", local_port(listener));
        errors += socket_error(fd) != 0 ? 1 : 0;
        std::array<char, 16> buffer{};
        ssize_t got = 0;
        while ((got = ::recv(fd, buffer.data(), buffer.size(), 0)) > 0) {
            bytes += static_cast<std::size_t>(got);
        }
        errors += got < 0 ? 1 : 0;
        ::close(fd);
    }
    c.say("errors %d, bytes %zu", errors, bytes);
}

constexpr std::array kCases = {
    Case{"peer_resets",                         peer_resets                        },
    Case{"reset_seen_by_send",                  reset_seen_by_send                 },
    Case{"reset_seen_by_the_option",            reset_seen_by_the_option           },
    Case{"reset_behind_data",                   reset_behind_data                  },
    Case{"peer_closes_with_unread_data",        peer_closes_with_unread_data       },
    Case{"own_close_with_unread_data",          own_close_with_unread_data         },
    Case{"own_reset",                           own_reset                          },
    Case{"own_reset_behind_data",               own_reset_behind_data              },
    Case{"blocked_receive_and_the_peer_resets", blocked_receive_and_the_peer_resets},
    Case{"blocked_send_and_the_peer_resets",    blocked_send_and_the_peer_resets   },
    Case{"blocked_poll_and_the_peer_resets",    blocked_poll_and_the_peer_resets   },
    Case{"half_closed_then_reset",              half_closed_then_reset             },
    Case{"peer_half_closed_then_reset",         peer_half_closed_then_reset        },
    Case{"listener_goes_first",                 listener_goes_first                },
    Case{"accepted_and_closed_at_once",         accepted_and_closed_at_once        },
};

} // namespace

std::span<const Case> reset_cases() {
    return kCases;
}

} // namespace smcd::e2e
