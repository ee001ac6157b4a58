// Readiness as a process under test sees it. Room tests/diff, no protocol section.
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

#include "tests/diff/actor.hpp"

namespace smcd::diff {
namespace {

constexpr short kAll = POLLIN | POLLPRI | POLLOUT | POLLRDHUP;
constexpr std::int64_t kSetTag = 100; ///< an inner set's data: 100 and its number

int poll_one(int fd, const Op& op, Outcome& outcome) {
    pollfd item{fd, static_cast<short>(op.args[0]), 0};
    const auto timeout_ms = static_cast<int>(op.args[1]);
    int rc = 0;
    if (op.verb == Verb::poll) {
        rc = ::poll(&item, 1, timeout_ms);
    } else {
        const timespec limit{timeout_ms / 1000, timeout_ms % 1000 * 1'000'000L};
        rc = ::ppoll(&item, 1, &limit, nullptr);
    }
    outcome.add_extra(item.revents);
    return rc;
}

int poll_all(const State& state, const Op& op, Outcome& outcome) {
    std::array<pollfd, kSlots> items{};
    for (std::size_t i = 0; i < items.size(); ++i) {
        items[i] = {state.slots[i], static_cast<short>(op.args[0]), 0};
    }
    const int rc = ::poll(items.data(), items.size(), 0);
    for (const pollfd& item : items) {
        outcome.add_extra(item.revents);
    }
    return rc;
}

/// In three sets: bit 0 readable, 1 writable, 2 exceptional; those that `args[0]` asks for.
int select_all(const State& state, const Op& op, Outcome& outcome) {
    std::array<fd_set, 3> sets{};
    for (fd_set& set : sets) {
        FD_ZERO(&set);
    }
    const std::array<bool, 3> wanted{
        (op.args[0] & POLLIN) != 0, (op.args[0] & POLLOUT) != 0, (op.args[0] & POLLPRI) != 0};
    int top = -1;
    for (const int fd : state.slots) {
        for (std::size_t i = 0; i < sets.size() && fd >= 0 && fd < FD_SETSIZE; ++i) {
            if (wanted[i]) {
                FD_SET(fd, &sets[i]);
                top = std::max(top, fd);
            }
        }
    }
    timeval now{};
    const int rc = ::select(top + 1, sets.data(), &sets[1], &sets[2], &now);
    for (const int fd : state.slots) {
        std::int64_t bits = 0;
        for (std::size_t i = 0; i < sets.size() && fd >= 0 && fd < FD_SETSIZE; ++i) {
            bits |= FD_ISSET(fd, &sets[i]) ? std::int64_t{1} << i : 0;
        }
        outcome.add_extra(bits);
    }
    return rc;
}

int control(const State& state, const Op& op) {
    epoll_event event{};
    event.events = static_cast<std::uint32_t>(op.args[2]);
    const int set = state.sets[static_cast<std::size_t>(op.args[0]) % kSets];
    if (op.verb == Verb::epoll_nest) {
        const auto inner = static_cast<std::size_t>(op.args[1]) % kSets;
        event.data.u64 = static_cast<std::uint64_t>(kSetTag) + inner;
        return ::epoll_ctl(set, EPOLL_CTL_ADD, state.sets[inner], &event);
    }
    event.data.u64 = op.slot;
    return ::epoll_ctl(set, static_cast<int>(op.args[1]), state.slots[op.slot], &event);
}

int wait(const State& state, const Op& op, Outcome& outcome) {
    std::array<epoll_event, kExtras> events{};
    const int rc = ::epoll_wait(state.sets[static_cast<std::size_t>(op.args[0]) % kSets],
                                events.data(),
                                static_cast<int>(events.size()),
                                static_cast<int>(op.args[1]));
    const int error = errno;
    for (int i = 0; i < rc; ++i) {
        const epoll_event& event = events[static_cast<std::size_t>(i)];
        outcome.add_extra(static_cast<std::int64_t>(event.data.u64 << 32U | event.events));
    }
    // The order among ready descriptors is nobody's promise.
    std::sort(outcome.extra.begin(), outcome.extra.begin() + outcome.extra_count);
    errno = error;
    return rc;
}

int new_set(int& set) {
    if (set >= 0) {
        ::close(set);
    }
    set = ::epoll_create1(EPOLL_CLOEXEC);
    return set >= 0 ? 0 : -1;
}

} // namespace

void run_readiness(State& state, const Op& op, Outcome& outcome) {
    switch (op.verb) {
    case Verb::poll:
    case Verb::ppoll:
        outcome.value = poll_one(state.slots[op.slot], op, outcome);
        break;
    case Verb::poll_all:
        outcome.value = poll_all(state, op, outcome);
        break;
    case Verb::select:
        outcome.value = select_all(state, op, outcome);
        break;
    case Verb::epoll_new:
        outcome.value = new_set(state.sets[static_cast<std::size_t>(op.args[0]) % kSets]);
        break;
    case Verb::epoll_ctl:
    case Verb::epoll_nest:
        outcome.value = control(state, op);
        break;
    case Verb::epoll_wait:
        outcome.value = wait(state, op, outcome);
        break;
    default:
        outcome.value = -2;
        break;
    }
    outcome.error = outcome.value == -1 ? errno : 0;
}

std::array<View, kSlots> look(const State& state) {
    std::array<View, kSlots> views{};
    std::array<pollfd, kSlots> items{};
    for (std::size_t i = 0; i < items.size(); ++i) {
        items[i] = {state.slots[i], kAll, 0};
    }
    ::poll(items.data(), items.size(), 0);
    for (std::size_t i = 0; i < items.size(); ++i) {
        if (state.slots[i] >= 0) {
            int unread = 0;
            if (::ioctl(state.slots[i], FIONREAD, &unread) != 0) {
                unread = -errno;
            }
            views[i] = {true, static_cast<std::uint16_t>(items[i].revents), unread};
        }
    }
    return views;
}

} // namespace smcd::diff
