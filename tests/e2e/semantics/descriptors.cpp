// Semantics: several descriptors for one connection, and descriptors that travel.
// Room tests/e2e, no protocol section.
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "tests/e2e/programs/net.hpp"
#include "tests/e2e/semantics/harness.hpp"

namespace smcd::e2e {
namespace {

void through(Context& c, const char* what, int fd) {
    c.say("%s works: %d", what, fd >= 0 ? 1 : 0);
    c.result("send", ::send(fd, what, std::strlen(what), 0));
    c.say("peer got %s", c.peer().run("recv " + std::to_string(std::strlen(what))).c_str());
    c.peer().run("send 3");
    c.receive(fd, 8);
}

void duplicates(Context& c) {
    const int fd = c.open();
    const int first = ::dup(fd);
    through(c, "dup", first);
    const int second = ::dup2(fd, 200);
    c.say("number %d", second);
    through(c, "dup2", second);
    const int third = ::dup3(fd, 201, O_CLOEXEC);
    c.say("number %d close on exec %d", third, ::fcntl(third, F_GETFD));
    through(c, "dup3", third);
    const int fourth = ::fcntl(fd, F_DUPFD, 300);
    c.say("at least 300: %d", fourth >= 300 ? 1 : 0);
    through(c, "F_DUPFD", fourth);
    const int fifth = ::fcntl(fd, F_DUPFD_CLOEXEC, 300);
    c.say("close on exec %d", ::fcntl(fifth, F_GETFD));
    through(c, "F_DUPFD_CLOEXEC", fifth);
    for (const int number : {fd, first, second, third, fourth}) {
        c.result("close", ::close(number));
    }
    through(c, "the last one", fifth);
    c.result("close", ::close(fifth));
    c.say("peer got %s", c.peer().run("drain").c_str());
}

void share_what_was_received(Context& c) {
    const int fd = c.open();
    const int copy = ::dup(fd);
    c.peer().run("send 10");
    c.receive(fd, 4);
    c.receive(copy, 4);
    c.receive(fd, 4);
}

void share_flags_and_ends(Context& c) {
    const int fd = c.open();
    const int copy = ::dup(fd);
    set_nonblocking(copy, true);
    c.receive(fd, 4);
    c.result("shutdown", ::shutdown(copy, SHUT_WR));
    c.result("send", ::send(fd, "x", 1, MSG_NOSIGNAL));
    c.say("peer got %s", c.peer().run("drain").c_str());

    struct stat one {};

    struct stat two {};

    ::fstat(fd, &one);
    ::fstat(copy, &two);
    c.say("same file: %d", one.st_ino == two.st_ino ? 1 : 0);
}

void onto_a_connection(Context& c) {
    const int fd = c.open();
    std::array<int, 2> pipe{};
    check(::pipe(pipe.data()), "pipe");
    c.result("write", ::send(fd, "last", 4, 0));
    c.say("same number: %d", ::dup2(pipe[1], fd) == fd ? 1 : 0);
    c.say("peer got %s", c.peer().run("drain").c_str());
    c.result("write", ::write(fd, "into the pipe", 13));
    std::array<char, 16> text{};
    c.result("read", ::read(pipe[0], text.data(), text.size()));
    c.result("recv", ::recv(fd, text.data(), 4, 0));
}

void connection_onto_another(Context& c) {
    const int one = c.open();
    const int two = c.open();
    c.say("same number: %d", ::dup2(two, one) == one ? 1 : 0);
    c.peer().run("use 0");
    c.say("first peer got %s", c.peer().run("drain").c_str());
    c.peer().run("use 1");
    ::close(two);
    through(c, "the other", one);
}

void onto_itself(Context& c) {
    const int fd = c.open();
    c.say("same number: %d", ::dup2(fd, fd) == fd ? 1 : 0);
    c.result("dup3 onto itself", ::dup3(fd, fd, 0));
    c.result("dup2 of nothing", ::dup2(-1, fd));
    c.result("dup3 with a bad flag", ::dup3(fd, 250, 12345));
    c.result("F_DUPFD with a bad number", ::fcntl(fd, F_DUPFD, -1));
    through(c, "still", fd);
}

void range_closed(Context& c) {
    const int fd = c.open();
    const int high = ::dup2(fd, 500);
    ::close(fd);
    c.result("close_range of others", ::close_range(501, 600, 0));
    through(c, "still", high);
    c.result("close_range", ::close_range(500, 500, 0));
    c.say("peer got %s", c.peer().run("drain").c_str());
    c.result("send", ::send(high, "x", 1, 0));
}

void range_closed_to_the_end(Context& c) {
    const int fd = c.open();
    const int other = c.open();
    c.peer().run("use 0");
    const int high = ::dup2(fd, 700);
    c.result("close_range", ::close_range(701, ~0U, 0));
    through(c, "kept", high);
    through(c, "kept too", fd);
    c.peer().run("use 1");
    through(c, "the other", other);
}

void range_marked(Context& c) {
    const int fd = c.open();
    c.result(
        "close_range",
        ::close_range(static_cast<unsigned>(fd), static_cast<unsigned>(fd), CLOSE_RANGE_CLOEXEC));
    c.say("close on exec %d", ::fcntl(fd, F_GETFD));
    through(c, "still", fd);
}

void pass(int channel, int fd) {
    char byte = 'f';
    iovec piece{&byte, 1};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    msghdr header{};
    header.msg_iov = &piece;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    cmsghdr* first = CMSG_FIRSTHDR(&header);
    first->cmsg_len = CMSG_LEN(sizeof(int));
    first->cmsg_level = SOL_SOCKET;
    first->cmsg_type = SCM_RIGHTS;
    std::memcpy(CMSG_DATA(first), &fd, sizeof fd);
    check(static_cast<int>(::sendmsg(channel, &header, 0)), "sendmsg");
}

int take(int channel) {
    char byte = 0;
    iovec piece{&byte, 1};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    msghdr header{};
    header.msg_iov = &piece;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    check(static_cast<int>(::recvmsg(channel, &header, 0)), "recvmsg");
    int fd = -1;
    const cmsghdr* first = CMSG_FIRSTHDR(&header);
    if (first != nullptr) {
        std::memcpy(&fd, CMSG_DATA(first), sizeof fd);
    }
    return fd;
}

void passed_to_itself(Context& c) {
    const int fd = c.open();
    std::array<int, 2> channel{};
    check(::socketpair(AF_UNIX, SOCK_STREAM, 0, channel.data()), "socketpair");
    c.peer().run("send 6");
    c.receive(fd, 2);
    pass(channel[0], fd);
    const int copy = take(channel[1]);
    c.receive(copy, 8);
    ::close(fd);
    through(c, "the copy", copy);
    ::close(copy);
    c.say("peer got %s", c.peer().run("drain").c_str());
}

void passed_and_closed_on_the_way(Context& c) {
    const int fd = c.open();
    std::array<int, 2> channel{};
    check(::socketpair(AF_UNIX, SOCK_STREAM, 0, channel.data()), "socketpair");
    c.peer().run("send 6");
    pass(channel[0], fd);
    ::close(fd);
    const int copy = take(channel[1]);
    c.receive(copy, 8);
    through(c, "the copy", copy);
    pass(channel[0], copy);
    ::close(copy);
    ::close(channel[0]);
    ::close(channel[1]); // the descriptor in flight was the last one
    c.say("peer got %s", c.peer().run("drain").c_str());
}

void passed_behind_the_end(Context& c) {
    const int fd = c.open();
    std::array<int, 2> channel{};
    check(::socketpair(AF_UNIX, SOCK_STREAM, 0, channel.data()), "socketpair");
    c.peer().run("send 12; close");
    c.await(fd, POLLRDHUP);
    c.receive(fd, 2);
    pass(channel[0], fd);
    const int copy = take(channel[1]);
    c.receive(copy, 8);
    c.receive(fd, 8);
    c.receive(copy, 8);
}

constexpr std::array kCases = {
    Case{"duplicates",                   duplicates                  },
    Case{"share_what_was_received",      share_what_was_received     },
    Case{"share_flags_and_ends",         share_flags_and_ends        },
    Case{"onto_a_connection",            onto_a_connection           },
    Case{"connection_onto_another",      connection_onto_another     },
    Case{"onto_itself",                  onto_itself                 },
    Case{"range_closed",                 range_closed                },
    Case{"range_closed_to_the_end",      range_closed_to_the_end     },
    Case{"range_marked",                 range_marked                },
    Case{"passed_to_itself",             passed_to_itself            },
    Case{"passed_and_closed_on_the_way", passed_and_closed_on_the_way},
    Case{"passed_behind_the_end",        passed_behind_the_end       },
};

} // namespace

std::span<const Case> descriptor_cases() {
    return kCases;
}

} // namespace smcd::e2e
