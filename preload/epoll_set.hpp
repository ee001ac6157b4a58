// EpollSet: the part of an application's epoll set that the kernel cannot know. Floor 4.
//
// The application's epoll descriptor stays a kernel epoll set and keeps all ordinary descriptors. A
// TCP socket that may become accelerated is known to both; while it is ours (connecting ...
// accelerated) its kernel entry is taken out and its readiness comes from the rings; when it
// returns to TCP the kernel entry comes back, with the application's own events and data. One
// doorbell per set, an eventfd in the kernel set, wakes waiters, and through the kernel those of
// outer sets.
//
// A set that a fork() has left to two processes is one kernel object for both. Then neither keeps
// its doorbell in it, where the other would take the event away: waiters poll the set and the
// doorbell side by side.
//
// Entries that were not ready for some looks are *cold*: their bells stay armed, and a signal bit
// says when one is to be looked at again (epoll_hot.cpp). So a wait costs what is going on, not
// what is registered.
//
// Locks: outer set before inner set; the registry's before any set's; runtime locks are taken
// inside of a set's.
#pragma once

#include <sys/epoll.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>
#include <vector>

#include "preload/real_calls.hpp"
#include "smcd/core/spin.hpp"
#include "smcd/runtime/process.hpp"

namespace smcd::preload {

class EpollSet {
public:
    static constexpr std::uint32_t kCold = ~0U;

    /// One registration of a descriptor that names a Socket.
    struct Entry {
        int fd = -1;
        Socket* socket = nullptr;
        std::uint32_t generation = 0;
        epoll_event interest{};
        bool in_kernel = false; ///< the kernel serves it at present
        bool disabled = false;  ///< EPOLLONESHOT has fired
        bool fresh = true;      ///< ADD or MOD since the last report: report what is there
        std::uint64_t seen_arrival = 0;
        std::uint32_t seen_ends = 0;
        std::uint32_t seen_stalls = 0;
        PollMask seen_mask = 0;
        std::uint32_t hot_at = kCold; ///< its place in hot_
        std::uint32_t idle_looks = 0; ///< looks in a row that found nothing
        std::uint32_t batch = 0;      ///< the collect() that last reported it
    };

    /// Another set registered in this one. The kernel serves it too, under a tag of ours instead of
    /// the application's data.
    struct Nested {
        int fd = -1;
        EpollSet* inner = nullptr;
        epoll_event interest{};
        bool disabled = false;
        bool reported = false; ///< in the batch at hand
        std::uint64_t seen_mark = 0;
    };

    /// A set that a thread sleeps on, outermost or inside.
    struct Joined {
        EpollSet* set;
        bool by_kernel; ///< only a doorbell in the kernel set can wake the thread
        int door_fd;    ///< the doorbell to be watched beside the kernel set; -1: it is in there
    };

    void open(int epfd, Process& process) noexcept;
    /// The last descriptor is about to be closed: gives the doorbell back.
    void close(const RealCalls& real, Process& process) noexcept;

    [[nodiscard]] int epfd() const noexcept { return epfd_.load(std::memory_order_relaxed); }

    /// Another descriptor of the set, when the one that we used is closed.
    void rename(int epfd) noexcept { epfd_.store(epfd, std::memory_order_relaxed); }

    std::atomic<std::uint32_t> references{1}; ///< descriptors of this process that name it

    /// epoll_ctl() on a descriptor that names `socket`, or another set. 0 or -errno.
    int control(const RealCalls& real,
                Process& process,
                int operation,
                int fd,
                Socket& socket,
                const epoll_event* event);
    int control_nested(const RealCalls& real,
                       Process& process,
                       int operation,
                       int fd,
                       EpollSet& inner,
                       const epoll_event* event);
    /// The socket's phase changed: moves its entries between the kernel and us, wakes waiters.
    void on_phase(const RealCalls& real, Process& process, Socket& socket);
    /// The socket was recycled: drops its entries.
    void drop(const Socket& socket);
    /// The set was closed: drops its registrations here, as the kernel does.
    void drop_nested(const EpollSet& inner);

    /// Whether there is anything here that the ordinary epoll_wait() would miss.
    [[nodiscard]] bool has_served() const noexcept {
        return served_count_.load(std::memory_order_seq_cst) != 0; // sync: set-served
    }

    [[nodiscard]] bool has_entries() const noexcept {
        return entry_count_.load(std::memory_order_acquire) != 0;
    }

    /// Whether spinning can see anything: connections of ours, here or in inner sets.
    [[nodiscard]] bool has_connections();
    /// Reports ready entries of ours; no system call. Level, edge and one-shot as registered. Inner
    /// sets stand under their tags: settle() follows.
    int collect(const RealCalls& real, std::span<epoll_event> events);
    /// What without_moved() compares; to be read before collect().
    [[nodiscard]] std::uint32_t moves() const noexcept {
        return moves_.load(std::memory_order_acquire);
    }
    /// Takes out of `collected`, the events of the last collect(), those whose entries have become the
    /// kernel's since moves() was `before`: it was asked after that, and tells of them itself. Returns
    /// how many are left.
    std::size_t without_moved(std::span<epoll_event> collected, std::uint32_t before);
    /// Whether collect() would report something.
    [[nodiscard]] bool any_ready();
    /// 0: nothing of ours is ready; otherwise a number that changes with every arrival.
    [[nodiscard]] std::uint64_t ready_mark();
    /// Whether the kernel's part has something to report, our own doorbell apart.
    [[nodiscard]] bool kernel_ready(const RealCalls& real);

