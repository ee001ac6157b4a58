// Talking to a child process of a test. Floor 4.
#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include <array>

#include "smcd/base/unique_fd.hpp"
#include "tests/devices/support.hpp"

namespace smcd::dev::test {

/// A two-way line between parent and child: made before fork(), each side keeps its own end.
class Line {
public:
    Line() {
        std::array<int, 2> ends{};
        if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) == 0) {
            ends_[0] = UniqueFd(ends[0]);
            ends_[1] = UniqueFd(ends[1]);
        }
    }

    void be_parent() { ends_[1].reset(); }

    void be_child() { ends_[0] = std::move(ends_[1]); }

    template <typename T>
    bool tell(const T& value) {
        return ::send(ends_[0].get(), &value, sizeof(value), MSG_NOSIGNAL) == sizeof(value);
    }

    /// A default value when the other side is gone or the watchdog ended.
    template <typename T>
    T hear() {
        T value{};
        if (!readable(ends_[0].get()) ||
            ::recv(ends_[0].get(), &value, sizeof(value), 0) != sizeof(value)) {
            return T{};
        }
        return value;
    }

private:
    std::array<UniqueFd, 2> ends_;
};

/// What a child asserts: the line of the first condition that does not hold becomes its exit
/// status.
#define SMCD_CHILD_REQUIRE(condition)                                                              \
    if (!(condition)) {                                                                            \
        std::fprintf(stderr, "child: line %d: %s\n", __LINE__, #condition);                        \
        return 1;                                                                                  \
    }

} // namespace smcd::dev::test
