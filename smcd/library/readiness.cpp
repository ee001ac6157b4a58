// Waiting for several sockets, and the event descriptor for other people's loops. Floor 4,
// docs/architecture.md "waiting and waking".
//
// A connection on the ring rings a doorbell of ours; everything else is the kernel's to watch. Arm,
// look again, sleep.
#include <algorithm>

#include "smcd/base/clock.hpp"
#include "smcd/base/raw_syscall.hpp"
#include "smcd/library/handles.hpp"
#include "smcd/runtime/handshake.hpp"
#include "smcd/runtime/pending.hpp"

namespace smcd::library {
namespace {

constexpr short kAlways = POLLERR | POLLHUP;
constexpr short kOut = POLLOUT | POLLWRNORM;
/// How often a sleeper without a doorbell looks.
constexpr int kSliceMs = 2;

bool is_ours(const smcd_sock& sock) noexcept {
    return sock.socket->kind.load(std::memory_order_acquire) == SocketKind::connection &&
           Socket::is_ours(sock.socket->phase());
}

/// A doorbell for one sleep.
class Door {
public:
    explicit Door(Process& process) noexcept {
        if (process.ready_for_smc()) {
            table_ = process.doorbells();
            if (auto door = table_->acquire(); door) {
                number_ = static_cast<int>(*door);
            }
        }
    }

    ~Door() {
        if (number_ >= 0) {
            table_->end_sleep(number());
            std::uint64_t rings = 0;
            static_cast<void>(raw::read(event_fd(), &rings, sizeof(rings)));
            table_->release(number());
        }
    }

    Door(const Door&) = delete;
    Door& operator=(const Door&) = delete;

    [[nodiscard]] bool valid() const noexcept { return number_ >= 0; }

    [[nodiscard]] unsigned number() const noexcept { return static_cast<unsigned>(number_); }

    [[nodiscard]] int event_fd() const noexcept { return table_->event_fd(number()); }

    void begin_sleep() noexcept { table_->begin_sleep(number()); }

private:
    dev::DoorbellTable* table_ = nullptr;
    int number_ = -1;
};

/// The entries of one smcd_poll() and the kernel's share of them.
class PollCall {
public:
    explicit PollCall(std::span<smcd_pollfd> entries) : entries_(entries) {
        if (entries.size() >= inline_.size()) {
            heap_.resize(entries.size() + 1);
        }
        kernel_ =
            std::span<pollfd>(heap_.empty() ? inline_.data() : heap_.data(), entries.size() + 1);
    }

    PollCall(const PollCall&) = delete;
    PollCall& operator=(const PollCall&) = delete;

    /// Fills revents; how many are ready, or -errno. kernel: ask the kernel, too.
    int look(bool kernel) {
        int ready = 0;
        in_kernel_ = false;
        for (std::size_t i = 0; i < entries_.size(); ++i) {
            smcd_pollfd& entry = entries_[i];
            const bool ours = entry.sock != nullptr && is_ours(*entry.sock);
            const int fd = entry.sock == nullptr ? entry.fd : entry.sock->fd;
            kernel_[i] = {ours ? -1 : fd, entry.events, 0};
            in_kernel_ = in_kernel_ || kernel_[i].fd >= 0;
            entry.revents =
                entry.sock == nullptr ? short{0} : known(*entry.sock, entry.events, ours);
        }
        if (in_kernel_ && kernel && raw::poll(kernel_.data(), entries_.size(), 0) < 0) {
            return -errno;
        }
        for (std::size_t i = 0; i < entries_.size(); ++i) {
            entries_[i].revents = static_cast<short>(entries_[i].revents | kernel_[i].revents);
            ready += entries_[i].revents != 0 ? 1 : 0;
        }
        return ready;
    }

