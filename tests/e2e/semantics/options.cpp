// Semantics: socket options, ioctl, fcntl flags, names.
// Room tests/e2e, no protocol section.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "tests/e2e/programs/net.hpp"
#include "tests/e2e/semantics/harness.hpp"

namespace smcd::e2e {
namespace {

// The kernel counts these timeouts in ticks of up to 10 ms, and the first one may be cut short.
constexpr double kNotEarlyS = 0.045;

struct Option {
    const char* name;
    int level;
    int number;
};

int get_int(int fd, int level, int number) {
    int value = -1;
    socklen_t size = sizeof value;
    return ::getsockopt(fd, level, number, &value, &size) == -1 ? -1000 - errno : value;
}

void set_int(const Context& c, int fd, const Option& option, int value) {
    const int result = ::setsockopt(fd, option.level, option.number, &value, sizeof value);
    c.result(option.name, result);
    c.say("%s is %d", option.name, get_int(fd, option.level, option.number));
}

void set_timeout(int fd, int number, long milliseconds) {
    const timeval value{milliseconds / 1000, milliseconds % 1000 * 1000};
    check(::setsockopt(fd, SOL_SOCKET, number, &value, sizeof value), "timeout");
}

void values_of_a_new_connection(Context& c) {
    const int fd = c.open();
    for (const Option& option : {
             Option{"SO_TYPE",       SOL_SOCKET,   SO_TYPE      },
             Option{"SO_PROTOCOL",   SOL_SOCKET,   SO_PROTOCOL  },
             Option{"SO_DOMAIN",     SOL_SOCKET,   SO_DOMAIN    },
             Option{"SO_ACCEPTCONN", SOL_SOCKET,   SO_ACCEPTCONN},
             Option{"SO_ERROR",      SOL_SOCKET,   SO_ERROR     },
             Option{"SO_KEEPALIVE",  SOL_SOCKET,   SO_KEEPALIVE },
             Option{"SO_OOBINLINE",  SOL_SOCKET,   SO_OOBINLINE },
             Option{"SO_RCVLOWAT",   SOL_SOCKET,   SO_RCVLOWAT  },
             Option{"SO_SNDLOWAT",   SOL_SOCKET,   SO_SNDLOWAT  },
             Option{"SO_PRIORITY",   SOL_SOCKET,   SO_PRIORITY  },
             Option{"TCP_NODELAY",   IPPROTO_TCP,  TCP_NODELAY  },
             Option{"TCP_CORK",      IPPROTO_TCP,  TCP_CORK     },
             Option{"IP_TOS",        IPPROTO_IP,   IP_TOS       },
             Option{"IP_RECVTOS",    IPPROTO_IP,   IP_RECVTOS   },
             Option{"IPV6_V6ONLY",   IPPROTO_IPV6, IPV6_V6ONLY  },
             Option{"unknown",       SOL_SOCKET,   9999         },
    }) {
        c.say("%s %d", option.name, get_int(fd, option.level, option.number));
    }
    linger value{};
    socklen_t size = sizeof value;
    c.result("SO_LINGER", ::getsockopt(fd, SOL_SOCKET, SO_LINGER, &value, &size));
    c.say("linger %d %d", value.l_onoff, value.l_linger);
}

void values_set(Context& c) {
    const int fd = c.open();
    set_int(c, fd, {"SO_KEEPALIVE", SOL_SOCKET, SO_KEEPALIVE}, 1);
    set_int(c, fd, {"TCP_KEEPIDLE", IPPROTO_TCP, TCP_KEEPIDLE}, 33);
    set_int(c, fd, {"TCP_NODELAY", IPPROTO_TCP, TCP_NODELAY}, 1);
    set_int(c, fd, {"TCP_QUICKACK", IPPROTO_TCP, TCP_QUICKACK}, 1);
    set_int(c, fd, {"TCP_USER_TIMEOUT", IPPROTO_TCP, TCP_USER_TIMEOUT}, 12345);
    set_int(c, fd, {"SO_RCVBUF", SOL_SOCKET, SO_RCVBUF}, 70000);
    set_int(c, fd, {"SO_SNDBUF", SOL_SOCKET, SO_SNDBUF}, 80000);
    set_int(c, fd, {"SO_RCVLOWAT", SOL_SOCKET, SO_RCVLOWAT}, 5);
    set_int(c, fd, {"SO_RCVLOWAT", SOL_SOCKET, SO_RCVLOWAT}, 0);
    set_int(c, fd, {"IP_TOS", IPPROTO_IP, IP_TOS}, 0x10);
    set_int(c, fd, {"SO_PRIORITY", SOL_SOCKET, SO_PRIORITY}, 3);
    set_int(c, fd, {"SO_OOBINLINE", SOL_SOCKET, SO_OOBINLINE}, 1);
    c.result("unknown", ::setsockopt(fd, SOL_SOCKET, 9999, &fd, sizeof fd));
    c.result("too short", ::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &fd, 1));
    c.result("bad pointer",
             ::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, reinterpret_cast<void*>(8), sizeof fd));
    c.result("send", ::send(fd, "works", 5, 0));
    c.say("peer got %s", c.peer().run("recv 5").c_str());
}

