// Semantics: connect, accept and listen, without waiting and out of order.
// Room tests/e2e, no protocol section.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>
#include <vector>

#include "tests/e2e/programs/net.hpp"
#include "tests/e2e/semantics/harness.hpp"

namespace smcd::e2e {
namespace {

sockaddr_in loopback(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

int start_connect(int fd, int port) {
    const sockaddr_in address = loopback(port);
    return ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
}

int new_socket(int flags = 0) {
    return check(::socket(AF_INET, SOCK_STREAM | flags, 0), "socket");
}

int socket_error(int fd) {
    int value = -1;
    socklen_t size = sizeof value;
    check(::getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &size), "SO_ERROR");
    return value;
}

// A port on which nobody listens: bound, never listening.
int closed_port(int* holder) {
    *holder = new_socket();
    const sockaddr_in address = loopback(0);
    check(::bind(*holder, reinterpret_cast<const sockaddr*>(&address), sizeof address), "bind");
    return local_port(*holder);
}

void without_waiting(Context& c) {
    const int port = std::stoi(c.peer().run("listen"));
    const int fd = new_socket(SOCK_NONBLOCK);
    c.result("connect", start_connect(fd, port));
    c.await(fd, POLLOUT);
    c.poll_now("connected", fd);
    c.say("SO_ERROR %d", socket_error(fd));
    c.result("connect again", start_connect(fd, port));
    c.result("and again", start_connect(fd, port));
    c.result("send", ::send(fd, "early", 5, 0));
    c.say("peer got %s", c.peer().run("accept; recv 5; send 4").c_str());
    c.await(fd, POLLIN);
    c.receive(fd, 8);
}

void refused(Context& c) {
    int holder = -1;
    const int port = closed_port(&holder);
    const int fd = new_socket();
    c.result("connect", start_connect(fd, port));
    c.say("SO_ERROR %d", socket_error(fd));
    c.poll_now("refused", fd);
    c.result("send", ::send(fd, "x", 1, MSG_NOSIGNAL));
    c.receive(fd, 8);
}

void refused_without_waiting(Context& c) {
    int holder = -1;
    const int port = closed_port(&holder);
    const int fd = new_socket(SOCK_NONBLOCK);
    c.result("connect", start_connect(fd, port));
    c.await(fd, POLLOUT);
    c.poll_now("refused", fd);
    c.say("SO_ERROR %d", socket_error(fd));
    c.say("SO_ERROR %d", socket_error(fd));
    c.poll_now("after the error", fd);
    c.receive(fd, 8);
}

void refused_then_connected(Context& c) {
    int holder = -1;
    const int port = closed_port(&holder);
    const int fd = new_socket();
    c.result("connect", start_connect(fd, port));
    const int open_port = std::stoi(c.peer().run("listen"));
    c.result("connect", start_connect(fd, open_port));
    c.result("send", ::send(fd, "second try", 10, 0));
    c.say("peer got %s", c.peer().run("accept; recv 10").c_str());
}

void before_connect(Context& c) {
    const int fd = new_socket(SOCK_NONBLOCK);
    c.poll_now("new", fd);
    c.result("send", ::send(fd, "x", 1, MSG_NOSIGNAL));
    c.receive(fd, 8);
    c.result("shutdown", ::shutdown(fd, SHUT_WR));
    sockaddr_in address{};
    socklen_t size = sizeof address;
    c.result("getpeername", ::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size));
    c.result("accept", ::accept(fd, nullptr, nullptr));
    c.result("bad connect", ::connect(fd, nullptr, 16));
    c.result("short connect", ::connect(fd, reinterpret_cast<sockaddr*>(&address), 3));
    address.sin_family = AF_UNIX;
    c.result("wrong family", ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address));
}

void connected_again(Context& c) {
    const int fd = c.open();
    const int port = std::stoi(c.peer().run("listen"));
    c.result("connect", start_connect(fd, port));
    c.result("listen", ::listen(fd, 4));
    c.result("accept", ::accept(fd, nullptr, nullptr));
    const sockaddr_in address = loopback(0);
    c.result("bind", ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address));
    c.result("send", ::send(fd, "fine", 4, 0));
    c.say("peer got %s", c.peer().run("use 0; recv 4").c_str());
}

