// Semantics: the flags of send and recv, several messages in one call, urgent data.
// Room tests/e2e, no protocol section.
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
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

int readable_bytes(int fd) {
    int count = -1;
    check(::ioctl(fd, FIONREAD, &count), "FIONREAD");
    return count;
}

void peek(Context& c) {
    const int fd = c.open();
    c.peer().run("send 6");
    c.await(fd, POLLIN);
    c.receive(fd, 3, MSG_PEEK);
    c.receive(fd, 20, MSG_PEEK);
    c.say("readable %d", readable_bytes(fd));
    c.receive(fd, 2);
    c.receive(fd, 20, MSG_PEEK);
    c.receive(fd, 20);
    c.receive(fd, 20, MSG_PEEK | MSG_DONTWAIT);
    c.peer().run("close");
    c.await(fd, POLLIN);
    c.receive(fd, 20, MSG_PEEK);
    c.receive(fd, 20);
}

void peek_waits(Context& c) {
    const int fd = c.open();
    c.peer().post(Context::when_asleep() + "send 3");
    c.receive(fd, 8, MSG_PEEK);
    c.peer().reply();
    c.receive(fd, 8);
}

void wait_all(Context& c) {
    const int fd = c.open();
    c.peer().post("send 3; " + Context::when_asleep() + "send 4");
    c.receive(fd, 7, MSG_WAITALL);
    c.peer().reply();
    c.peer().post("send 2; " + Context::when_asleep() + "close");
    c.receive(fd, 10, MSG_WAITALL);
    c.peer().reply();
    c.receive(fd, 10, MSG_WAITALL);
}

void wait_all_and_dont_wait(Context& c) {
    const int fd = c.open();
    c.peer().run("send 3");
    c.await(fd, POLLIN);
    c.receive(fd, 7, MSG_WAITALL | MSG_DONTWAIT);
    c.receive(fd, 7, MSG_WAITALL | MSG_DONTWAIT);
}

void wait_all_and_peek(Context& c) {
    const int fd = c.open();
    c.peer().post("send 3; " + Context::when_asleep() + "send 3");
    c.receive(fd, 6, MSG_WAITALL | MSG_PEEK);
    c.peer().reply();
    c.receive(fd, 6);
}

void wait_all_vectors(Context& c) {
    const int fd = c.open();
    std::array<char, 10> buffer{};
    std::array<iovec, 2> pieces = {
        iovec{buffer.data(),     2},
        iovec{buffer.data() + 2, 6}
    };
    msghdr header{};
    header.msg_iov = pieces.data();
    header.msg_iovlen = 2;
    c.peer().post("send 3; " + Context::when_asleep() + "send 5");
    c.result("recvmsg", ::recvmsg(fd, &header, MSG_WAITALL));
    c.say("'%s'", buffer.data());
    c.peer().reply();
}

void truncate_drops(Context& c) {
    const int fd = c.open();
    c.peer().run("send 9");
    c.await(fd, POLLIN);
    std::array<char, 16> buffer{};
    buffer.fill('.');
    c.result("recv trunc", ::recv(fd, buffer.data(), 4, MSG_TRUNC));
    c.say("untouched: %d", buffer[0] == '.' ? 1 : 0);
    c.result("recv trunc to nowhere", ::recv(fd, nullptr, 2, MSG_TRUNC));
    c.result("peek trunc", ::recv(fd, buffer.data(), 16, MSG_TRUNC | MSG_PEEK));
    c.receive(fd, 16);
}

void no_signal(Context& c) {
    const int fd = c.open();
    ::shutdown(fd, SHUT_WR);
    c.result("send", ::send(fd, "x", 1, MSG_NOSIGNAL));
    c.say("SIGPIPE %d", take_sigpipes());
    c.result("send", ::send(fd, "x", 1, 0));
    c.say("SIGPIPE %d", take_sigpipes());
    c.result("write", ::write(fd, "x", 1));
    c.say("SIGPIPE %d", take_sigpipes());
    iovec piece{const_cast<char*>("x"), 1};
    msghdr header{};
    header.msg_iov = &piece;
    header.msg_iovlen = 1;
    c.result("sendmsg", ::sendmsg(fd, &header, MSG_NOSIGNAL));
    c.say("SIGPIPE %d", take_sigpipes());
}

void harmless_send_flags(Context& c) {
    const int fd = c.open();
    c.result("more", ::send(fd, "a", 1, MSG_MORE));
    c.result("eor", ::send(fd, "b", 1, MSG_EOR));
    c.result("dontroute", ::send(fd, "c", 1, MSG_DONTROUTE));
    c.result("confirm", ::send(fd, "d", 1, MSG_CONFIRM));
    c.result("dontwait", ::send(fd, "e", 1, MSG_DONTWAIT));
    c.say("peer got %s", c.peer().run("recv 5").c_str());
    c.result("more", ::send(fd, "fg", 2, MSG_MORE));
    c.say("peer got %s", c.peer().run("recv 2").c_str());
}

