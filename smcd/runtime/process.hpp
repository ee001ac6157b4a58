// Process: the composition root of one process; the only place that names concrete devices. Floor 3.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "devices/api/device.hpp"
#include "devices/api/doorbell.hpp"
#include "smcd/base/reason.hpp"
#include "smcd/core/conn_arena.hpp"
#include "smcd/runtime/config.hpp"
#include "smcd/runtime/devices.hpp"
#include "smcd/runtime/discovery.hpp"
#include "smcd/runtime/dmb_owners.hpp"
#include "smcd/runtime/local_signals.hpp"
#include "smcd/runtime/progress.hpp"
#include "smcd/runtime/sampling.hpp"
#include "smcd/runtime/short_lived.hpp"
#include "smcd/runtime/socket.hpp"
#include "smcd/runtime/statistics.hpp"

namespace smcd {

/// Told when a connection's phase changed or its readiness may have (from any thread); the shim's epoll layer.
class PhaseObserver {
public:
    PhaseObserver() = default;
    PhaseObserver(const PhaseObserver&) = delete;
    PhaseObserver& operator=(const PhaseObserver&) = delete;
    virtual ~PhaseObserver() = default;
    virtual void on_phase(Socket& socket) = 0;
    /// The next call on the socket takes it first (inheritance.hpp). Right after fork().
    virtual void on_inherited(Socket& socket) = 0;
};

class Process {
public:
    /// Never fails: what cannot be had (descriptors, memory) makes connections stay on TCP later.
    explicit Process(Config config);
    /// Ends the progress thread before anything goes that it may look at. Close the sockets first.
    ~Process();
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;

    [[nodiscard]] const Config& config() const noexcept { return config_; }
    [[nodiscard]] dev::DoorbellTable* doorbells() noexcept { return doorbells_.get(); }
    /// Our devices, in order of preference; empty before ready_for_smc().
    [[nodiscard]] const DeviceList& devices() const noexcept { return devices_; }
    /// The fabric of the configuration; looks for it when it is not there. nullptr: it is not, or none is configured.
    [[nodiscard]] dev::IvshmemDevice* fabric();
    [[nodiscard]] ConnArena& arena() noexcept { return arena_; }
    [[nodiscard]] Discovery& discovery() noexcept { return *discovery_; }
    [[nodiscard]] Progress& progress() noexcept { return *progress_; }
    [[nodiscard]] ShortLived& short_lived() noexcept { return short_lived_; }
    [[nodiscard]] Statistics& statistics() noexcept { return statistics_; }
    /// What signal bits mean: sockets by DMB, and by number those of events in this process.
    [[nodiscard]] DmbOwners& dmb_owners() noexcept { return dmb_owners_; }
    [[nodiscard]] LocalSignals& local_signals() noexcept { return local_signals_; }
    /// nullptr: there never was such a Socket. Thread: any, lock-free.
    [[nodiscard]] Socket* socket_at(std::uint32_t number) const noexcept {
        if (number >= kSocketsPerChunk * kSocketChunksMax) {
            return nullptr;
        }
        SocketChunk* chunk = chunk_index_[number / kSocketsPerChunk].load(std::memory_order_acquire);
        return chunk == nullptr ? nullptr : &(*chunk)[number % kSocketsPerChunk];
    }
    /// Makes doorbells and devices at the first need. false: they cannot be had.
    [[nodiscard]] bool ready_for_smc();

    /// A Socket for a TCP socket, a candidate for one that socket() has just made; never nullptr.
    Socket* acquire_socket(int fd, SocketKind kind);
    /// No descriptor names the Socket any more: ends it, unless calls sleep on it; then the last of them does.
    void release_socket(Socket& socket, NumberGone how = NumberGone::closed);
    /// Closes the connection towards the peer and recycles the Socket. Only for who took that right (sleep_guard.hpp).
    void end_socket(Socket& socket);
    /// Gives the socket a block in the given phase. false: no memory; the socket stays on TCP.
    bool make_connection(Socket& socket, Role role, Phase phase);
    /// For how many connections that stay on TCP the next one stands in `smcu ss` and in the bytes counted; 0: for none, see
    /// pass_by(). Thread: any.
    [[nodiscard]] std::uint32_t tcp_weight() noexcept;
    /// The connection is TCP's, without a block; its verdict is counted. Thread: the application's.
    void pass_by(Socket& socket, Reason reason);
    /// Makes sure that the block of a connection has its inode: its number is about to change, or a relative to hold it.
    /// On TCP from the start none is looked up before that: who opens and closes many in a row would pay for it.
    /// Thread: under the lifecycle mutex, or who made the connection.
    static void note_inode(Socket& socket) noexcept;

