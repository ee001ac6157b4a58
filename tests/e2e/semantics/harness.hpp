// Socket semantics as text: each case performs calls on a connected pair and prints what they
// returned. The driver runs the same case on plain TCP and under the library: equal or a bug.
// Room tests/e2e, no protocol section.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

namespace smcd::e2e {

/// The other end of the pairs: a process or a thread that obeys text commands (peer.cpp).
class Peer {
public:
    /// `in_process`: a thread of this process instead of a process of its own.
    explicit Peer(bool in_process);
    ~Peer();
    Peer(const Peer&) = delete;
    Peer& operator=(const Peer&) = delete;

    /// Performs commands separated by ';' and returns the reply of the last one.
    std::string run(const std::string& commands);

    /// Starts commands; reply() waits for them. At most one outstanding.
    void post(const std::string& commands);
    std::string reply();

private:
    int control_ = -1;
    pid_t process_ = -1;
    std::thread thread_;
};

/// Serves commands from `control` until it is closed. The body of every peer.
void serve_peer(int control);

struct Settings {
    bool server = false;     // this side accepts
    bool warm = false;       // bytes have been exchanged before the case begins
    bool in_process = false; // both ends in this process
};

/// What a case works with. Thread: the case's main thread, unless said otherwise.
class Context {
public:
    Context(std::string name, const Settings& settings);

    [[nodiscard]] const Settings& settings() const { return settings_; }

    [[nodiscard]] Peer& peer() { return peer_; }

    /// A new connection; returns this end. The peer's end becomes its current one.
    int open();

    /// One line of the result. Any thread.
    __attribute__((format(printf, 2, 3))) void say(const char* format, ...) const;

    /// "WHAT -> 5" or "WHAT -> -1 EAGAIN"; call it right after the call (errno).
    void result(const char* what, ssize_t value) const;

    /// The names of poll bits, in a fixed order.
    void mask(const char* what, int revents) const;

    /// Waits until one of `events` (or HUP, ERR) is there; says so if it never comes.
    void await(int fd, int events) const;

    /// poll() for IN, OUT, PRI and RDHUP without waiting, printed.
    void poll_now(const char* what, int fd) const;

    /// recv(size) without flags, printed with its text.
    void receive(int fd, std::size_t size, int flags = 0) const;

    /// "asleep PID TID" of the calling thread: a peer command that waits until it sleeps.
    [[nodiscard]] static std::string when_asleep();

private:
    std::string name_;
    Settings settings_;
    Peer peer_;
    int connections_ = 0;
};

/// Sends without waiting until EAGAIN; the number of bytes.
ssize_t fill(int fd);

/// SIGPIPEs since the last call. The handler is installed by main().
int take_sigpipes();
void install_sigpipe_counter();

/// "IN|OUT" and the like for poll() and epoll bits (their values are the same).
[[nodiscard]] std::string mask_names(unsigned revents);

/// Waits (bounded) until the thread `tid` of process `pid` sleeps in the kernel.
void wait_asleep(pid_t pid, pid_t tid);

/// A thread that performs `action` as soon as the calling thread sleeps.
[[nodiscard]] std::jthread when_caller_sleeps(void (*action)(void*), void* argument);

/// The value, hidden from the compiler: the tests pass arguments that it rightly warns of.
template <typename T>
[[nodiscard]] T opaque(T value) {
    const std::atomic<T> hidden{value};
    return hidden.load(std::memory_order_relaxed);
}

struct Case {
    const char* name;
    void (*run)(Context& c);
};

std::span<const Case> transfer_cases();
std::span<const Case> flag_cases();
std::span<const Case> file_cases();
std::span<const Case> closing_cases();
std::span<const Case> reset_cases();
std::span<const Case> option_cases();
std::span<const Case> descriptor_cases();
std::span<const Case> bypass_cases();
std::span<const Case> handed_on_cases();
std::span<const Case> process_cases();
std::span<const Case> connecting_cases();
std::span<const Case> polling_cases();
std::span<const Case> epoll_cases();
std::span<const Case> epoll_set_cases();
std::span<const Case> epoll_sharing_cases();
std::span<const Case> epoll_thread_cases();
std::span<const Case> interrupt_cases();
std::span<const Case> sleeper_cases();

} // namespace smcd::e2e
