// Options, names and flags of a descriptor, and what leads a connection back to TCP. Room
// tests/diff, no protocol section.
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "tests/diff/actor.hpp"

namespace smcd::diff {
namespace {

constexpr int kSmcLevel = 286;
constexpr int kReturnOption = 0x0FE0;

int set_option(int fd, const OptionInfo& option, std::int64_t value) {
    switch (option.type) {
    case OptionType::linger: {
        const linger wish{value >= 0 ? 1 : 0, value >= 0 ? static_cast<int>(value) : 0};
        return ::setsockopt(fd, option.level, option.number, &wish, sizeof wish);
    }
    case OptionType::milliseconds: {
        const timeval wish{value / 1000, value % 1000 * 1000};
        return ::setsockopt(fd, option.level, option.number, &wish, sizeof wish);
    }
    case OptionType::number:
    case OptionType::tcp_state:
        break;
    }
    const int number = static_cast<int>(value);
    return ::setsockopt(fd, option.level, option.number, &number, sizeof number);
}

int get_option(int fd, const OptionInfo& option, Outcome& outcome) {
    switch (option.type) {
    case OptionType::linger: {
        linger value{};
        socklen_t length = sizeof value;
        const int rc = ::getsockopt(fd, option.level, option.number, &value, &length);
        outcome.add_extra(value.l_onoff);
        outcome.add_extra(value.l_linger);
        return rc;
    }
    case OptionType::milliseconds: {
        timeval value{};
        socklen_t length = sizeof value;
        const int rc = ::getsockopt(fd, option.level, option.number, &value, &length);
        outcome.add_extra(value.tv_sec * 1'000'000 + value.tv_usec);
        return rc;
    }
    case OptionType::tcp_state: {
        tcp_info value{};
        socklen_t length = sizeof value;
        const int rc = ::getsockopt(fd, option.level, option.number, &value, &length);
        outcome.add_extra(value.tcpi_state);
        return rc;
    }
    case OptionType::number:
        break;
    }
    int value = -1;
    socklen_t length = sizeof value;
    const int rc = ::getsockopt(fd, option.level, option.number, &value, &length);
    outcome.add_extra(value);
    outcome.add_extra(length);
    return rc;
}

int name_of(int fd, bool peer, Outcome& outcome) {
    sockaddr_storage name{};
    socklen_t length = sizeof name;
    auto* address = reinterpret_cast<sockaddr*>(&name);
    const int rc = peer ? ::getpeername(fd, address, &length) : ::getsockname(fd, address, &length);
    outcome.add_extra(length);
    outcome.add_extra(name.ss_family);
    return rc;
}

int number_of(int fd, unsigned long request, Outcome& outcome) {
    int value = -1;
    const int rc = ::ioctl(fd, request, &value);
    outcome.add_extra(value);
    return rc;
}

int set_flag(int fd, int flag, bool on) {
    const int flags = ::fcntl(fd, F_GETFL);
    return flags == -1 ? -1 : ::fcntl(fd, F_SETFL, on ? flags | flag : flags & ~flag);
}

/// Sends the descriptor to ourselves and goes on with what arrives.
int pass_to_itself(int& slot) {
    std::array<int, 2> pair{};
    if (::socketpair(AF_UNIX, SOCK_DGRAM, 0, pair.data()) != 0) {
        return -1;
    }
    char byte = 'p';
    iovec part{&byte, 1};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(head), &slot, sizeof slot);
    ssize_t rc = ::sendmsg(pair[0], &message, 0);
    if (rc == 1) {
        message.msg_controllen = control.size();
        rc = ::recvmsg(pair[1], &message, 0);
    }
    int arrived = -1;
    if (rc == 1) {
        std::memcpy(&arrived, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof arrived);
        ::close(slot);
        slot = arrived;
    }
    const int error = errno;
    ::close(pair[0]);
    ::close(pair[1]);
    errno = error;
    return rc == 1 ? 0 : -1;
}

int disconnect(int fd) {
    sockaddr nowhere{};
    nowhere.sa_family = AF_UNSPEC;
    return ::connect(fd, &nowhere, sizeof nowhere);
}

} // namespace

void run_options(State& state, const Op& op, Outcome& outcome) {
    const int fd = state.slots[op.slot];
    const OptionInfo& which = option(static_cast<std::size_t>(op.args[0]));
    int on = op.args[0] != 0 ? 1 : 0;
    switch (op.verb) {
    case Verb::setopt:
        outcome.value = set_option(fd, which, op.args[1]);
        break;
    case Verb::getopt:
        outcome.value = get_option(fd, which, outcome);
        break;
    case Verb::unread:
        outcome.value = number_of(fd, FIONREAD, outcome);
        break;
    case Verb::unsent:
        outcome.value = number_of(fd, SIOCOUTQ, outcome);
        break;
    case Verb::atmark:
        outcome.value = number_of(fd, SIOCATMARK, outcome);
        break;
    case Verb::nonblock:
        outcome.value = set_flag(fd, O_NONBLOCK, on != 0);
        break;
    case Verb::fionbio:
        outcome.value = ::ioctl(fd, FIONBIO, &on);
        break;
    case Verb::getfl:
        outcome.value = ::fcntl(fd, F_GETFL);
        break;
    case Verb::sockname:
    case Verb::peername:
        outcome.value = name_of(fd, op.verb == Verb::peername, outcome);
        break;
    default:
        outcome.value = -2;
        break;
    }
    outcome.error = outcome.value == -1 ? errno : 0;
}

void run_leaving(State& state, const Op& op, Outcome& outcome) {
    int& slot = state.slots[op.slot];
    const int yes = 1;
    switch (op.verb) {
    case Verb::to_tcp: // no option of TCP's: what it answers is not compared
        ::setsockopt(slot, kSmcLevel, kReturnOption, &yes, sizeof yes);
        return;
    case Verb::async:
        outcome.value = set_flag(slot, O_ASYNC, op.args[0] != 0);
        break;
    case Verb::dprintf:
        outcome.value = ::dprintf(slot, "%0*d", static_cast<int>(op.args[0]), 7);
        break;
    case Verb::pass:
        outcome.value = pass_to_itself(slot);
        break;
    case Verb::disconnect:
        outcome.value = disconnect(slot);
        break;
    default:
        outcome.value = -2;
        break;
    }
    outcome.error = outcome.value == -1 ? errno : 0;
}

} // namespace smcd::diff
