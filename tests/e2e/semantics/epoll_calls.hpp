// epoll calls that must succeed, for the cases about sets. Room tests/e2e, no protocol section.
#pragma once

#include <sys/epoll.h>

#include <cstdint>

#include "tests/e2e/programs/net.hpp"

namespace smcd::e2e {

/// How long a case waits for what must come.
inline constexpr int kWaitMs = 8000;

[[nodiscard]] inline int new_set() {
    return check(::epoll_create1(0), "epoll_create1");
}

inline void change(int operation, int set, int fd, unsigned events, std::uint64_t data) {
    epoll_event event{};
    event.events = events;
    event.data.u64 = data;
    check(::epoll_ctl(set, operation, fd, &event), "epoll_ctl");
}

inline void add(int set, int fd, unsigned events, std::uint64_t data) {
    change(EPOLL_CTL_ADD, set, fd, events, data);
}

} // namespace smcd::e2e
