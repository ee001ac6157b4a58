// Semantics: plain transfers, empty buffers, lengths, bad pointers, vectors.
// Room tests/e2e, no protocol section.
#include <limits.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>
#include <vector>

#include "tests/e2e/programs/net.hpp"
#include "tests/e2e/semantics/harness.hpp"

namespace smcd::e2e {
namespace {

// A page that faults; `before` readable bytes stand directly in front of it.
char* bad_memory(std::size_t before) {
    constexpr std::size_t kPage = 4096;
    void* base =
        ::mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) {
        die_errno("mmap");
    }
    char* edge = static_cast<char*>(base) + kPage;
    check(::mprotect(edge, kPage, PROT_NONE), "mprotect");
    return edge - before;
}

void echo_both_ways(Context& c) {
    const int fd = c.open();
    c.result("send", ::send(fd, "hello", 5, 0));
    c.say("peer got %s", c.peer().run("recv 5").c_str());
    c.peer().run("send 7");
    c.receive(fd, 7);
    c.result("write", ::write(fd, "x", 1));
    c.say("peer got %s", c.peer().run("recv 1; send 3").c_str());
    std::array<char, 8> buffer{};
    c.await(fd, POLLIN);
    c.result("read", ::read(fd, buffer.data(), buffer.size()));
    c.say("%s", buffer.data());
}

void receive_empty(Context& c) {
    const int fd = c.open();
    std::array<char, 8> buffer{};
    c.result("recv dontwait", ::recv(fd, buffer.data(), 8, MSG_DONTWAIT));
    c.result("peek dontwait", ::recv(fd, buffer.data(), 8, MSG_DONTWAIT | MSG_PEEK));
    set_nonblocking(fd, true);
    c.result("recv", ::recv(fd, buffer.data(), 8, 0));
    c.result("read", ::read(fd, buffer.data(), 8));
    c.result("recv waitall", ::recv(fd, buffer.data(), 8, MSG_WAITALL));
    iovec piece{buffer.data(), 8};
    c.result("readv", ::readv(fd, &piece, 1));
    msghdr header{};
    header.msg_iov = &piece;
    header.msg_iovlen = 1;
    c.result("recvmsg", ::recvmsg(fd, &header, 0));
}

void zero_lengths(Context& c) {
    const int fd = c.open();
    char byte = 0;
    c.result("read(0) of nothing", ::read(fd, &byte, 0));
    c.result("recv(0) of nothing", ::recv(fd, &byte, 0, MSG_DONTWAIT));
    c.result("send(0)", ::send(fd, &byte, 0, 0));
    c.result("write(0)", ::write(fd, &byte, 0));
    c.peer().run("send 2");
    c.await(fd, POLLIN);
    c.result("read(0)", ::read(fd, &byte, 0));
    c.result("recv(0)", ::recv(fd, &byte, 0, 0));
    c.result("peek(0)", ::recv(fd, &byte, 0, MSG_PEEK));
    msghdr header{};
    c.result("recvmsg without vectors", ::recvmsg(fd, &header, MSG_DONTWAIT));
    c.result("sendmsg without vectors", ::sendmsg(fd, &header, 0));
    c.receive(fd, 8);
}

void bad_pointers(Context& c) {
    const int fd = c.open();
    char* bad = bad_memory(0);
    c.result("send", ::send(fd, bad, 10, 0));
    c.result("write", ::write(fd, bad, 10));
    c.peer().run("send 6");
    c.await(fd, POLLIN);
    c.result("recv", ::recv(fd, bad, 6, 0));
    c.result("read", ::read(fd, bad, 6));
    c.result("peek", ::recv(fd, bad, 6, MSG_PEEK));
    iovec piece{bad, 6};
    c.result("readv", ::readv(fd, &piece, 1));
    c.result("writev", ::writev(fd, &piece, 1));
    c.receive(fd, 6); // nothing was lost
    ::send(fd, "end", 3, 0);
    c.say("peer got %s", c.peer().run("recv 3").c_str());
}

void bad_headers(Context& c) {
    const int fd = c.open();
    char* bad = bad_memory(0);
    c.peer().run("send 6");
    c.await(fd, POLLIN);
    c.result("readv", ::readv(fd, reinterpret_cast<iovec*>(bad), 1));
    c.result("writev", ::writev(fd, reinterpret_cast<iovec*>(bad), 1));
    c.result("sendmsg", ::sendmsg(fd, reinterpret_cast<msghdr*>(bad), 0));
    c.result("recvmsg", ::recvmsg(fd, reinterpret_cast<msghdr*>(bad), 0));
    c.receive(fd, 6);
}

void pointer_bad_in_the_middle(Context& c) {
    const int fd = c.open();
    char* edge = bad_memory(4);
    edge[0] = edge[1] = edge[2] = edge[3] = 'e';
    c.result("send across the edge", ::send(fd, edge, 10, 0) > 0 ? 1 : -1);
    ::shutdown(fd, SHUT_WR);
    c.say("peer got %s", c.peer().run("drain").c_str());
}

void empty_receive_does_not_touch_memory(Context& c) {
    const int fd = c.open();
    char* bad = bad_memory(0);
    c.result("recv of nothing to a bad pointer", ::recv(fd, bad, 6, MSG_DONTWAIT));
    c.result("recv(0) to a bad pointer", ::recv(fd, bad, 0, MSG_DONTWAIT));
    c.result("send(0) from a bad pointer", ::send(fd, bad, 0, 0));
}

void huge_length(Context& c) {
    const int fd = c.open();
    std::vector<char> buffer(1 << 20U);
    c.peer().run("send 5");
    c.await(fd, POLLIN);
    c.result("recv of 1 MiB", ::recv(fd, buffer.data(), buffer.size(), 0));
    c.peer().run("send 5");
    c.await(fd, POLLIN);
    c.result("read of 1 GiB", ::read(fd, buffer.data(), opaque(std::size_t{1} << 30U)));
}

void vectors(Context& c) {
    const int fd = c.open();
    std::array<char, 12> buffer{};
    std::array<iovec, 4> pieces = {
        iovec{buffer.data(),     1},
        iovec{nullptr,           0},
        iovec{buffer.data() + 1, 4},
        iovec{buffer.data() + 5, 5}
    };
    c.peer().run("send 7");
    c.await(fd, POLLIN);
    c.result("readv", ::readv(fd, pieces.data(), 4));
    c.say("'%s'", buffer.data());
    c.result("writev", ::writev(fd, pieces.data(), 3));
    c.say("peer got %s", c.peer().run("recv 5").c_str());
    c.result("readv of 0 vectors", ::readv(fd, pieces.data(), 0));
    c.result("writev of 0 vectors", ::writev(fd, pieces.data(), 0));
    c.result("writev of -1 vectors", ::writev(fd, pieces.data(), opaque(-1)));
    c.result("readv of -1 vectors", ::readv(fd, pieces.data(), opaque(-1)));
    const std::vector<iovec> many(IOV_MAX + 1, iovec{buffer.data(), 0});
    c.result("writev of too many", ::writev(fd, many.data(), IOV_MAX + 1));
    c.result("writev of the most", ::writev(fd, many.data(), IOV_MAX));
    pieces[1] = {buffer.data(), SIZE_MAX};
    c.result("writev of a negative length", ::writev(fd, pieces.data(), 2));
    msghdr header{};
    header.msg_iov = pieces.data();
    header.msg_iovlen = std::size_t{IOV_MAX} + 1;
    c.result("sendmsg of too many", ::sendmsg(fd, &header, 0));
    c.result("recvmsg of too many", ::recvmsg(fd, &header, MSG_DONTWAIT));
}

void many_small_pieces(Context& c) {
    const int fd = c.open();
    std::string text(IOV_MAX, ' ');
    std::vector<iovec> pieces;
    for (std::size_t i = 0; i < text.size(); ++i) {
        text[i] = static_cast<char>('a' + i % 26);
        pieces.push_back({&text[i], 1});
    }
    c.result("writev", ::writev(fd, pieces.data(), static_cast<int>(pieces.size())));
    c.say("peer got %s", c.peer().run("recv 1024").c_str());
    c.peer().run("send 1024");
    std::string copy(text.size(), ' ');
    for (std::size_t i = 0; i < copy.size(); ++i) {
        pieces[i] = {&copy[i], 1};
    }
    std::size_t done = 0;
    while (done < copy.size()) {
        const ssize_t got = ::readv(fd, pieces.data() + done, static_cast<int>(copy.size() - done));
        if (got <= 0) {
            c.result("readv", got);
            return;
        }
        done += static_cast<std::size_t>(got);
    }
    std::size_t in_order = 1;
    while (in_order < copy.size() &&
           copy[in_order] == (copy[in_order - 1] == 'z' ? 'a' : copy[in_order - 1] + 1)) {
        ++in_order;
    }
    c.say("in order: %zu", in_order);
}

void message_fields(Context& c) {
    const int fd = c.open();
    c.peer().run("send 5");
    c.await(fd, POLLIN);
    std::array<char, 64> data{};
    std::array<char, 128> name{};
    std::array<char, 128> control{};
    iovec piece{data.data(), 3};
    msghdr header{};
    header.msg_iov = &piece;
    header.msg_iovlen = 1;
    header.msg_name = name.data();
    header.msg_namelen = name.size();
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    header.msg_flags = MSG_TRUNC | MSG_CTRUNC;
    c.result("recvmsg", ::recvmsg(fd, &header, 0));
    c.say("name %u control %zu flags %d",
          header.msg_namelen,
          header.msg_controllen,
          header.msg_flags);
    socklen_t size = name.size();
    c.result("recvfrom",
             ::recvfrom(fd, data.data(), 8, 0, reinterpret_cast<sockaddr*>(name.data()), &size));
    c.say("name %u", size);
}

void send_to_an_address(Context& c) {
    const int fd = c.open();
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    check(::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size), "getpeername");
    c.result("sendto the peer",
             ::sendto(fd, "abc", 3, 0, reinterpret_cast<sockaddr*>(&address), size));
    c.say("peer got %s", c.peer().run("recv 3").c_str());
    c.result("sendto with a length and no address", ::sendto(fd, "d", 1, 0, nullptr, 16));
    c.say("peer got %s", c.peer().run("recv 1").c_str());
}

