// Forwarder: the thread that turns what peers ring into rings of our own doorbells. Floor 2,
// docs/shared-memory.md "regions".
//
// Waiting sets sleep on eventfds of this process (DoorbellTable), which peers behind a region do
// not hold. They ring the peer's bell instead: its ivshmem eventfd, or a futex word in its table.
// The thread sleeps on that, and rings each doorbell that peers have marked and whose owner sleeps.
// Where some peers cannot ring us (another machine without doorbells) it also looks by itself, in
// steps that grow, but only while a doorbell sleeps.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <mutex>
#include <thread>

#include "devices/api/doorbell.hpp"

namespace smcd::dev::ivshmem {

/// What the thread sleeps on: the eventfd if there is one, else the word, else a word of its own.
struct BellSource {
    int eventfd = -1;
    std::atomic<std::uint32_t>* word = nullptr; ///< nullptr: futexes do not work there
    std::atomic<std::uint64_t>* beat = nullptr; ///< grows while the thread beats
};

class Forwarder {
public:
    /// take_ring: whether a peer has rung that doorbell since the last call; thread: any.
    Forwarder(DoorbellTable& doorbells, std::function<bool(unsigned)> take_ring);
    ~Forwarder();
    Forwarder(const Forwarder&) = delete;
    Forwarder& operator=(const Forwarder&) = delete;

    /// Starts the thread unless it runs. False: no thread can be had.
    bool start(const BellSource& source);
    void stop() noexcept;

    [[nodiscard]] bool running() const noexcept { return running_.load(std::memory_order_acquire); }

    /// Whether the thread must look by itself.
    void set_polling(bool polling) noexcept;

    /// How often the thread shows that it runs; 0: never.
    void set_beat(std::uint64_t interval_ns) noexcept;

    /// A doorbell of ours goes to sleep; wakes the thread where it must look by itself.
    void on_sleep() noexcept;

    /// Rings what is due, once. The thread's work, also called by tests. Thread: any.
    void forward() noexcept;

    /// In the child after fork(): the thread is the parent's.
    void after_fork_in_child() noexcept;

    [[nodiscard]] std::uint64_t rung() const noexcept {
        return rung_count_.load(std::memory_order_relaxed);
    }

private:
    void run() noexcept;
    void wait(std::uint32_t seen, std::uint64_t limit_ns) noexcept;
    void poke() noexcept;
    [[nodiscard]] bool somebody_sleeps() const noexcept;
    [[nodiscard]] std::uint64_t beat() noexcept;

    [[nodiscard]] std::atomic<std::uint32_t>& word() noexcept {
        return source_.word != nullptr ? *source_.word : own_word_;
    }

    DoorbellTable& doorbells_;
    std::function<bool(unsigned)> take_ring_;
    BellSource source_;
    std::atomic<std::uint32_t> own_word_{0};
    std::atomic<bool> polling_{false};
    std::atomic<bool> stopping_{false};
    std::atomic<bool> running_{false};
    std::atomic<std::uint64_t> beat_ns_{0};
    std::atomic<std::uint64_t> rung_count_{0};
    std::mutex forward_mutex_; ///< who returns from forward() has everything rung
    std::mutex thread_mutex_;
    std::thread thread_;
};

} // namespace smcd::dev::ivshmem