    /// Counts and logs it; before the phase, since who sees that may end the process at once.
    void note_verdict(const Socket& socket, Phase phase, Reason reason) noexcept;
    /// Moves to a new phase, wakes all local waiters, tells the observer. Not to smc (establish.cpp).
    void set_phase(Socket& socket, Phase phase, Reason reason);
    /// Behind a change of phase, for callers that change it under a lock of their own: what else depends on it follows.
    void on_new_phase(Socket& socket);
    /// Wakes everybody in this process who waits on the socket for any reason.
    void wake_local(Socket& socket);
    /// Releases memory and registrations of an accelerated connection; notifies the peer if we were the last holder.
    void drop_handshake_dmb(Socket& socket);
    void tear_down(Socket& socket);
    /// As new, and free for the next.
    void recycle(Socket& socket);

    /// Another process that shares the connection (fork) has brought it to TCP: stops serving it here too. Idempotent.
    void follow_relative(Socket& socket);

    /// The socket's own profile, else the process's.
    [[nodiscard]] const Profile& profile_of(const Socket& socket) const noexcept;
    /// From now on the socket waits in this way; a listener hands it on to what it accepts. Thread: any. May block for
    /// the pinning of memory.
    void set_profile(Socket& socket, const Profile& profile) noexcept;
    /// Pins the memory of an accelerated connection, once, if its profile says so.
    void pin_if_wanted(Socket& socket) noexcept;

    /// A system call filter is about to forbid what acceleration needs: new connections stay on TCP from now on.
    void enter_sandbox() noexcept { sandboxed_.store(true, std::memory_order_relaxed); }
    [[nodiscard]] bool sandboxed() const noexcept { return sandboxed_.load(std::memory_order_relaxed); }

    void set_observer(PhaseObserver* observer) noexcept { observer_ = observer; }

    /// Ends the holds of relatives that have ended; looks for such at most every 10 ms. For waiting sets, which cannot put
    /// connections aside that others change. Thread: any; not with the registry of sockets locked.
    void forget_ended_relatives();
    /// Waiting bytes go out before the memory that holds them does, and relatives no longer count on us.
    void before_exec();
    void after_failed_exec();
    void before_fork();
    void after_fork_in_parent();
    void after_fork_in_child();
    /// The path of the statistics file and /proc are about to go out of reach.
    void before_chroot();
    /// Last steps of the process: waiting bytes go out, the statistics line is written. Bounded in time; idempotent.
    void at_exit();

    /// Held by the progress thread while it works on a socket, and by whoever recycles one.
    [[nodiscard]] std::mutex& lifecycle_mutex() noexcept { return lifecycle_mutex_; }

    /// Calls f for every live Socket (any kind). Progress thread, fork and exit.
    template <typename F>
    void for_each_socket(F&& f) {
        const std::lock_guard guard(sockets_mutex_);
        each_socket(std::forward<F>(f));
    }
    /// Nothing where somebody holds the table: another thread, or the call that a signal handler has interrupted.
    template <typename F>
    void try_each_socket(F&& f) {
        if (const std::unique_lock guard(sockets_mutex_, std::try_to_lock); guard.owns_lock()) {
            each_socket(std::forward<F>(f));
        }
    }

private:
    template <typename F>
    void each_socket(F&& f) {
        for (const auto& chunk : socket_chunks_) {
            for (Socket& socket : *chunk) {
                if (socket.kind.load(std::memory_order_acquire) != SocketKind::free) {
                    f(socket);
                }
            }
        }
    }
    void settle_handshakes();
    void mark_inherited();
    void forget_threads();
    template <typename F>
    void for_each_connection(F&& f);
    void learn_from(const Socket& socket);
    [[nodiscard]] UniqueFd open_stats_file() const noexcept;

    /// How long exit and exec may wait for a client's Confirm, so that bytes already sent are delivered.
    static constexpr std::uint64_t kExitLimitNs = 1'000'000'000;
    static constexpr std::size_t kSocketsPerChunk = 64;
    static constexpr std::size_t kSocketChunksMax = LocalSignals::kCapacity / kSocketsPerChunk;
    using SocketChunk = std::array<Socket, kSocketsPerChunk>;

    Config config_;
    std::mutex setup_mutex_;
    std::unique_ptr<dev::DoorbellTable> doorbells_;
    DeviceList devices_; ///< changed under the lock
    ConnArena arena_;
    std::unique_ptr<Discovery> discovery_;
    std::unique_ptr<Progress> progress_;
    Statistics statistics_;
    Sampling tcp_openings_; ///< which of them are followed
    DmbOwners dmb_owners_;
    LocalSignals local_signals_;
    ShortLived short_lived_;
    std::atomic<PhaseObserver*> observer_{nullptr};
    std::mutex lifecycle_mutex_;
    std::mutex sockets_mutex_;
    std::vector<std::unique_ptr<SocketChunk>> socket_chunks_;
    std::array<std::atomic<SocketChunk*>, kSocketChunksMax> chunk_index_{}; ///< of the same
    std::vector<Socket*> free_sockets_;
    std::vector<Socket*> inherited_; ///< between before_fork() and what follows it
    std::atomic<bool> sandboxed_{false};
    std::atomic<bool> exited_{false};
    UniqueFd stats_file_; ///< open since before a chroot()
    std::atomic<std::uint64_t> next_relatives_ns_{0};
};

}  // namespace smcd