void disconnected(Context& c) {
    const int fd = c.open();
    sockaddr address{};
    address.sa_family = AF_UNSPEC;
    c.result("connect to nothing", ::connect(fd, &address, sizeof address));
    c.say("peer got %s", c.peer().run("drain").c_str());
    c.result("send", ::send(fd, "x", 1, MSG_NOSIGNAL));
    const int port = std::stoi(c.peer().run("listen"));
    c.result("connect", start_connect(fd, port));
    c.result("send", ::send(fd, "new life", 8, 0));
    c.say("peer got %s", c.peer().run("accept; recv 8").c_str());
}

void registered_first(Context& c, unsigned edge) {
    const int port = std::stoi(c.peer().run("listen"));
    const int fd = new_socket(SOCK_NONBLOCK);
    const int set = check(::epoll_create1(0), "epoll_create1");
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | edge;
    check(::epoll_ctl(set, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
    c.result("new", ::epoll_wait(set, &event, 1, 0));
    c.mask("events", static_cast<int>(event.events & 0xffffU));
    c.result("connect", start_connect(fd, port));
    c.await(fd, POLLOUT);
    c.result("connected", ::epoll_wait(set, &event, 1, 5000));
    c.mask("events", static_cast<int>(event.events & 0xffffU));
    c.peer().run("accept; send 3");
    c.await(fd, POLLIN);
    c.result("data", ::epoll_wait(set, &event, 1, 5000));
    c.mask("events", static_cast<int>(event.events & 0xffffU));
    c.receive(fd, 8);
    c.peer().run("close");
    c.await(fd, POLLRDHUP);
    c.result("end", ::epoll_wait(set, &event, 1, 5000));
    c.mask("events", static_cast<int>(event.events & 0xffffU));
}

void registered_before_connect(Context& c) {
    registered_first(c, 0);
}

void registered_for_edges_before_connect(Context& c) {
    registered_first(c, EPOLLET);
}

void accept_of_nothing(Context& c) {
    const int listener = listen_on("127.0.0.1", 0, 4);
    set_nonblocking(listener, true);
    c.poll_now("idle listener", listener);
    c.result("accept", ::accept(listener, nullptr, nullptr));
    const std::string port = std::to_string(local_port(listener));
    c.peer().run("connect " + port);
    c.await(listener, POLLIN);
    c.poll_now("listener", listener);
    sockaddr_in address{};
    socklen_t size = sizeof address;
    const int fd = ::accept4(
        listener, reinterpret_cast<sockaddr*>(&address), &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    c.say("accepted: %d size %u family %d", fd >= 0 ? 1 : 0, size, address.sin_family);
    c.say("nonblock %d cloexec %d",
          (::fcntl(fd, F_GETFL) & O_NONBLOCK) != 0 ? 1 : 0,
          ::fcntl(fd, F_GETFD));
    c.receive(fd, 4);
    c.result("accept4 with a bad flag", ::accept4(listener, nullptr, nullptr, 12345));
    c.result("recv of a listener", ::recv(listener, &address, 1, 0));
    c.result("send to a listener", ::send(listener, &address, 1, MSG_NOSIGNAL));
}

void client_gone_before_accept(Context& c) {
    const int listener = listen_on("127.0.0.1", 0, 4);
    const std::string port = std::to_string(local_port(listener));
    c.peer().run("connect " + port + "; send 5; close");
    const int fd = accept_one(listener);
    c.await(fd, POLLRDHUP);
    c.receive(fd, 8);
    c.receive(fd, 8);
}

void client_reset_before_accept(Context& c) {
    const int listener = listen_on("127.0.0.1", 0, 4);
    const std::string port = std::to_string(local_port(listener));
    c.peer().run("connect " + port + "; reset");
    set_nonblocking(listener, true);
    c.await(listener, POLLIN);
    const int fd = ::accept(listener, nullptr, nullptr);
    c.say("accepted: %d", fd >= 0 ? 1 : 0);
    c.await(fd, POLLHUP);
    c.receive(fd, 8);
    c.receive(fd, 8);
}

void everything_in_one_thread(Context& c) {
    const int listener = listen_on("127.0.0.1", 0, 4);
    const int client = connect_to("127.0.0.1", local_port(listener));
    c.result("send", ::send(client, "before accept", 13, 0));
    const int server = accept_one(listener);
    c.receive(server, 20);
    c.result("send", ::send(server, "reply", 5, 0));
    c.receive(client, 20);
    ::close(listener);
    c.result("send", ::send(client, "no listener", 11, 0));
    c.receive(server, 20);
    ::close(client);
    c.receive(server, 20);
}

void connected_to_itself(Context& c) {
    const int fd = new_socket();
    sockaddr_in address = loopback(0);
    check(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), "bind");
    c.result("connect", start_connect(fd, local_port(fd)));
    c.result("send", ::send(fd, "echo", 4, 0));
    c.receive(fd, 8);
    c.result("shutdown", ::shutdown(fd, SHUT_WR));
    c.receive(fd, 8);
}

void listener_closed(Context& c) {
    const int listener = listen_on("127.0.0.1", 0, 4);
    const int port = local_port(listener);
    c.peer().run("connect " + std::to_string(port));
    const int fd = accept_one(listener);
    c.result("close", ::close(listener));
    c.result("send", ::send(fd, "still", 5, 0));
    c.say("peer got %s", c.peer().run("recv 5").c_str());
    c.result("connect", start_connect(new_socket(), port));
}

void listening_twice(Context& c) {
    const int listener = listen_on("127.0.0.1", 0, 4);
    c.result("listen again", ::listen(listener, 8));
    c.peer().run("connect " + std::to_string(local_port(listener)));
    const int fd = accept_one(listener);
    c.result("send", ::send(fd, "works", 5, 0));
    c.say("peer got %s", c.peer().run("recv 5").c_str());
    c.result("shutdown", ::shutdown(listener, SHUT_RDWR));
    c.result("accept", ::accept(listener, nullptr, nullptr));
}

// A full backlog: the connection is under way until the server accepts. Nothing is taken before.
void send_while_connecting(Context& c) {
    const int listener = listen_on("127.0.0.1", 0, 0);
    std::vector<int> clients;
    pollfd space{-1, POLLOUT, 0};
    do {
        clients.push_back(check(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), "socket"));
        sockaddr_in address = loopback(local_port(listener));
        static_cast<void>(::connect(clients.back(), reinterpret_cast<sockaddr*>(&address), sizeof(address)));
        space.fd = clients.back();
    } while (::poll(&space, 1, 100) == 1 && clients.size() < 10);
    c.result("send", ::send(space.fd, "early", 5, 0));
    c.receive(space.fd, 20);
    for (std::size_t i = 0; i + 1 < clients.size(); ++i) {
        ::close(accept_one(listener));
    }
    c.result("poll", ::poll(&space, 1, 8000));
    c.result("send", ::send(space.fd, "later", 5, 0));
    const int last = accept_one(listener);
    c.receive(last, 20);
}

constexpr std::array kCases = {
    Case{"without_waiting",                     without_waiting                    },
    Case{"refused",                             refused                            },
    Case{"refused_without_waiting",             refused_without_waiting            },
    Case{"refused_then_connected",              refused_then_connected             },
    Case{"before_connect",                      before_connect                     },
    Case{"connected_again",                     connected_again                    },
    Case{"disconnected",                        disconnected                       },
    Case{"registered_before_connect",           registered_before_connect          },
    Case{"registered_for_edges_before_connect", registered_for_edges_before_connect},
    Case{"accept_of_nothing",                   accept_of_nothing                  },
    Case{"client_gone_before_accept",           client_gone_before_accept          },
    Case{"client_reset_before_accept",          client_reset_before_accept         },
    Case{"everything_in_one_thread",            everything_in_one_thread           },
    Case{"connected_to_itself",                 connected_to_itself                },
    Case{"listener_closed",                     listener_closed                    },
    Case{"listening_twice",                     listening_twice                    },
    Case{"send_while_connecting",               send_while_connecting              },
};

} // namespace

std::span<const Case> connecting_cases() {
    return kCases;
}

} // namespace smcd::e2e
