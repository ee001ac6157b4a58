// SleepGuard: a call that sleeps on a connection holds it, as a call inside the kernel holds its file. Floor 3.
//
// close() and dup2() over the descriptor of a connection that another thread sleeps on only take the number away: the
// sleeper goes on, gets what the peer sends, and the peer sees the end when the last sleeper has left. Calls that do not
// sleep need no guard: Process::tear_down() takes both direction locks, and a path finds its channel closed behind them.
#pragma once

#include <atomic>
#include <cstdint>

#include "smcd/core/waiting.hpp"

namespace smcd {

class Process;
class Socket;

/// A hold by hand. false: the connection was closed before.
[[nodiscard]] bool hold_open(Socket& socket) noexcept;
/// The last one to let go of a closed connection ends it; not under Process::lifecycle_mutex().
void let_go(Process& process, Socket& socket) noexcept;

/// The application's number of the connection goes in a moment: it lives on behind one of ours. false: there is none. Thread:
/// the closing one.
[[nodiscard]] bool keep_open(Process& process, Socket& socket) noexcept;

/// One call's hold. Lives in the frame of the call. No destructor: cancellation must find no frame of ours with anything to
/// clean up (waiting.cpp); the hold of a cancelled thread ends with the thread.
class SleepGuard {
public:
    /// Before a sleep; once is enough for a call. false: the connection was closed before. Thread: any; also inside a signal
    /// handler that interrupted a sleeper.
    [[nodiscard]] bool enter(Process& process, Socket& socket) noexcept;
    /// At the end of the call. The last one to leave a closed connection ends it.
    void leave(Process& process) noexcept {
        if (socket_ != nullptr) [[unlikely]] {
            end_hold(process);
        }
    }
    /// The descriptor went while the call slept: plain TCP goes on with Socket::kept.
    [[nodiscard]] bool descriptor_gone() const noexcept;

private:
    void end_hold(Process& process) noexcept;

    Socket* socket_ = nullptr;
    std::atomic<std::uint64_t> mark_{0}; ///< tells a frame in use from one that siglongjmp() left behind
};

/// Ends the holds of this thread's calls that siglongjmp() has left for good.
void drop_abandoned_sleeps(Process& process) noexcept;

/// Takes the right to end the connection. false: somebody sleeps on it; the last sleeper ends it, and until then the
/// socket works on a descriptor of ours.
[[nodiscard]] bool may_end_now(Process& process, Socket& socket, NumberGone how) noexcept;

[[nodiscard]] bool has_sleepers(const Socket& socket) noexcept;

/// In the child of fork(), where only the calling thread goes on: the others' holds are void.
void forget_other_sleepers(Process& process, Socket& socket) noexcept;

}  // namespace smcd