    /// Arms all, looks once more, sleeps until the deadline. 0, or -errno; the caller looks again.
    int sleep(std::uint64_t deadline_ns) {
        Process* process = first_process();
        int timeout_ms = rest_ms(deadline_ns);
        if (process == nullptr) {
            return raw::poll(kernel_.data(), entries_.size(), timeout_ms) < 0 ? -errno : 0;
        }
        Door door(*process);
        pollfd& bell = kernel_[entries_.size()];
        bell = {-1, POLLIN, 0};
        if (door.valid()) {
            bell.fd = door.event_fd();
            for (const smcd_pollfd& entry : entries_) {
                if (entry.sock != nullptr && is_ours(*entry.sock)) {
                    arm(*entry.sock, entry.events, door.number());
                }
            }
            door.begin_sleep();
        } else {
            timeout_ms = timeout_ms < 0 ? kSliceMs : std::min(timeout_ms, kSliceMs);
        }
        if (look(false) != 0) {
            return 0;
        }
        return raw::poll(kernel_.data(), kernel_.size(), timeout_ms) < 0 ? -errno : 0;
    }

    [[nodiscard]] bool any_ours() const noexcept { return first_process() != nullptr; }

private:
    static short known(smcd_sock& sock, short wanted, bool ours) noexcept {
        const short bounced = sock.rx.empty() ? short{0} : static_cast<short>(wanted & POLLIN);
        return static_cast<short>(bounced | (ours ? ready_mask(sock, wanted) : 0));
    }

    static int rest_ms(std::uint64_t deadline_ns) noexcept {
        if (deadline_ns == kForever) {
            return -1;
        }
        const std::uint64_t now = monotonic_ns();
        return now >= deadline_ns ? 0 : static_cast<int>((deadline_ns - now) / kNsPerMs + 1);
    }

    [[nodiscard]] Process* first_process() const noexcept {
        for (const smcd_pollfd& entry : entries_) {
            if (entry.sock != nullptr && is_ours(*entry.sock)) {
                return &entry.sock->process();
            }
        }
        return nullptr;
    }

    std::span<smcd_pollfd> entries_;
    std::array<pollfd, 64> inline_; ///< few enough need no memory
    std::vector<pollfd> heap_;
    std::span<pollfd> kernel_; ///< one of both, with room for the doorbell
    bool in_kernel_ = false;
};

/// The event descriptor of a socket that the kernel serves watches the socket itself.
int watch_tcp(smcd_sock& sock, short wanted) noexcept {
    epoll_event event{};
    event.events = static_cast<std::uint32_t>(wanted);
    const int operation = sock.tcp_in_set ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (raw::epoll_ctl(sock.set_fd, operation, sock.fd, &event) != 0) {
        return -1;
    }
    sock.tcp_in_set = true;
    return 0;
}

/// ... of one on the ring, its doorbell. 0, or -1 with errno.
int watch_ring(smcd_sock& sock, short wanted) noexcept {
    if (!sock.process().ready_for_smc()) {
        errno = EMFILE;
        return -1;
    }
    dev::DoorbellTable& table = *sock.process().doorbells();
    if (sock.door < 0) {
        auto door = table.acquire();
        if (!door) {
            errno = door.error().value();
            return -1;
        }
        sock.door = static_cast<int>(*door);
        epoll_event event{};
        event.events = EPOLLIN;
        if (raw::epoll_ctl(sock.set_fd, EPOLL_CTL_ADD, table.event_fd(*door), &event) != 0) {
            return -1;
        }
    }
    const auto door = static_cast<unsigned>(sock.door);
    std::uint64_t rings = 0;
    static_cast<void>(raw::read(table.event_fd(door), &rings, sizeof(rings)));
    arm(sock, wanted, door);
    table.begin_sleep(door);
    return 0;
}

} // namespace

short ready_mask(smcd_sock& sock, short wanted) noexcept {
    short bounced = sock.rx.empty() ? short{0} : static_cast<short>(POLLIN);
    if (is_ours(sock)) {
        if (sock.socket->phase() != Phase::smc) {
            handshake_drive(sock.process(), *sock.socket);
        }
        bounced = static_cast<short>(bounced | static_cast<short>(stream_poll(*sock.socket)));
        return static_cast<short>(bounced & (wanted | kAlways));
    }
    pollfd entry{sock.fd, wanted, 0};
    static_cast<void>(raw::poll(&entry, 1, 0));
    return static_cast<short>((bounced | entry.revents) & (wanted | kAlways));
}

void arm(smcd_sock& sock, short wanted, unsigned door) noexcept {
    const bool space = (wanted & kOut) != 0;
    stream_arm(sock.process(), *sock.socket, door, !space || (wanted & ~kOut) != 0, space);
}

void close_event_fd(smcd_sock& sock) noexcept {
    if (sock.set_fd >= 0) {
        raw::close(sock.set_fd);
        sock.set_fd = -1;
        sock.tcp_in_set = false;
    }
    if (sock.door >= 0) {
        sock.process().doorbells()->release(static_cast<unsigned>(sock.door));
        sock.door = -1;
    }
}

} // namespace smcd::library

