// Held up: a sender that waits for space while its peer reads nothing. Floor 3, docs/known-differences.md "Space".
//
// A ring holds less than TCP's two buffers. Two programs that both write before they read, or one that writes to itself,
// may need what TCP would have taken. So a connection whose ring stays full for a second, in which the peer has read
// nothing, returns to TCP and goes on there.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

namespace smcd {

class Process;
class Socket;

/// A send has found too little space: TxPath::stalled(), whose result it returns, and a mark for the watch below. Not
/// under a profile that always polls: such a connection stays. Thread: any. A system call and an allocation only where
/// no connection of the process has been held up for some seconds.
bool held_up(Process& process, Socket& socket);

/// Looks at the marked connections twice a second, as long as there are any.
class HeldUpWatch {
public:
    HeldUpWatch(boost::asio::io_context& io, Process& process) : process_(process), timer_(io) {}

    /// Whether it must be started: the caller alone is to. Thread: any.
    [[nodiscard]] bool claim() noexcept {
        return !looking_.load(std::memory_order_seq_cst) && !looking_.exchange(true, std::memory_order_seq_cst);
    }
    /// Thread: progress.
    void start();

private:
    void look();
    [[nodiscard]] bool look_at_all();

    Process& process_;
    boost::asio::steady_timer timer_;
    std::atomic<bool> looking_{false};
    unsigned idle_looks_ = 0;
};

}  // namespace smcd
