#include "tests/diff/known.hpp"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>

namespace smcd::diff {
namespace {

/// Whether TCP alone reports some events more, all of them EPOLLOUT and nothing else.
bool lacks_events_of_space(const Outcome& plain, const Outcome& other) {
    std::int32_t met = 0;
    for (std::int32_t i = 0; i < plain.extra_count; ++i) {
        const std::int64_t event = plain.extra[static_cast<std::size_t>(i)];
        if (met < other.extra_count && other.extra[static_cast<std::size_t>(met)] == event) {
            ++met;
        } else if (event != EPOLLOUT) {
            return false;
        }
    }
    return met == other.extra_count && plain.value > other.value &&
           plain.value - other.value == plain.extra_count - other.extra_count;
}

}  // namespace

Known known_outcome(const Op& op, const Outcome& plain, const Outcome& other, const Past& past) {
    if (op.verb == Verb::getopt &&
        option(static_cast<std::size_t>(op.args[0])).type == OptionType::tcp_state &&
        plain.value == 0 && other.value == 0) {
        return {"tcp_info", false};
    }
    if (op.verb == Verb::peername && plain.error == ENOTCONN && other.value == 0) {
        return {"names", false};
    }
    if (op.verb == Verb::unsent && plain.value == 0 && other.value == 0 &&
        (other.extra[0] == 0 || plain.extra[0] == 0 || past.left)) {
        return {"bytes_unsent", false};
    }
    if (op.verb == Verb::shutdown && past.substituted && plain.value == 0 &&
        other.error == ENOTCONN) {
        return {"end_of_a_substitute", false};
    }
    if (op.verb == Verb::epoll_wait && past.left && other.value > plain.value) {
        return {"edge_after_return", true};
    }
    if (op.verb == Verb::epoll_wait && past.closed_of_several && other.value < plain.value) {
        return {"closed_of_several", true};
    }
    if (op.verb == Verb::epoll_wait && past.outer_edge && other.value == plain.value + 1) {
        return {"outer_edge", true};
    }
    if (op.verb == Verb::epoll_wait && past.half_closed && lacks_events_of_space(plain, other)) {
        return {"edge_of_an_acknowledged_end", false};
    }
    return {};
}

bool lacks_reset(const View& plain, const View& other, const Past& past) {
    const int differ = plain.events ^ other.events;
    return past.substituted && plain.open && other.open && plain.unread == other.unread &&
           (plain.events & POLLERR) != 0 && (differ & ~(POLLERR | POLLHUP)) == 0;
}

bool leads_to_tcp(const Op& op) {
    switch (op.verb) {
    case Verb::to_tcp:
    case Verb::async:
    case Verb::dprintf:
    case Verb::pass:
    case Verb::disconnect:
    case Verb::exec:
        return true;
    case Verb::setopt: {
        const int number = option(static_cast<std::size_t>(op.args[0])).number;
        return number == SO_OOBINLINE;
    }
    default:
        return info(op.verb).kinds[1] == Kind::message_flags && (op.args[1] & MSG_OOB) != 0;
    }
}

} // namespace smcd::diff