void type_of_service_set_before_connect(Context& c) {
    const int listener = listen_on("127.0.0.1", 0, 4);
    const int fd = check(::socket(AF_INET, SOCK_STREAM, 0), "socket");
    const Option tos{"IP_TOS", IPPROTO_IP, IP_TOS};
    set_int(c, fd, tos, 0x20);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(local_port(listener));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c.result("connect", ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address));
    c.say("IP_TOS %d", get_int(fd, IPPROTO_IP, IP_TOS));
    const int accepted = accept_one(listener);
    c.say("accepted: IP_TOS %d", get_int(accepted, IPPROTO_IP, IP_TOS));
}

void bytes_readable(Context& c) {
    const int fd = c.open();
    int count = -1;
    c.result("FIONREAD", ::ioctl(fd, FIONREAD, &count));
    c.say("%d", count);
    c.peer().run("send 5");
    c.await(fd, POLLIN);
    c.result("FIONREAD", ::ioctl(fd, FIONREAD, &count));
    c.say("%d", count);
    c.receive(fd, 2);
    ::ioctl(fd, FIONREAD, &count);
    c.say("%d", count);
    c.peer().run("send 20000; close");
    c.await(fd, POLLRDHUP);
    ::ioctl(fd, FIONREAD, &count);
    c.say("%d", count);
    c.result("bad pointer", ::ioctl(fd, FIONREAD, reinterpret_cast<int*>(8)));
}

void bytes_unsent(Context& c) {
    const int fd = c.open();
    ::send(fd, "12345", 5, 0);
    c.say("peer got %s", c.peer().run("recv 5").c_str());
    int count = -1;
    const double end = now_s() + 5;
    do { // an acknowledgement may be under way
        check(::ioctl(fd, TIOCOUTQ, &count), "TIOCOUTQ");
    } while (count != 0 && now_s() < end);
    c.say("TIOCOUTQ %d", count);
}

void receive_timeout(Context& c) {
    const int fd = c.open();
    set_timeout(fd, SO_RCVTIMEO, 60);
    const double start = now_s();
    c.receive(fd, 8);
    c.say("not early: %d", now_s() - start >= kNotEarlyS ? 1 : 0);
    c.peer().run("send 3");
    c.receive(fd, 8, MSG_WAITALL);
    timeval value{};
    socklen_t size = sizeof value;
    c.result("getsockopt", ::getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &value, &size));
    c.say("%ld s %ld us", static_cast<long>(value.tv_sec), static_cast<long>(value.tv_usec));
    c.peer().run("close");
    c.receive(fd, 8);
}

void send_timeout(Context& c) {
    const int fd = c.open();
    fill(fd);
    set_timeout(fd, SO_SNDTIMEO, 60);
    const double start = now_s();
    c.result("send", ::send(fd, "x", 1, 0));
    c.say("not early: %d", now_s() - start >= kNotEarlyS ? 1 : 0);
}

void low_water_mark(Context& c) {
    const int fd = c.open();
    set_int(c, fd, {"SO_RCVLOWAT", SOL_SOCKET, SO_RCVLOWAT}, 6);
    c.peer().run("send 3");
    pollfd wait{fd, POLLIN, 0};
    c.result("poll below the mark", ::poll(&wait, 1, 30));
    c.receive(fd, 8, MSG_DONTWAIT);
    c.peer().run("send 4");
    c.result("poll below the mark", ::poll(&wait, 1, 30));
    c.peer().run("send 4");
    c.result("poll above the mark", ::poll(&wait, 1, 8000));
    c.receive(fd, 8);
    // Whoever has taken 3 bytes and sleeps again is not woken by 5 more, on TCP neither: first asleep.
    c.peer().post(Context::when_asleep() + "send 3; " + Context::when_asleep() + "send 5");
    c.receive(fd, 8);
    c.peer().reply();
    c.peer().post("send 2; " + Context::when_asleep() + "close");
    c.receive(fd, 8);
    c.peer().reply();
}

