// EpollSet: the part of an application's epoll set that the kernel cannot know. Floor 4.
//
// The application's epoll descriptor stays a kernel epoll set and keeps all ordinary descriptors. A TCP socket that may
// become accelerated is known to both; while it is ours (connecting ... accelerated) its kernel entry is taken out and its
// readiness comes from the rings; when it returns to TCP the kernel entry comes back, with the application's own events and
// data. One doorbell per set, an eventfd in the kernel set, wakes waiters.
#pragma once

#include <signal.h>
#include <sys/epoll.h>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "preload/real_calls.hpp"
#include "smcd/core/spin.hpp"
#include "smcd/runtime/process.hpp"

namespace smcd::preload {

class EpollSet {
public:
    /// One registration of a descriptor that names a Socket.
    struct Entry {
        int fd = -1;
        Socket* socket = nullptr;
        std::uint32_t generation = 0;
        epoll_event interest{};
        bool in_kernel = false;     ///< the kernel serves it at present
        bool disabled = false;      ///< EPOLLONESHOT has fired
        bool fresh = true;          ///< ADD or MOD since the last report: report what is there
        std::uint64_t seen_arrival = 0;
        std::uint32_t seen_stalls = 0;
        PollMask seen_mask = 0;
    };

    void open(int epfd) noexcept;
    void close() noexcept;
    [[nodiscard]] bool is_open() const noexcept { return epfd_ >= 0; }
    [[nodiscard]] int epfd() const noexcept { return epfd_; }

    /// epoll_ctl() on a descriptor that names `socket`. 0 or -errno.
    int control(const RealCalls& real, int operation, int fd, Socket& socket, const epoll_event* event);
    /// The socket's phase changed: moves its entries between the kernel and us, wakes waiters.
    void on_phase(const RealCalls& real, Process& process, Socket& socket);
    /// The socket was recycled: drops its entries.
    void drop(const Socket& socket);

    /// Whether the ordinary epoll_wait() would miss something.
    [[nodiscard]] bool has_entries() const noexcept {
        return entry_count_.load(std::memory_order_acquire) != 0;
    }
    /// Reports ready entries of ours; no system call. Level, edge and one-shot as registered.
    int collect(std::span<epoll_event> events);
    /// Whether collect() would report something.
    [[nodiscard]] bool any_ready();
    /// Advances handshakes of sockets in the set.
    void drive(Process& process);

    /// Arms everything so that the doorbell rings on any change. false: no doorbell to be had; wait in short slices.
    bool begin_sleep(const RealCalls& real, Process& process);
    void end_sleep(Process& process);
    /// Removes our doorbell's event from a kernel result; returns the new count.
    int filter_doorbell(std::span<epoll_event> events, int count) const noexcept;
    void ring(Process& process) noexcept;

    SpinPolicy spin;
    std::atomic<std::uint64_t> kernel_polled_ns{0};

    void lock() { mutex_.lock(); }
    void unlock() { mutex_.unlock(); }
    void forget_doorbell_after_fork() noexcept;

private:
    Entry* find(int fd, const Socket& socket) noexcept;
    int add(const RealCalls& real, int fd, Socket& socket, const epoll_event& event);
    void erase(Entry& entry);
    PollMask due(Entry& entry) noexcept;
    bool ensure_doorbell(const RealCalls& real, Process& process);
    void arm(Process& process, Entry& entry) noexcept;

    std::mutex mutex_;
    int epfd_ = -1;
    std::vector<Entry> entries_;
    std::atomic<std::size_t> entry_count_{0};
    std::size_t next_ = 0; ///< fairness: where the next collect() begins
    int door_ = -1;
    unsigned sleepers_ = 0;
};

/// All sets of the process; type-stable. Connects sockets to the sets that they are registered in.
class EpollRegistry final : public PhaseObserver {
public:
    EpollRegistry(const RealCalls& real, Process& process) : real_(real), process_(process) {}

    EpollSet* acquire(int epfd);
    void release(EpollSet& set);
    int control(EpollSet& set, int operation, int fd, Socket& socket, const epoll_event* event);
    void on_phase(Socket& socket) override;
    void on_recycled(Socket& socket);

    int wait(EpollSet& set,
             std::span<epoll_event> events,
             std::uint64_t deadline_ns,
             bool poll_only,
             const sigset_t* mask);

    void set_retag(void (*retag)(Socket&)) noexcept { retag_ = retag; }
    void before_fork() { mutex_.lock(); }
    void after_fork(bool in_child);

private:
    int wait_kernel(EpollSet& set,
                    std::span<epoll_event> events,
                    std::uint64_t deadline_ns,
                    bool poll_only,
                    const sigset_t* mask);

    const RealCalls& real_;
    Process& process_;
    std::mutex mutex_;
    std::vector<EpollSet*> sets_;
    std::vector<EpollSet*> free_;
    void (*retag_)(Socket&) = nullptr;
};

}  // namespace smcd::preload
