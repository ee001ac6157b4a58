#include "preload/poll_wait.hpp"

#include <pthread.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

#include "preload/shim.hpp"
#include "smcd/base/clock.hpp"
#include "smcd/base/raw_syscall.hpp"
#include "smcd/runtime/handshake.hpp"
#include "smcd/runtime/own_peer.hpp"
#include "smcd/runtime/stream.hpp"

namespace smcd::preload {
namespace {

constexpr PollMask kAlways = POLLERR | POLLHUP | POLLNVAL;
constexpr int kOut = POLLOUT | POLLWRNORM | POLLWRBAND;
constexpr int kSetReady = POLLIN | POLLRDNORM;

/// The calling thread's doorbell for poll and select: taken at the first need, given back when the thread ends.
class ThreadDoor {
public:
    /// -1: none to be had.
    static int get(Process& process) noexcept {
        if (door_ >= 0 && pid_ == raw::getpid()) {
            return door_;
        }
        if (!process.ready_for_smc()) {
            return -1;
        }
        auto door = process.doorbells()->acquire();
        if (!door) {
            return -1;
        }
        door_ = static_cast<int>(*door);
        pid_ = raw::getpid();
        process_ = &process;
        ::pthread_once(&once_, [] { ::pthread_key_create(&key_, &ThreadDoor::give_back); });
        ::pthread_setspecific(key_, &door_);
        return door_;
    }

private:
    static void give_back(void* door) noexcept {
        auto* number = static_cast<int*>(door);
        if (*number >= 0 && process_ != nullptr && pid_ == raw::getpid()) {
            process_->doorbells()->release(static_cast<unsigned>(*number));
        }
        *number = -1;
    }

