#include "smcd/runtime/progress.hpp"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "smcd/base/clock.hpp"
#include "smcd/base/hidden_fds.hpp"
#include "smcd/base/high_fd.hpp"
#include "smcd/base/raw_syscall.hpp"
#include "smcd/runtime/handshake.hpp"
#include "smcd/runtime/device_news.hpp"
#include "smcd/runtime/device_watch.hpp"
#include "smcd/runtime/hangup.hpp"
#include "smcd/runtime/held_up.hpp"
#include "smcd/runtime/last_thread.hpp"
#include "smcd/runtime/lingering.hpp"
#include "smcd/runtime/process.hpp"

namespace smcd {
namespace {

namespace asio = boost::asio;

thread_local bool this_is_progress = false;

/// Deadlines may be so late: those that are due together cost one wake-up. Without any there is no timer.
constexpr std::uint64_t kDeadlineSlackNs = 10 * kNsPerMs;

/// epoll data of a socket: the object is type-stable, the generation tells a recycled one.
std::uint64_t tag_of(const Socket& socket) noexcept {
    const auto address = reinterpret_cast<std::uintptr_t>(&socket);
    const std::uint64_t generation = socket.generation.load(std::memory_order_relaxed) & 0xFFFFU;
    return address | generation << 48U;
}

Socket* socket_of(std::uint64_t tag) noexcept {
    auto* socket = reinterpret_cast<Socket*>(tag & 0xFFFF'FFFF'FFFFULL);
    const std::uint64_t generation = socket->generation.load(std::memory_order_acquire) & 0xFFFFU;
    return generation == tag >> 48U ? socket : nullptr;
}

/// Where the application has CPUs to itself, ours are the others. It may have none besides: then nothing changes.
void keep_off_own_cpus(std::thread& thread) noexcept {
    cpu_set_t own;
    if (::sched_getaffinity(0, sizeof(own), &own) != 0) {
        return;
    }
    cpu_set_t others;
    CPU_ZERO(&others);
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (!CPU_ISSET(cpu, &own)) {
            CPU_SET(cpu, &others);
        }
    }
    ::pthread_setaffinity_np(thread.native_handle(), sizeof(others), &others);
}

}  // namespace

struct Progress::Impl {
    Impl(int set_fd, Process& process)
        : connections(io, set_fd), timer(io), news(io, process), watch(io, process), held_up(io, process), last(io) {}

    asio::io_context io{1};
    asio::posix::stream_descriptor connections; ///< our epoll set of connections
    asio::steady_timer timer;
    DeviceNews news;
    DeviceWatch watch;
    HeldUpWatch held_up;
    LastThread last;
    std::atomic<bool> running{false};           ///< the thread has come as far as our code
    std::atomic<std::uint32_t> watches{0};      ///< calls of watch()
    std::mutex mutex;
    struct Deadline {
        std::uint64_t tag;
        std::uint64_t at_ns;
    };
    std::vector<Deadline> deadlines;
    std::uint64_t armed_ns = 0;                 ///< when the timer is due; 0: never
    std::thread thread;

    /// Runs `work` on the thread.
    template <typename Work>
    void post(Work&& work) {
        const bool outer = std::exchange(this_is_progress, true);  // Asio's own calls are none of the application's
        asio::post(io, std::forward<Work>(work));
        this_is_progress = outer;
    }
    void wait_connections(Process& process);
    void on_connections(Process& process);
    void on_timer(Process& process);
    void arm_timer(Process& process);
};

void Progress::Impl::wait_connections(Process& process) {
    connections.async_wait(asio::posix::stream_descriptor::wait_read,
                           [this, &process](const boost::system::error_code& error) {
                               if (!error) {
                                   on_connections(process);
                                   wait_connections(process);
                               }
                           });
}

