// Progress: one helper thread per process, started at the first accelerated (or hopeful) connection. Floor 3.
//
// It advances handshakes that no application thread is driving, ends those whose patience is over, notices dead peers by
// their TCP connection, and serves the devices. It sleeps whenever there is nothing of that: no tick.
// Boost.Asio runs its loop; the connections' descriptors sit in one epoll set of our own, which Asio watches, because
// they belong to the application and may be closed by it at any time.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>

#include "smcd/runtime/socket.hpp"

namespace smcd {

class Process;
class Socket;

class Progress {
public:
    explicit Progress(Process& process);
    ~Progress();
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    /// Ends the thread, for good. No other thread may use the object any more.
    void stop();

    /// Watches the socket's descriptor (edge-triggered, in and hang-up); starts the thread if needed. false: impossible, and
    /// then the connection must not be accelerated.
    bool watch(Socket& socket);
    /// watch() unless this process watches it already (inherited connections after fork()). Cheap. false: impossible.
    bool ensure_watched(Socket& socket) {
        // Relaxed: it says that the kernel watches the descriptor, and orders nothing else.
        return socket.watch_epoch.load(std::memory_order_relaxed) == epoch() || watch(socket);
    }
    /// Whether the thread was started. Where it could not be (the process lacks descriptors), nobody but the application's
    /// threads advances handshakes: they must not sleep for long.
    [[nodiscard]] bool runs() const noexcept { return runs_.load(std::memory_order_relaxed); }
    void unwatch(Socket& socket);
    /// Starts the thread if it does not run yet; false: there is none to be had. Thread: any.
    bool ensure_started();
    /// Makes the thread look at the socket's deadline when it is due.
    void arm_deadline(Socket& socket, std::uint64_t deadline_ns);
    /// Watches the poll_fd() of each device that has one by now.
    void watch_devices();
    /// Begins to look at the devices now and then (device_watch.hpp); starts the thread if needed.
    void look_after_devices();
    /// Looks soon at what is lost (device_loss.hpp). Thread: any, with locks of devices held.
    void look_at_losses();
    /// The same for connections that are held up (held_up.hpp).
    void look_after_held_up();

    /// Whether the calling thread is the progress thread: its calls are never treated as the application's.
    [[nodiscard]] static bool on_progress_thread() noexcept;

    /// The calling thread is the application's from now on.
    static void leave_progress_thread() noexcept;
    /// The main thread is about to end and leave the process to the others: the progress thread must not be the last
    /// one for ever (last_thread.hpp).
    void on_main_thread_exit();

    /// Changes with every thread that was started (fork); never 0.
    [[nodiscard]] std::uint32_t epoch() const noexcept { return epoch_.load(std::memory_order_acquire); }

    void before_fork();
    void after_fork_in_parent();
    void after_fork_in_child();

private:
    struct Impl;
    bool start();

    Process& process_;
    std::mutex start_mutex_;
    std::unique_ptr<Impl> impl_;         ///< under start_mutex_
    std::atomic<Impl*> started_{nullptr}; ///< the same, once it is whole
    std::atomic<std::uint32_t> epoch_{1};
    std::atomic<bool> runs_{false};
    bool main_thread_left_ = false; ///< under start_mutex_
};

}  // namespace smcd