void receive_flags(Context& c) {
    const int fd = c.open();
    std::array<char, 8> buffer{};
    c.result("errqueue", ::recv(fd, buffer.data(), 8, MSG_ERRQUEUE));
    c.result("oob of nothing", ::recv(fd, buffer.data(), 8, MSG_OOB));
    c.peer().run("send 4");
    c.await(fd, POLLIN);
    c.result("errqueue", ::recv(fd, buffer.data(), 8, MSG_ERRQUEUE));
    c.result("oob", ::recv(fd, buffer.data(), 8, MSG_OOB));
    c.receive(fd, 1, MSG_CMSG_CLOEXEC);
    c.receive(fd, 8, MSG_NOSIGNAL);
}

void several_messages(Context& c) {
    const int fd = c.open();
    std::array<char, 16> buffer{};
    std::array<iovec, 3> pieces = {
        iovec{buffer.data(),     4},
        iovec{buffer.data() + 4, 4},
        iovec{buffer.data() + 8, 4}
    };
    std::array<mmsghdr, 3> messages{};
    for (std::size_t i = 0; i < 3; ++i) {
        messages[i].msg_hdr.msg_iov = &pieces[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    c.peer().run("send 6");
    c.await(fd, POLLIN);
    c.result("recvmmsg", ::recvmmsg(fd, messages.data(), 3, MSG_DONTWAIT, nullptr));
    c.say("lengths %u %u '%s'", messages[0].msg_len, messages[1].msg_len, buffer.data());
    c.result("recvmmsg of nothing", ::recvmmsg(fd, messages.data(), 3, MSG_DONTWAIT, nullptr));
    c.peer().run("send 3");
    c.await(fd, POLLIN);
    c.result("wait for one", ::recvmmsg(fd, messages.data(), 3, MSG_WAITFORONE, nullptr));
    pieces[0] = {const_cast<char*>("one"), 3};
    pieces[1] = {const_cast<char*>("two"), 3};
    c.result("sendmmsg", ::sendmmsg(fd, messages.data(), 2, 0));
    c.say("lengths %u %u", messages[0].msg_len, messages[1].msg_len);
    c.say("peer got %s", c.peer().run("recv 6").c_str());
    c.result("sendmmsg of none", ::sendmmsg(fd, messages.data(), 0, 0));
}

void control_messages(Context& c) {
    const int fd = c.open();
    iovec piece{const_cast<char*>("c"), 1};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    msghdr header{};
    header.msg_iov = &piece;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    cmsghdr* first = CMSG_FIRSTHDR(&header);
    first->cmsg_len = CMSG_LEN(sizeof(int));
    first->cmsg_level = SOL_SOCKET;
    first->cmsg_type = 9999;
    c.result("unknown control message", ::sendmsg(fd, &header, 0));
    first->cmsg_level = SOL_IP;
    c.result("control message of another level", ::sendmsg(fd, &header, 0));
    ::shutdown(fd, SHUT_WR);
    c.say("peer got %s", c.peer().run("drain").c_str());
}

void urgent_byte_from_the_peer(Context& c) {
    const int fd = c.open();
    c.peer().run("send 3; oob !; send 2");
    c.await(fd, POLLPRI);
    c.poll_now("urgent", fd);
    int mark = -1;
    check(::ioctl(fd, SIOCATMARK, &mark), "SIOCATMARK");
    c.say("at mark %d", mark);
    c.receive(fd, 1, MSG_OOB);
    c.receive(fd, 1, MSG_OOB);
    c.receive(fd, 10);
    check(::ioctl(fd, SIOCATMARK, &mark), "SIOCATMARK");
    c.say("at mark %d", mark);
    c.receive(fd, 10);
}

void urgent_byte_to_the_peer(Context& c) {
    const int fd = c.open();
    c.result("send", ::send(fd, "ab", 2, 0));
    c.result("send oob", ::send(fd, "!", 1, MSG_OOB));
    c.result("send", ::send(fd, "cd", 2, 0));
    ::shutdown(fd, SHUT_WR);
    c.say("peer got %s", c.peer().run("drain").c_str());
}

constexpr std::array kCases = {
    Case{"peek",                      peek                     },
    Case{"peek_waits",                peek_waits               },
    Case{"wait_all",                  wait_all                 },
    Case{"wait_all_and_dont_wait",    wait_all_and_dont_wait   },
    Case{"wait_all_and_peek",         wait_all_and_peek        },
    Case{"wait_all_vectors",          wait_all_vectors         },
    Case{"truncate_drops",            truncate_drops           },
    Case{"no_signal",                 no_signal                },
    Case{"harmless_send_flags",       harmless_send_flags      },
    Case{"receive_flags",             receive_flags            },
    Case{"several_messages",          several_messages         },
    Case{"control_messages",          control_messages         },
    Case{"urgent_byte_from_the_peer", urgent_byte_from_the_peer},
    Case{"urgent_byte_to_the_peer",   urgent_byte_to_the_peer  },
};

} // namespace

std::span<const Case> flag_cases() {
    return kCases;
}

} // namespace smcd::e2e