void Progress::Impl::on_connections(Process& process) {
    std::array<epoll_event, 64> events;
    for (;;) {
        const int n = raw::epoll_wait(connections.native_handle(),
                                      events.data(),
                                      static_cast<int>(events.size()),
                                      0);
        // sync: watch. An unbroken chain of increments: one load acquires from every watch().
        static_cast<void>(watches.load(std::memory_order_acquire));
        for (int i = 0; i < n; ++i) {
            const epoll_event& event = events[static_cast<std::size_t>(i)];
            std::unique_lock guard(process.lifecycle_mutex());
            Socket* socket = socket_of(event.data.u64);
            if (socket == nullptr) {
                continue;
            }
            if (socket->phase() == Phase::smc) {
                on_tcp_event(process, *socket, event.events);
            } else {
                socket->tcp_events.fetch_add(1, std::memory_order_release);
                handshake_drive(process, *socket);
                process.wake_local(*socket);
                guard.unlock();
                end_linger_if_due(process, *socket);
            }
        }
        if (n < static_cast<int>(events.size())) {
            return;
        }
    }
}

void Progress::Impl::arm_timer(Process& process) {
    {
        const std::lock_guard guard(mutex);
        const auto first = std::min_element(deadlines.begin(), deadlines.end(), [](const auto& a, const auto& b) {
            return a.at_ns < b.at_ns;
        });
        const std::uint64_t now = monotonic_ns();
        armed_ns = first == deadlines.end() ? 0 : std::max(first->at_ns, now + kDeadlineSlackNs);
        if (armed_ns == 0) {
            return;
        }
        timer.expires_after(std::chrono::nanoseconds(armed_ns - now));
    }
    timer.async_wait([this, &process](const boost::system::error_code& error) {
        if (!error) {
            on_timer(process);
        }
    });
}

void Progress::Impl::on_timer(Process& process) {
    const std::uint64_t now = monotonic_ns();
    std::vector<std::uint64_t> due;
    {
        const std::lock_guard guard(mutex);
        std::erase_if(deadlines, [&](const Deadline& entry) {
            if (entry.at_ns > now) {
                return false;
            }
            due.push_back(entry.tag);
            return true;
        });
    }
    for (const std::uint64_t tag : due) {
        std::unique_lock guard(process.lifecycle_mutex());
        if (Socket* socket = socket_of(tag); socket != nullptr) {
            handshake_on_deadline(process, *socket, now);
            guard.unlock();
            end_linger_if_due(process, *socket);
        }
    }
    arm_timer(process);
}

Progress::Progress(Process& process) : process_(process) {}

Progress::~Progress() {
    stop();
}

void Progress::stop() {
    if (impl_ == nullptr || !impl_->thread.joinable()) {
        return;
    }
    impl_->io.stop();
    impl_->thread.join();
    impl_->news.release();
    unhide_fd(impl_->connections.native_handle());
}

bool Progress::on_progress_thread() noexcept {
    return this_is_progress;
}

void Progress::leave_progress_thread() noexcept {
    this_is_progress = false;
}

void Progress::on_main_thread_exit() {
    const std::lock_guard guard(start_mutex_);
    main_thread_left_ = true;
    if (impl_ != nullptr) {
        impl_->post([this] { impl_->last.start(); });
    }
}

bool Progress::start() {
    if (impl_ != nullptr) {
        return true;
    }
    this_is_progress = true;  // Asio's own descriptors are none of the application's
    sigset_t all;
    sigset_t saved;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &saved);  // the application's handlers stay off our thread
    bool started = false;
    try {
        auto set_fd = lift_fd(UniqueFd(raw::epoll_create1(EPOLL_CLOEXEC)));
        if (set_fd) {
            impl_ = std::make_unique<Impl>(set_fd->release(), process_);
            impl_->wait_connections(process_);
            if (main_thread_left_) {
                impl_->last.start();
            }
            impl_->thread = std::thread([this] {
                this_is_progress = true;
                impl_->running.store(true, std::memory_order_release);
                impl_->running.notify_all();
                const auto keep = asio::make_work_guard(impl_->io);
                impl_->io.run();
            });
            if (process_.config().profile->pins_memory) {
                keep_off_own_cpus(impl_->thread);
            }
            started_.store(impl_.get(), std::memory_order_release);
            runs_.store(started = true, std::memory_order_relaxed);
        }
    } catch (const std::exception&) {
        impl_.reset();
    }
    ::pthread_sigmask(SIG_SETMASK, &saved, nullptr);
    this_is_progress = false;
    return started;
}

bool Progress::ensure_started() {
    const std::lock_guard guard(start_mutex_);
    return start();
}

