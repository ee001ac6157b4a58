// poll(), select() and the epoll family. Floor 4.
#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <vector>

#include "preload/calls/calls.hpp"
#include "preload/poll_wait.hpp"
#include "smcd/base/clock.hpp"
#include "smcd/runtime/handshake.hpp"

namespace smcd::preload::calls {
namespace {

/// A relative timeout as a deadline; nullptr: forever. poll_only: zero or less.
struct Deadline {
    std::uint64_t ns = kForever;
    bool poll_only = false;

    explicit Deadline(const timespec* timeout) noexcept {
        if (timeout == nullptr) {
            return;
        }
        const std::uint64_t rest = static_cast<std::uint64_t>(timeout->tv_sec) * kNsPerSecond +
                                   static_cast<std::uint64_t>(timeout->tv_nsec);
        poll_only = rest == 0;
        constexpr std::uint64_t kFar = 1'000'000'000ULL * kNsPerSecond;
        ns = monotonic_ns() + (rest > kFar ? kFar : rest);
    }
};

constexpr short kIn = POLLIN;
constexpr short kOut = POLLOUT;
constexpr short kExcept = POLLPRI;

bool is_set(int fd, const fd_set* set) noexcept {
    return set != nullptr && FD_ISSET(fd, set);
}

/// 64 numbers of a set at once; those from `count` on are not there.
std::uint64_t word_of(const fd_set* set, int first, int count) noexcept {
    static_assert(NFDBITS == 64);
    const std::uint64_t word = set == nullptr ? 0 : static_cast<std::uint64_t>(__FDS_BITS(set)[first / NFDBITS]);
    return count - first >= NFDBITS ? word : word & ((std::uint64_t{1} << static_cast<unsigned>(count - first)) - 1);
}

/// Calls f with each number that is in any of the sets, in order; ends when f returns false.
template <typename F>
void each_set(int count, const fd_set* in, const fd_set* out, const fd_set* except, F&& f) noexcept {
    for (int first = 0; first < count; first += NFDBITS) {
        std::uint64_t any = word_of(in, first, count) | word_of(out, first, count) | word_of(except, first, count);
        for (; any != 0; any &= any - 1) {
            if (!f(first + std::countr_zero(any))) {
                return;
            }
        }
    }
}

/// The sets as an array for poll(). Few enough need no memory.
class Array {
public:
    Array(int count, const fd_set* in, const fd_set* out, const fd_set* except) {
        each_set(count, in, out, except, [&](int fd) {
            const int events = (is_set(fd, in) ? kIn : 0) | (is_set(fd, out) ? kOut : 0) |
                               (is_set(fd, except) ? kExcept : 0);
            add({fd, static_cast<short>(events), 0});
            return true;
        });
    }

    [[nodiscard]] std::span<pollfd> all() noexcept {
        return heap_.empty() ? std::span<pollfd>(inline_).first(size_) : std::span<pollfd>(heap_);
    }

private:
    void add(const pollfd& entry) {
        if (size_ < inline_.size()) {
            inline_[size_++] = entry;
            return;
        }
        if (heap_.empty()) {
            heap_.assign(inline_.begin(), inline_.end());
        }
        heap_.push_back(entry);
    }

