// Shim: the one object behind the interposed calls. Floor 4.
#pragma once

#include <atomic>
#include <memory>

#include "preload/epoll_registry.hpp"
#include "preload/fd_table.hpp"
#include "preload/real_calls.hpp"
#include "smcd/runtime/process.hpp"

namespace smcd::preload {

class Shim {
public:
    Shim(const RealCalls& real, Config config);
    Shim(const Shim&) = delete;
    Shim& operator=(const Shim&) = delete;

    const RealCalls& real;
    FdTable table;
    Process process;
    EpollRegistry epoll;

    /// Whether the calling code is a vfork child in its parent's memory: it must change nothing of ours.
    [[nodiscard]] bool in_vfork_child() const noexcept;
    /// Whether a call comes from our own progress thread: it goes straight to libc.
    [[nodiscard]] static bool internal() noexcept { return Progress::on_progress_thread(); }

    /// Follows a new TCP stream socket or connection under its number.
    void adopt(int fd, Socket* socket, bool active) noexcept;
    /// The number was closed or replaced: forgets it; the last number of a Socket ends its connection.
    /// Called before the real close, so that our last words still find the TCP connection.
    void forget(int fd, NumberGone how = NumberGone::closed);
    /// The same for a Socket's number that is another connection's from now on: each call finds one of the two.
    void replace(int fd, Socket& by);
    /// Sets or clears the "active" tag of all numbers that name the socket.
    void retag(const Socket& socket, bool active) noexcept;

    /// The next call on the socket takes it first (smcd/runtime/inheritance.hpp).
    void retag_inherited(const Socket& socket) noexcept;

    void after_fork_in_child() noexcept;

private:
    void forget_set(int fd, EpollSet& set);
    /// The number no longer names the socket.
    void take_number(int fd, Socket& socket, NumberGone how);

    std::atomic<int> pid_;
};

/// Behind shim(); shim.cpp alone writes it.
extern constinit std::atomic<Shim*> instance;

/// The process's Shim, or nullptr: disabled, secure execution, or start-up failed. One load once it exists.
[[nodiscard]] inline Shim* shim() noexcept {
    return instance.load(std::memory_order_acquire);
}

/// Makes the Shim at the first call; the same answer as shim() afterwards.
[[nodiscard]] Shim* shim_or_start() noexcept;

}  // namespace smcd::preload