    /// A socket whose phase asks for a step: a handshake under way, or a return to TCP by a
    /// relative.
    struct Unsettled {
        Socket* socket;
        std::uint32_t generation;
    };

    void unsettled(std::vector<Unsettled>& sockets);
    /// Finishes a batch, of which the last `collected` events are from collect() and the rest from
    /// the kernel: doorbells go, tags become the application's data. Returns the new count.
    int settle(const RealCalls& real, std::span<epoll_event> events, int collected, int count);

    /// Arms everything, here and in inner sets, so that a doorbell rings on any change; look at
    /// any_ready() afterwards. end_sleep() for each of `joined` must follow. false: no doorbell is
    /// to be had; wait in short slices.
    bool begin_sleep(const RealCalls& real, Process& process, std::vector<Joined>& joined);
    void end_sleep(const RealCalls& real, Process& process, bool by_kernel);
    /// After a wait: the thread may have taken a ring that was another's, or meant more than it
    /// reports. The others are armed again, and woken if something is due.
    void pass_on(Process& process);

    SpinPolicy spin;
    std::atomic<std::uint64_t> kernel_polled_ns{0};
    std::atomic<bool> kernel_turn{
        false}; ///< our entries filled the last array: the kernel's are next
    std::atomic<unsigned> kernel_waiters{
        0}; ///< threads that wait in the kernel alone, because has_served() was false

    void before_fork(const RealCalls& real) noexcept;
    void after_fork_in_parent() noexcept;
    void after_fork_in_child() noexcept;

private:
    // epoll_set.cpp, the caller holds mutex_ in all that follow
    Entry* find(int fd, const Socket& socket) noexcept;
    int add(const RealCalls& real, int fd, Socket& socket, const epoll_event& event);
    int control_ours(int operation, Entry& entry, const epoll_event* event);
    void erase(std::size_t position);
    void give_to_kernel(const RealCalls& real, Entry& entry);
    void publish() noexcept;
    // epoll_ready.cpp
    static PollMask due(Entry& entry) noexcept;
    static bool due(Nested& nested);
    bool translate(const RealCalls& real, epoll_event& event, bool collected);
    bool any_due();
    // epoll_hot.cpp
    void heat(std::size_t position);
    void chill(std::size_t position) noexcept;
    void heat_all();
    void heat_socket(const Socket& socket);
    bool take_signals();
    void refresh();
    void chill_idle(const RealCalls& real);
    // epoll_sleep.cpp
    bool ensure_doorbell(const RealCalls& real, Process& process);
    void arm(Process& process, Entry& entry) noexcept;
    void arm_hot(Process& process) noexcept;
    void ring(const RealCalls& real, Process& process);
    void give_back_ring(Process& process);
    bool enter_door(const RealCalls& real, int operation, std::uint32_t events) noexcept;
    void take_out_door(const RealCalls& real) noexcept;
    /// In a shared set: takes the doorbell out once nobody needs it there.
    void tidy_door(const RealCalls& real) noexcept;
    void drain_door() const noexcept;

    std::mutex mutex_;
    Process* process_ = nullptr;
    bool locked_for_fork_ = false;
    std::atomic<int> epfd_{-1};
    std::vector<Entry> entries_;
    std::unordered_multimap<const Socket*, std::size_t> by_socket_; ///< positions in entries_
    std::vector<std::size_t> hot_; ///< positions of the entries that are looked at in each wait
    bool idle_ = false;            ///< some of them may be put aside
    std::atomic<bool> heat_all_{false}; ///< fork() came: all of them are to be looked at
    std::vector<std::unique_ptr<Nested>> nested_;
    std::size_t ours_ = 0;                     ///< entries that the kernel does not serve
    std::atomic<std::size_t> served_count_{0}; ///< ours_ and inner sets
    std::atomic<std::size_t> entry_count_{0};
    std::atomic<std::size_t> inner_count_{0}; ///< of nested_
    std::atomic<std::uint32_t> moves_{0}; ///< entries that were given to the kernel
    std::uint32_t batch_ = 0;             ///< collect() so far
    std::size_t next_ = 0; ///< where the next collect() begins: behind the last one that filled its array
    int door_ = -1;
    int door_fd_ = -1;
    bool door_in_kernel_ = false;
    bool shared_ = false; ///< a relative may have the kernel set too
    std::atomic<unsigned> sleepers_{0};
    unsigned by_kernel_ = 0; ///< those of sleepers_ that began before the set was shared
};

} // namespace smcd::preload