void non_blocking_flags(Context& c) {
    const int fd = c.open();
    c.say("flags %d", ::fcntl(fd, F_GETFL) & (O_NONBLOCK | O_ASYNC));
    int on = 1;
    c.result("FIONBIO", ::ioctl(fd, FIONBIO, &on));
    c.say("flags %d", ::fcntl(fd, F_GETFL) & O_NONBLOCK);
    c.receive(fd, 8);
    on = 0;
    c.result("FIONBIO", ::ioctl(fd, FIONBIO, &on));
    c.peer().post(Context::when_asleep() + "send 2");
    c.receive(fd, 8);
    c.peer().reply();
    c.say("accmode %d", ::fcntl(fd, F_GETFL) & O_ACCMODE);
    c.say("close on exec %d", ::fcntl(fd, F_GETFD));
    c.result("FIOCLEX", ::ioctl(fd, FIOCLEX));
    c.say("close on exec %d", ::fcntl(fd, F_GETFD));
    c.result("unknown ioctl", ::ioctl(fd, 0x12345678, &on));
}

void names(Context& c) {
    const int fd = c.open();
    sockaddr_in address{};
    socklen_t size = sizeof address;
    c.result("getpeername", ::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size));
    c.say("size %u family %d loopback %d port %d",
          size,
          address.sin_family,
          address.sin_addr.s_addr == htonl(INADDR_LOOPBACK) ? 1 : 0,
          address.sin_port != 0);
    size = 2;
    c.result("short getsockname", ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size));
    c.say("size %u", size);
    c.result("bad pointer", ::getsockname(fd, nullptr, &size));
    size = sizeof address;
    c.peer().run("close");
    c.await(fd, POLLRDHUP);
    c.result("getpeername", ::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size));
    ::shutdown(fd, SHUT_RDWR);
    c.result("getpeername", ::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size));
}

void connection_information(Context& c) {
    const int fd = c.open();
    tcp_info info{};
    socklen_t size = sizeof info;
    c.result("TCP_INFO", ::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size));
    c.say("state %d", info.tcpi_state);
    c.peer().run("close");
    c.await(fd, POLLRDHUP);
    check(::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size), "TCP_INFO");
    c.say("state %d", info.tcpi_state);
}

void cork(Context& c) {
    const int fd = c.open();
    set_int(c, fd, {"TCP_CORK", IPPROTO_TCP, TCP_CORK}, 1);
    c.result("send", ::send(fd, "corked", 6, 0));
    set_int(c, fd, {"TCP_CORK", IPPROTO_TCP, TCP_CORK}, 0);
    c.say("peer got %s", c.peer().run("recv 6").c_str());
}

std::atomic<int> signal_event{-1}; // for the handler, in whichever thread it runs

void signal_on_data(Context& c) {
    signal_event = check(::eventfd(0, 0), "eventfd");

    struct sigaction action {};

    action.sa_handler = [](int) { ::eventfd_write(signal_event, 1); };
    check(::sigaction(SIGIO, &action, nullptr), "sigaction");
    const int fd = c.open();
    c.result("F_SETOWN", ::fcntl(fd, F_SETOWN, ::getpid()));
    c.result("O_ASYNC", ::fcntl(fd, F_SETFL, O_ASYNC | O_NONBLOCK));
    c.peer().run("send 2");
    c.await(signal_event, POLLIN);
    c.await(fd, POLLIN);
    c.receive(fd, 8);
}

void zero_copy(Context& c) {
    const int fd = c.open();
    const int on = 1;
    const int result = ::setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof on);
    if (result == 0) {
        ::send(fd, "zc", 2, MSG_ZEROCOPY);
        c.say("peer got %s", c.peer().run("recv 2").c_str());
    }
    c.result("send", ::send(fd, "ab", 2, 0));
    c.say("peer got %s", c.peer().run("recv 2").c_str());
}