using namespace smcd;          // NOLINT(google-build-using-namespace): a skin of C functions
using namespace smcd::library; // NOLINT(google-build-using-namespace)

int smcd_poll(smcd_pollfd* entries, size_t count, int timeout_ms) {
    static thread_local SpinPolicy spin;
    PollCall call({entries, count});
    const std::uint64_t began = monotonic_ns();
    const std::uint64_t deadline_ns =
        timeout_ms < 0 ? kForever : began + static_cast<std::uint64_t>(timeout_ms) * kNsPerMs;
    bool expired = timeout_ms == 0;
    for (;;) {
        const int ready = call.look(true);
        if (ready != 0 || expired) {
            return finish(ready);
        }
        const std::uint64_t since = monotonic_ns();
        const auto any = [&]() noexcept { return call.look(false) != 0; };
        if (call.any_ours() && spin.spin(0, deadline_ns, any) == SpinPolicy::Outcome::hit) {
            continue;
        }
        if (const int rc = call.sleep(deadline_ns); rc < 0) {
            return finish(rc);
        }
        spin.on_slept(monotonic_ns() - since);
        expired = deadline_ns != kForever && monotonic_ns() >= deadline_ns;
    }
}

int smcd_get_event_fd(smcd_sock* sock) {
    if (sock->set_fd < 0) {
        sock->set_fd = raw::epoll_create1(EPOLL_CLOEXEC);
    }
    return sock->set_fd;
}

int smcd_events(smcd_sock* sock, int wanted) {
    const auto events = static_cast<short>(wanted);
    if (const short ready = ready_mask(*sock, events); ready != 0) {
        return ready;
    }
    if (sock->set_fd < 0) {
        return 0;
    }
    // Once more behind a change of the phase: what watched the old one may have missed the news.
    for (;;) {
        const bool ours = is_ours(*sock);
        if ((ours ? watch_ring(*sock, events) : watch_tcp(*sock, events)) != 0) {
            return -1;
        }
        const short ready = ready_mask(*sock, events);
        if (ready != 0 || is_ours(*sock) == ours) {
            return ready;
        }
    }
}

int smcd_wait_verdict(smcd_sock* sock, int timeout_ms) {
    Socket& socket = *sock->socket;
    const std::uint64_t deadline_ns =
        timeout_ms < 0 ? kForever
                       : monotonic_ns() + static_cast<std::uint64_t>(timeout_ms) * kNsPerMs;
    for (;;) {
        const Phase phase = socket.phase();
        if (phase != Phase::connecting && phase != Phase::handshake) {
            return phase == Phase::smc ? 1 : 0;
        }
        handshake_drive(sock->process(), socket);
        if (socket.phase() != phase) {
            continue;
        }
        const WaitStatus status =
            wait_for_phase(sock->process(), socket, phase, Direction::receive, deadline_ns);
        if (status != WaitStatus::ready) {
            errno = status == WaitStatus::timed_out ? ETIMEDOUT : EINTR;
            return -1;
        }
    }
}