void fill_and_drain(Context& c) {
    const int fd = c.open();
    const ssize_t filled = fill(fd);
    c.say("filled: %d", filled > 0 ? 1 : 0);
    c.result("send when full", ::send(fd, "x", 1, MSG_DONTWAIT));
    c.poll_now("when full", fd);
    c.say("peer got all: %d",
          c.peer().run("recv " + std::to_string(filled)) == std::to_string(filled) + " full");
    c.await(fd, POLLOUT);
    c.poll_now("drained", fd);
    c.result("send", ::send(fd, "x", 1, MSG_DONTWAIT));
}

void large_blocking_send(Context& c) {
    const int fd = c.open();
    const std::vector<char> data(32 << 20U, 'L');
    c.peer().post("recv " + std::to_string(data.size()));
    c.result("send", ::send(fd, data.data(), data.size(), 0));
    c.say("peer got %s", c.peer().reply().c_str());
}

void blocked_receive_is_woken(Context& c) {
    const int fd = c.open();
    for (int i = 0; i < 5; ++i) {
        c.peer().post(Context::when_asleep() + "send 4");
        c.receive(fd, 8);
        c.peer().reply();
    }
}

void blocked_send_is_woken(Context& c) {
    const int fd = c.open();
    const ssize_t filled = fill(fd);
    c.peer().post(Context::when_asleep() + "recv " + std::to_string(filled + 4));
    c.result("send", ::send(fd, "tail", 4, 0));
    c.say("peer got all: %d", c.peer().reply() == std::to_string(filled + 4) + " full");
}

constexpr std::array kCases = {
    Case{"echo_both_ways",                      echo_both_ways                     },
    Case{"receive_empty",                       receive_empty                      },
    Case{"zero_lengths",                        zero_lengths                       },
    Case{"bad_pointers",                        bad_pointers                       },
    Case{"bad_headers",                         bad_headers                        },
    Case{"pointer_bad_in_the_middle",           pointer_bad_in_the_middle          },
    Case{"empty_receive_does_not_touch_memory", empty_receive_does_not_touch_memory},
    Case{"huge_length",                         huge_length                        },
    Case{"vectors",                             vectors                            },
    Case{"many_small_pieces",                   many_small_pieces                  },
    Case{"message_fields",                      message_fields                     },
    Case{"send_to_an_address",                  send_to_an_address                 },
    Case{"fill_and_drain",                      fill_and_drain                     },
    Case{"large_blocking_send",                 large_blocking_send                },
    Case{"blocked_receive_is_woken",            blocked_receive_is_woken           },
    Case{"blocked_send_is_woken",               blocked_send_is_woken              },
};

} // namespace

std::span<const Case> transfer_cases() {
    return kCases;
}

} // namespace smcd::e2e