/// What recvmsg() gives beside so many bytes: types at the level of TCP. Time stamps come only once the kernel has begun to
/// take them.
void receive_with_control(Context& c, int fd, std::size_t bytes) {
    std::array<char, 64> data{};
    alignas(cmsghdr) std::array<char, 256> control{};
    iovec part{data.data(), bytes};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    c.result("recvmsg", static_cast<int>(::recvmsg(fd, &header, MSG_WAITALL)));
    for (cmsghdr* one = CMSG_FIRSTHDR(&header); one != nullptr; one = CMSG_NXTHDR(&header, one)) {
        if (one->cmsg_level == IPPROTO_TCP) {
            int value = 0;
            std::memcpy(&value, CMSG_DATA(one), sizeof value);
            c.say("control %d: %d", one->cmsg_type, value);
        }
    }
}

/// As gRPC reads: what is left decides whether it waits for an edge.
void bytes_left(Context& c) {
    const int fd = c.open();
    set_int(c, fd, {"TCP_INQ", IPPROTO_TCP, TCP_INQ}, 1);
    c.peer().run("send 7");
    receive_with_control(c, fd, 3);
    receive_with_control(c, fd, 4);
    c.peer().run("send 5");
    c.peer().run("shutdown wr");
    receive_with_control(c, fd, 2);
    receive_with_control(c, fd, 3);
    receive_with_control(c, fd, 1);
}

constexpr std::array kKernelOptions = {
    Option{"SO_TIMESTAMP",       SOL_SOCKET,  SO_TIMESTAMP      },
    Option{"SO_TIMESTAMPNS",     SOL_SOCKET,  SO_TIMESTAMPNS    },
    Option{"TCP_INQ",            IPPROTO_TCP, TCP_INQ           },
    Option{"SO_MAX_PACING_RATE", SOL_SOCKET,  SO_MAX_PACING_RATE},
};

void kernel_options(Context& c) {
    for (const Option& option : kKernelOptions) {
        const int fd = c.open();
        c.peer().run("send 3");
        set_int(c, fd, option, option.number == SO_MAX_PACING_RATE ? 1 << 20 : 1);
        c.peer().run("send 4");
        receive_with_control(c, fd, 7);
        c.result("send", ::send(fd, "back", 4, 0));
        c.say("peer got %s", c.peer().run("recv 4").c_str());
    }
}

/// Before there is a connection: on both sides' sockets.
void kernel_options_before_connect(Context& c) {
    for (const Option& option : kKernelOptions) {
        const int listener = listen_on("127.0.0.1", 0, 4);
        set_int(c, listener, option, option.number == SO_MAX_PACING_RATE ? 1 << 20 : 1);
        const int fd = check(::socket(AF_INET, SOCK_STREAM, 0), "socket");
        set_int(c, fd, option, option.number == SO_MAX_PACING_RATE ? 1 << 20 : 1);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(local_port(listener));
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        c.result("connect", ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address));
        const int accepted = accept_one(listener);
        c.result("send", ::send(fd, "there", 5, 0));
        receive_with_control(c, accepted, 5);
        c.result("send", ::send(accepted, "back", 4, 0));
        receive_with_control(c, fd, 4);
        for (const int one : {listener, fd, accepted}) {
            ::close(one);
        }
    }
}

constexpr std::array kCases = {
    Case{"values_of_a_new_connection",         values_of_a_new_connection        },
    Case{"values_set",                         values_set                        },
    Case{"type_of_service_set_before_connect", type_of_service_set_before_connect},
    Case{"bytes_readable",                     bytes_readable                    },
    Case{"bytes_unsent",                       bytes_unsent                      },
    Case{"receive_timeout",                    receive_timeout                   },
    Case{"send_timeout",                       send_timeout                      },
    Case{"low_water_mark",                     low_water_mark                    },
    Case{"non_blocking_flags",                 non_blocking_flags                },
    Case{"names",                              names                             },
    Case{"connection_information",             connection_information            },
    Case{"cork",                               cork                              },
    Case{"signal_on_data",                     signal_on_data                    },
    Case{"zero_copy",                          zero_copy                         },
    Case{"bytes_left",                         bytes_left                        },
    Case{"kernel_options",                     kernel_options                    },
    Case{"kernel_options_before_connect",      kernel_options_before_connect     },
};

} // namespace

std::span<const Case> option_cases() {
    return kCases;
}

} // namespace smcd::e2e