    static thread_local int door_;
    static thread_local int pid_;
    static Process* process_;
    static pthread_once_t once_;
    static pthread_key_t key_;
};

thread_local int ThreadDoor::door_ = -1;
thread_local int ThreadDoor::pid_ = 0;
Process* ThreadDoor::process_ = nullptr;
pthread_once_t ThreadDoor::once_ = PTHREAD_ONCE_INIT;
pthread_key_t ThreadDoor::key_ = 0;

/// The kernel's share of the array: our sockets masked out (fd -1); behind it the doorbells.
class KernelArray {
public:
    KernelArray(const Shim& shim, std::span<const pollfd> fds) {
        pollfd* data = inline_.data();
        if (fds.size() + 1 > inline_.size()) {
            heap_.resize(fds.size() + 1);
            data = heap_.data();
        }
        for (std::size_t i = 0; i < fds.size(); ++i) {
            data[i] = fds[i];
            data[i].revents = 0;
            if (shim.table.active(fds[i].fd) != nullptr) {
                data[i].fd = -1;
            } else if (fds[i].fd >= 0) {
                any_ = true;
            }
        }
        all_ = {data, fds.size()};
    }
    [[nodiscard]] std::span<pollfd> all() const noexcept { return all_; }
    void add_doorbell(int fd) {
        const std::size_t size = all_.size();
        if (heap_.empty() && size == inline_.size()) {
            heap_.assign(inline_.begin(), inline_.end());
        }
        if (!heap_.empty() && size == heap_.size()) {
            heap_.resize(size + 1);
        }
        all_ = {heap_.empty() ? inline_.data() : heap_.data(), size + 1};
        all_[size] = pollfd{fd, POLLIN, 0};
    }
    /// Makes the doorbells behind the first `count` entries silent again.
    void drain_doorbells(std::size_t count) const noexcept {
        for (const pollfd& doorbell : all_.subspan(count)) {
            if ((doorbell.revents & POLLIN) != 0) {
                std::uint64_t rings = 0;
                static_cast<void>(raw::read(doorbell.fd, &rings, sizeof(rings)));
            }
        }
    }
    [[nodiscard]] bool any() const noexcept { return any_; }
    /// Whether a socket has become, or ceased to be, ours since the array was made. To be asked after arming: a change of
    /// phase before that rang nobody.
    [[nodiscard]] bool outdated(const Shim& shim, std::span<const pollfd> fds) const noexcept {
        for (std::size_t i = 0; i < fds.size(); ++i) {
            const bool masked = all_[i].fd != fds[i].fd;
            if (masked != (shim.table.active(fds[i].fd) != nullptr)) {
                return true;
            }
        }
        return false;
    }

private:
    std::array<pollfd, 65> inline_;
    std::vector<pollfd> heap_;
    std::span<pollfd> all_;
    bool any_ = false;
};

/// Fills revents of a socket of ours, or of an epoll set with entries of ours. Whether there is something.
bool look_at(const Shim& shim, pollfd& entry, Socket* socket) {
    if (socket != nullptr) {
        const PollMask wanted = static_cast<PollMask>(entry.events) | kAlways;
        entry.revents = static_cast<short>(stream_poll(*socket, wanted) & wanted);
        return entry.revents != 0;
    }
    if (EpollSet* set = shim.table.set(entry.fd); set != nullptr) {
        entry.revents = set->any_ready() ? static_cast<short>(entry.events & kSetReady) : short{0};
        return entry.revents != 0;
    }
    return false;
}

/// The same for all; returns how many are ready.
int look(const Shim& shim, std::span<pollfd> fds) {
    int ready = 0;
    for (pollfd& entry : fds) {
        ready += look_at(shim, entry, shim.table.active(entry.fd)) ? 1 : 0;
    }
    return ready;
}

void arm(Shim& shim, std::span<const pollfd> fds, unsigned door) noexcept {
    for (const pollfd& entry : fds) {
        if (Socket* socket = shim.table.active(entry.fd); socket != nullptr) {
            const bool space = (entry.events & kOut) != 0;
            stream_arm(shim.process, *socket, door, !space || (entry.events & ~kOut) != 0, space);
        }
    }
}

/// Adds the kernel's results to the caller's array; returns how many descriptors are ready in all.
int merge(const Shim& shim, const KernelArray& kernel, std::span<pollfd> fds) {
    int ready = 0;
    for (std::size_t i = 0; i < fds.size(); ++i) {
        const pollfd& entry = kernel.all()[i];
        EpollSet* set = entry.fd < 0 ? nullptr : shim.table.set(entry.fd);
        if (set != nullptr) {
            // What the kernel sees may be a doorbell of ours.
            if (fds[i].revents == 0 && entry.revents != 0 &&
                ((entry.revents & ~kSetReady) != 0 || set->kernel_ready(shim.real))) {
                fds[i].revents = entry.revents;
            }
        } else if (entry.fd >= 0) {
            fds[i].revents = entry.revents;
        } else if (fds[i].fd < 0) {
            fds[i].revents = 0;
        }
        ready += fds[i].revents != 0 ? 1 : 0;
    }
    return ready;
}

/// Brings a connection forward that is not on the ring, or a set with such.
void step(Shim& shim, const pollfd& entry, Socket* socket) {
    if (socket != nullptr && !Socket::is_ours(socket->phase())) {
        shim.epoll.on_phase(*socket);  // a relative did it, and could tell only its own table and sets
    } else if (socket != nullptr) {
        handshake_advance(shim.process, *socket);
    } else if (EpollSet* set = shim.table.set(entry.fd); set != nullptr) {
        shim.epoll.step(*set);
    }
}

/// What one pass over the array has found.
struct Pass {
    int ready = 0;
    bool kernel = false; ///< some descriptors are the kernel's
};

/// Steps and looks. One pass without memory and system calls: where nobody else is in the array, and somebody is ready, it
/// is the whole call.
Pass pass_over(Shim& shim, std::span<pollfd> fds) {
    Pass pass;
    for (pollfd& entry : fds) {
        Socket* socket = shim.table.active(entry.fd);
        if (socket == nullptr || !socket->accelerated()) {
            step(shim, entry, socket);
            socket = shim.table.active(entry.fd);
        } else {
            shim.process.progress().ensure_watched(*socket);  // inherited: nobody here hears of its end yet
        }
        entry.revents = 0;
        pass.ready += look_at(shim, entry, socket) ? 1 : 0;
        pass.kernel = pass.kernel || (socket == nullptr && entry.fd >= 0);
    }
    return pass;
}

int sleep_until(Shim& shim,
                const KernelArray& kernel,
                std::uint64_t deadline_ns,
                const sigset_t* mask) noexcept {
    timespec limit{};
    timespec* timeout = nullptr;
    if (deadline_ns != kForever) {
        const std::uint64_t now = monotonic_ns();
        const std::uint64_t rest = now >= deadline_ns ? 0 : deadline_ns - now;
        limit.tv_sec = static_cast<time_t>(rest / kNsPerSecond);
        limit.tv_nsec = static_cast<long>(rest % kNsPerSecond);
        timeout = &limit;
    }
    return shim.real.ppoll(kernel.all().data(), kernel.all().size(), timeout, mask);
}

SpinPolicy& thread_spin() noexcept {
    static thread_local SpinPolicy policy;
    return policy;
}

/// Which kinds of ours are in the array.
class Watched {
public:
    Watched(const Shim& shim, std::span<const pollfd> fds) {
        for (const pollfd& entry : fds) {
            if (shim.table.active(entry.fd) != nullptr) {
                sockets_ = true;
            } else if (EpollSet* set = shim.table.set(entry.fd); set != nullptr) {
                sets_.push_back(set);
                connections_ = connections_ || set->has_connections();
            }
        }
    }
    [[nodiscard]] bool sockets() const noexcept { return sockets_; }
    /// Of any kind: sockets, or entries of sets.
    [[nodiscard]] bool connections() const noexcept { return sockets_ || connections_; }
    [[nodiscard]] const std::vector<EpollSet*>& sets() const noexcept { return sets_; }

private:
    bool sockets_ = false;
    bool connections_ = false;
    std::vector<EpollSet*> sets_;
};

struct Limit {
    std::uint64_t deadline_ns;
    const sigset_t* mask;
};

/// Arms everything, looks once more, sleeps. What ppoll() returned, or 0; the caller looks again.
int sleep_once(Shim& shim,
               KernelArray& kernel,
               std::span<pollfd> fds,
               const Watched& watched,
               const Limit& limit) {
    dev::DoorbellTable* doorbells = shim.process.doorbells();
    EpollSleep sleep(shim.real, shim.process);
    bool complete = true;
    for (EpollSet* set : watched.sets()) {
        complete = sleep.begin(*set) && complete;
    }
    sleep.for_each_door([&](int door_fd) { kernel.add_doorbell(door_fd); });
    int door = -1;
    if (watched.sockets()) {
        door = ThreadDoor::get(shim.process);
        doorbells = shim.process.doorbells();
        complete = complete && door >= 0;
    }
    if (door >= 0) {
        kernel.add_doorbell(doorbells->event_fd(static_cast<unsigned>(door)));
        arm(shim, fds, static_cast<unsigned>(door));
        doorbells->begin_sleep(static_cast<unsigned>(door));
        complete = complete && shim.process.progress().runs();
    }
    std::uint64_t until = limit.deadline_ns;
    if (!complete) {
        const std::uint64_t slice = monotonic_ns() + kDoorlessSliceNs;
        until = until == kForever ? slice : std::min(until, slice);
    }
    int n = 0;
    int saved = errno;
    if (look(shim, fds) == 0 && !kernel.outdated(shim, fds)) {
        n = sleep_until(shim, kernel, until, limit.mask);
        saved = errno;
    }
    if (door >= 0) {
        doorbells->end_sleep(static_cast<unsigned>(door));
    }
    kernel.drain_doorbells(fds.size());
    errno = saved;
    return n;
}

}  // namespace

bool poll_needs_us(const Shim& shim, int fd) noexcept {
    return shim.table.active(fd) != nullptr || shim.table.set(fd) != nullptr;
}

bool poll_needs_us(const Shim& shim, std::span<const pollfd> fds) noexcept {
    return std::any_of(fds.begin(), fds.end(), [&](const pollfd& entry) {
        return poll_needs_us(shim, entry.fd);
    });
}

int poll_wait(Shim& shim,
              std::span<pollfd> fds,
              std::uint64_t deadline_ns,
              bool poll_only,
              const sigset_t* mask) {
    bool expired = poll_only;
    for (;;) {
        const Pass pass = pass_over(shim, fds);
        int ready = pass.ready;
        if (ready > 0 && !pass.kernel) {
            return ready;
        }
        // Made anew each round: a socket may have become, or ceased to be, ours.
        KernelArray kernel(shim, fds);
        if (ready > 0 || expired || kernel.any()) {
            if (kernel.any()) {
                static const timespec kNow{};
                if (shim.real.ppoll(kernel.all().data(), fds.size(), &kNow, mask) < 0 && ready == 0) {
                    return -1;
                }
            }
            ready = merge(shim, kernel, fds);
            if (ready > 0 || expired) {
                return ready;
            }
        }
        const Watched watched(shim, fds);
        const auto any = [&] { return look(shim, fds) > 0 || kernel.outdated(shim, fds); };
        const std::uint64_t began = monotonic_ns();
        if (watched.connections() && thread_spin().spin(0, deadline_ns, any) == SpinPolicy::Outcome::hit) {
            continue;
        }
        const int n = sleep_once(shim, kernel, fds, watched, {deadline_ns, mask});
        const int saved = errno;
        for (EpollSet* set : watched.sets()) {
            set->pass_on(shim.process);
        }
        thread_spin().on_slept(monotonic_ns() - began);
        if (n < 0) {
            errno = saved;
            return -1;
        }
        expired = deadline_ns != kForever && monotonic_ns() >= deadline_ns;
    }
}

}  // namespace smcd::preload