bool Progress::watch(Socket& socket) {
    if (!ensure_started()) {
        return false;
    }
    epoll_event event{};
    event.events = EPOLLIN | EPOLLRDHUP | EPOLLET;
    if (socket.phase() == Phase::connecting || socket.phase() == Phase::settling ||
        socket.phase() == Phase::returning) {
        event.events |= EPOLLOUT;
    }
    event.data.u64 = tag_of(socket);
    // sync: watch. The socket is whole before the thread can hear of it; system calls order nothing in C++.
    impl_->watches.fetch_add(1, std::memory_order_release);
    const int set_fd = impl_->connections.native_handle();
    if (raw::epoll_ctl(set_fd, EPOLL_CTL_ADD, socket.fd, &event) != 0 &&
        (errno != EEXIST || raw::epoll_ctl(set_fd, EPOLL_CTL_MOD, socket.fd, &event) != 0)) {
        return false;
    }
    socket.watch_epoch.store(epoch(), std::memory_order_relaxed);
    watch_devices();
    // The thread watches already, and may have gone on with the handshake.
    if (dev::LinkedDevice* const device = socket.device; device != nullptr && device->wants_looks()) {
        look_after_devices();
    }
    return true;
}

void Progress::look_after_devices() {
    if (!ensure_started()) {
        return;
    }
    impl_->post([this] { impl_->watch.start(); });
}

void Progress::look_at_losses() {
    // No thread, no connection that it watches.
    if (Impl* const impl = started_.load(std::memory_order_acquire); impl != nullptr) {
        impl->post([impl] { impl->watch.look_at_losses(); });
    }
}

void Progress::look_after_held_up() {
    if (ensure_started() && impl_->held_up.claim()) {
        impl_->post([this] { impl_->held_up.start(); });
    }
}

void Progress::unwatch(Socket& socket) {
    Impl* const impl = started_.load(std::memory_order_acquire);
    if (impl != nullptr && socket.watch_epoch.load(std::memory_order_relaxed) == epoch()) {
        raw::epoll_ctl(impl->connections.native_handle(), EPOLL_CTL_DEL, socket.fd, nullptr);
        socket.watch_epoch.store(0, std::memory_order_relaxed);
    }
}

void Progress::arm_deadline(Socket& socket, std::uint64_t deadline_ns) {
    Impl* const impl = started_.load(std::memory_order_acquire);
    if (impl == nullptr) {
        return;
    }
    const std::lock_guard guard(impl->mutex);
    impl->deadlines.push_back({tag_of(socket), deadline_ns});
    if (impl->armed_ns == 0 || deadline_ns + kDeadlineSlackNs < impl->armed_ns) {
        impl->armed_ns = deadline_ns;
        impl->post([this, impl] { impl->arm_timer(process_); });
    }
}

void Progress::watch_devices() {
    if (Impl* const impl = started_.load(std::memory_order_acquire); impl != nullptr) {
        const bool outer = std::exchange(this_is_progress, true);
        impl->news.watch();
        this_is_progress = outer;
    }
}

void Progress::before_fork() {
    start_mutex_.lock();  // whoever starts the thread in the parent would hold it in the child for ever
    if (impl_ != nullptr) {
        // A copy without libc's fork() believes in the thread; its setuid() would wait for pthread_create() to end.
        impl_->running.wait(false, std::memory_order_acquire);
        impl_->mutex.lock();
    }
}

void Progress::after_fork_in_parent() {
    if (impl_ != nullptr) {
        impl_->mutex.unlock();
    }
    start_mutex_.unlock();
}

void Progress::after_fork_in_child() {
    started_.store(nullptr, std::memory_order_relaxed);
    // The thread exists in the parent only. Its state is abandoned, not destroyed: the descriptors are the parent's
    // objects too, and a destructor would change them.
    if (impl_ != nullptr) {
        unhide_fd(impl_->connections.native_handle());
        raw::close(impl_->connections.native_handle());
        static_cast<void>(impl_.release());
    }
    epoch_.fetch_add(1, std::memory_order_acq_rel);
    runs_.store(false, std::memory_order_relaxed);
    main_thread_left_ = false;
    start_mutex_.unlock();
}

}  // namespace smcd
