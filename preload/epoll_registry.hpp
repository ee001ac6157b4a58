// EpollRegistry: all epoll sets of the process, and the wait itself. Floor 4.
#pragma once

#include <signal.h>

#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "preload/epoll_set.hpp"

namespace smcd::preload {

/// Without a doorbell a wait looks at the rings this often.
inline constexpr std::uint64_t kDoorlessSliceNs = 2'000'000;

/// One thread's sleep over one or several sets; ends with the object.
class EpollSleep {
public:
    EpollSleep(const RealCalls& real, Process& process) noexcept : real_(real), process_(process) {}

    ~EpollSleep();
    EpollSleep(const EpollSleep&) = delete;
    EpollSleep& operator=(const EpollSleep&) = delete;

    /// As EpollSet::begin_sleep().
    bool begin(EpollSet& set);

    /// The doorbells to be watched beside the kernel sets: hands each to `watch`.
    template <typename Watch>
    void for_each_door(Watch&& watch) const {
        for (const EpollSet::Joined& joined : joined_) {
            if (joined.door_fd >= 0) {
                watch(joined.door_fd);
            }
        }
    }

private:
    const RealCalls& real_;
    Process& process_;
    std::vector<EpollSet::Joined> joined_;
};

/// The sets are type-stable. Connects sockets to the sets that they are registered in.
class EpollRegistry final : public PhaseObserver {
public:
    EpollRegistry(const RealCalls& real, Process& process) : real_(real), process_(process) {}

    EpollSet* acquire(int epfd);
    /// Called before the set's last descriptor is closed.
    void release(EpollSet& set);
    int control(EpollSet& set, int operation, int fd, Socket& socket, const epoll_event* event);
    int
    control_nested(EpollSet& set, int operation, int fd, EpollSet& inner, const epoll_event* event);
    void on_phase(Socket& socket) override;
    void on_inherited(Socket& socket) override;
    void on_recycled(Socket& socket);

    int wait(EpollSet& set,
             std::span<epoll_event> events,
             std::uint64_t deadline_ns,
             bool poll_only,
             const sigset_t* mask);
    /// Takes the steps that sockets of the set wait for: handshakes, returns to TCP by a relative.
    void step(EpollSet& set);

    void set_retag(void (*retag)(Socket&), void (*retag_inherited)(Socket&)) noexcept {
        retag_ = retag;
        retag_inherited_ = retag_inherited;
    }

    void before_fork();
    void after_fork(bool in_child);

private:
    /// What a wait was asked for.
    struct Request {
        std::span<epoll_event> events;
        std::uint64_t deadline_ns;
        bool poll_only;
        const sigset_t* mask;
    };

    int wait_all(EpollSet& set, const Request& request);
    int wait_kernel(EpollSet& set, const Request& request);
    int behind_doors(EpollSet& set, const Request& request);
    int look(EpollSet& set, const Request& request);
    int sleep(EpollSet& set, const Request& request);

    const RealCalls& real_;
    Process& process_;
    std::mutex mutex_;
    std::vector<EpollSet*> sets_;
    std::vector<EpollSet*> free_;
    void (*retag_)(Socket&) = nullptr;
    void (*retag_inherited_)(Socket&) = nullptr;
};

} // namespace smcd::preload