    std::array<pollfd, 64> inline_;
    std::size_t size_ = 0;
    std::vector<pollfd> heap_;
};

/// select()'s meaning of the poll bits. Returns the number of bits set, or -EBADF.
ssize_t to_sets(std::span<const pollfd> fds, int count, fd_set* in, fd_set* out, fd_set* except) noexcept {
    constexpr int kReadable = POLLIN | POLLRDNORM | POLLRDBAND | POLLHUP | POLLERR;
    constexpr int kWritable = POLLOUT | POLLWRNORM | POLLWRBAND | POLLERR;
    ssize_t bits = 0;
    for (fd_set* set : {in, out, except}) {
        if (set != nullptr && count % NFDBITS != 0) {
            // As the kernel, which writes back whole words.
            __FDS_BITS(set)[count / NFDBITS] &= (fd_mask{1} << static_cast<unsigned>(count % NFDBITS)) - 1;
        }
    }
    for (const pollfd& entry : fds) {
        if ((entry.revents & POLLNVAL) != 0) {
            return -EBADF;
        }
        const auto apply = [&](fd_set* set, short wanted, int mask) {
            if ((entry.events & wanted) == 0) {
                return;
            }
            if ((entry.revents & mask) != 0) {
                ++bits;
            } else {
                FD_CLR(entry.fd, set);
            }
        };
        apply(in, kIn, kReadable);
        apply(out, kOut, kWritable);
        apply(except, kExcept, POLLPRI);
    }
    return bits;
}

}  // namespace

ssize_t poll(Shim& shim, std::span<pollfd> fds, const timespec* timeout, const sigset_t* mask) {
    const Deadline deadline(timeout);
    return value_of(poll_wait(shim, fds, deadline.ns, deadline.poll_only, mask));
}

bool select_needs_us(
    const Shim& shim, int count, const fd_set* in, const fd_set* out, const fd_set* except) noexcept {
    bool found = false;
    each_set(std::min(count, shim.table.end()), in, out, except, [&](int fd) {
        found = poll_needs_us(shim, fd);
        return !found;
    });
    return found;
}

ssize_t select(Shim& shim,
               int count,
               fd_set* in,
               fd_set* out,
               fd_set* except,
               const timespec* timeout,
               const sigset_t* mask,
               timespec* left) {
    Array array(count, in, out, except);
    const std::span<pollfd> fds = array.all();
    const Deadline deadline(timeout);
    const ssize_t n = value_of(poll_wait(shim, fds, deadline.ns, deadline.poll_only, mask));
    if (left != nullptr && timeout != nullptr) {
        const std::uint64_t now = monotonic_ns();
        const std::uint64_t rest = now >= deadline.ns ? 0 : deadline.ns - now;
        left->tv_sec = static_cast<time_t>(rest / kNsPerSecond);
        left->tv_nsec = static_cast<long>(rest % kNsPerSecond);
    }
    return n < 0 ? n : to_sets(fds, count, in, out, except);
}

ssize_t epoll_ctl(Shim& shim, int epfd, int operation, int fd, epoll_event* event) {
    if (operation != EPOLL_CTL_DEL && shim.table.inherited(fd) && !Shim::internal()) {
        static_cast<void>(shim.table.active(fd));  // takes it
    }
    Socket* socket = shim.table.socket(fd);
    if (socket != nullptr && !Shim::internal()) {
        handshake_touch(shim.process, *socket);
    }
    EpollSet* set = shim.table.set(epfd);
    if (EpollSet* inner = shim.table.set(fd); inner != nullptr && set != nullptr && !Shim::internal()) {
        return shim.epoll.control_nested(*set, operation, fd, *inner, event);
    }
    if (socket == nullptr || Shim::internal()) {
        return value_of(shim.real.epoll_ctl(epfd, operation, fd, event));
    }
    if (set == nullptr) {
        // A set that we did not see being made (inherited, or received): ordinary until it meets a socket of ours.
        if (shim.table.active(fd) == nullptr) {
            return value_of(shim.real.epoll_ctl(epfd, operation, fd, event));
        }
        if (shim.real.epoll_ctl(epfd, EPOLL_CTL_DEL, fd, nullptr) != 0 && errno != ENOENT) {
            return -errno;  // not an epoll set at all
        }
        set = shim.epoll.acquire(epfd);
        shim.table.put_set(epfd, set);
    }
    return shim.epoll.control(*set, operation, fd, *socket, event);
}

ssize_t epoll_wait(Shim& shim,
                   int epfd,
                   std::span<epoll_event> events,
                   const timespec* timeout,
                   const sigset_t* mask) {
    EpollSet* set = shim.table.set(epfd);
    const Deadline deadline(timeout);
    return value_of(shim.epoll.wait(*set, events, deadline.ns, deadline.poll_only, mask));
}

}  // namespace smcd::preload::calls
