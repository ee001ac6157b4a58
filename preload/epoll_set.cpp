#include "preload/epoll_set.hpp"

#include <poll.h>

#include <algorithm>
#include <cerrno>

#include "smcd/runtime/handshake.hpp"
#include "smcd/runtime/stream.hpp"

namespace smcd::preload {
namespace {

/// The doorbell's event data in the kernel set: an address of ours, which no application can hold.
std::uint64_t doorbell_data(const EpollSet* set) noexcept {
    constexpr std::uint64_t kPattern = 0x5D0B'0000'0000'0000ULL;
    return reinterpret_cast<std::uintptr_t>(set) ^ kPattern;
}

constexpr std::uint32_t kAlways = EPOLLERR | EPOLLHUP;
constexpr std::uint32_t kModes = EPOLLET | EPOLLONESHOT | EPOLLWAKEUP | EPOLLEXCLUSIVE;

bool active(const EpollSet::Entry& entry) noexcept {
    return !entry.in_kernel;
}

}  // namespace

void EpollSet::open(int epfd) noexcept {
    const std::lock_guard guard(mutex_);
    epfd_ = epfd;
    entries_.clear();
    entry_count_.store(0, std::memory_order_release);
    door_ = -1;
    sleepers_ = 0;
    spin = {};
}

void EpollSet::close() noexcept {
    const std::lock_guard guard(mutex_);
    epfd_ = -1;
    entries_.clear();
    entry_count_.store(0, std::memory_order_release);
}

EpollSet::Entry* EpollSet::find(int fd, const Socket& socket) noexcept {
    for (Entry& entry : entries_) {
        if (entry.fd == fd && entry.socket == &socket &&
            entry.generation == socket.generation.load(std::memory_order_relaxed)) {
            return &entry;
        }
    }
    return nullptr;
}

void EpollSet::erase(Entry& entry) {
    entry = entries_.back();
    entries_.pop_back();
    entry_count_.store(entries_.size(), std::memory_order_release);
}

int EpollSet::add(const RealCalls& real, int fd, Socket& socket, const epoll_event& event) {
    const bool ours = socket.kind.load(std::memory_order_acquire) == SocketKind::connection &&
                      Socket::is_ours(socket.phase());
    if (!ours) {
        epoll_event copy = event;
        if (real.epoll_ctl(epfd_, EPOLL_CTL_ADD, fd, &copy) != 0) {
            return -errno;
        }
        if (socket.kind.load(std::memory_order_acquire) != SocketKind::candidate) {
            return 0;  // a listener or plain TCP stays the kernel's for good
        }
    }
    Entry entry;
    entry.fd = fd;
    entry.socket = &socket;
    entry.generation = socket.generation.load(std::memory_order_relaxed);
    entry.interest = event;
    entry.in_kernel = !ours;
    entries_.push_back(entry);
    entry_count_.store(entries_.size(), std::memory_order_release);
    return 0;
}

int EpollSet::control(
    const RealCalls& real, int operation, int fd, Socket& socket, const epoll_event* event) {
    const std::lock_guard guard(mutex_);
    Entry* entry = find(fd, socket);
    if (entry == nullptr || entry->in_kernel) {
        if (operation == EPOLL_CTL_ADD && entry == nullptr && event != nullptr) {
            return add(real, fd, socket, *event);
        }
        if (real.epoll_ctl(epfd_, operation, fd, const_cast<epoll_event*>(event)) != 0) {
            return -errno;
        }
        if (entry != nullptr && operation == EPOLL_CTL_DEL) {
            erase(*entry);
        } else if (entry != nullptr) {
            entry->interest = *event;
        }
        return 0;
    }
    switch (operation) {
        case EPOLL_CTL_ADD:
            return -EEXIST;
        case EPOLL_CTL_DEL:
            erase(*entry);
            return 0;
        case EPOLL_CTL_MOD:
            if (event == nullptr) {
                return -EFAULT;
            }
            if ((event->events & EPOLLEXCLUSIVE) != 0 || (entry->interest.events & EPOLLEXCLUSIVE) != 0) {
                return -EINVAL;
            }
            entry->interest = *event;
            entry->disabled = false;
            entry->fresh = true;
            return 0;
        default:
            return -EINVAL;
    }
}

void EpollSet::on_phase(const RealCalls& real, Process& process, Socket& socket) {
    const std::lock_guard guard(mutex_);
    const bool ours = Socket::is_ours(socket.phase());
    bool changed = false;
    for (std::size_t i = 0; i < entries_.size();) {
        Entry& entry = entries_[i];
        if (entry.socket != &socket) {
            ++i;
            continue;
        }
        changed = true;
        if (ours && entry.in_kernel) {
            real.epoll_ctl(epfd_, EPOLL_CTL_DEL, entry.fd, nullptr);
            entry.in_kernel = false;
            entry.fresh = true;
        } else if (!ours && !entry.in_kernel) {
            epoll_event event = entry.interest;
            if (entry.disabled) {
                event.events &= kModes;
            }
            real.epoll_ctl(epfd_, EPOLL_CTL_ADD, entry.fd, &event);
            erase(entry);
            continue;
        }
        ++i;
    }
    if (changed && door_ >= 0 && sleepers_ > 0) {
        process.doorbells()->ring_local(static_cast<unsigned>(door_));
    }
}

void EpollSet::drop(const Socket& socket) {
    const std::lock_guard guard(mutex_);
    for (std::size_t i = 0; i < entries_.size();) {
        if (entries_[i].socket == &socket) {
            erase(entries_[i]);
        } else {
            ++i;
        }
    }
}

/// What the entry would report now; updates what it has seen. Level: the state; edge: only with news.
PollMask EpollSet::due(Entry& entry) noexcept {
    if (!active(entry) || entry.disabled) {
        return 0;
    }
    Socket& socket = *entry.socket;
    const PollMask mask = stream_poll(socket);
    const PollMask wanted = mask & (entry.interest.events | kAlways) & ~kModes;
    if ((entry.interest.events & EPOLLET) == 0) {
        return wanted;
    }
    const bool smc = socket.phase() == Phase::smc;
    const std::uint64_t arrival = smc ? RxPath(socket.channel).arrival_mark()
                                      : socket.tcp_events.load(std::memory_order_acquire);
    const std::uint32_t stalls = socket.send_stalls.load(std::memory_order_relaxed);
    const bool arrived = arrival != entry.seen_arrival && (mask & EPOLLIN) != 0;
    const bool drained = stalls != entry.seen_stalls && (mask & EPOLLOUT) != 0;
    const bool news = entry.fresh || arrived || drained || (mask & ~entry.seen_mask) != 0;
    entry.seen_mask = mask;
    entry.seen_arrival = arrival;
    if ((mask & EPOLLOUT) != 0) {
        entry.seen_stalls = stalls;
    }
    entry.fresh = false;
    return news ? wanted : 0;
}

int EpollSet::collect(std::span<epoll_event> events) {
    const std::lock_guard guard(mutex_);
    std::size_t count = 0;
    const std::size_t total = entries_.size();
    for (std::size_t i = 0; i < total && count < events.size(); ++i) {
        next_ = next_ + 1 >= total ? 0 : next_ + 1;
        Entry& entry = entries_[next_];
        const PollMask mask = due(entry);
        if (mask == 0) {
            continue;
        }
        events[count].events = mask;
        events[count].data = entry.interest.data;
        ++count;
        if ((entry.interest.events & EPOLLONESHOT) != 0) {
            entry.disabled = true;
        }
    }
    return static_cast<int>(count);
}

bool EpollSet::any_ready() {
    const std::lock_guard guard(mutex_);
    return std::any_of(entries_.begin(), entries_.end(), [this](const Entry& entry) {
        Entry copy = entry;
        return due(copy) != 0;
    });
}

void EpollSet::drive(Process& process) {
    std::vector<Socket*> pending;
    {
        const std::lock_guard guard(mutex_);
        for (const Entry& entry : entries_) {
            if (active(entry) && entry.socket->phase() != Phase::smc) {
                pending.push_back(entry.socket);
            }
        }
    }
    for (Socket* socket : pending) {
        handshake_drive(process, *socket);
    }
}

bool EpollSet::ensure_doorbell(const RealCalls& real, Process& process) {
    if (door_ >= 0) {
        return true;
    }
    if (!process.ready_for_smc()) {
        return false;
    }
    auto door = process.doorbells()->acquire();
    if (!door) {
        return false;
    }
    epoll_event event{};
    event.events = EPOLLIN | EPOLLET;
    event.data.u64 = doorbell_data(this);
    if (real.epoll_ctl(epfd_, EPOLL_CTL_ADD, process.doorbells()->event_fd(*door), &event) != 0) {
        process.doorbells()->release(*door);
        return false;
    }
    door_ = static_cast<int>(*door);
    return true;
}

void EpollSet::arm(Process& process, Entry& entry) noexcept {
    const std::uint64_t bit = std::uint64_t{1} << static_cast<unsigned>(door_);
    Socket& socket = *entry.socket;
    socket.block->local.doors.fetch_or(bit, std::memory_order_seq_cst);
    process.progress().ensure_watched(socket);
    if (socket.phase() != Phase::smc) {
        return;
    }
    Channel& channel = socket.channel;
    // A failure leaves the last resort: a byte on the TCP connection.
    static_cast<void>(
        process.loopback()->export_doorbell(channel.remote, static_cast<unsigned>(door_)));
    // Already armed lines are left alone: no store, no bounce.
    if ((channel.own_bells->doors_in.load(std::memory_order_relaxed) & bit) == 0) {
        channel.own_bells->doors_in.fetch_or(bit, std::memory_order_relaxed);
    }
    const bool wants_out = (entry.interest.events & EPOLLOUT) != 0;
    if (wants_out && (channel.own_bells->doors_out.load(std::memory_order_relaxed) & bit) == 0) {
        channel.own_bells->doors_out.fetch_or(bit, std::memory_order_relaxed);
    }
}

bool EpollSet::begin_sleep(const RealCalls& real, Process& process) {
    const std::lock_guard guard(mutex_);
    if (!ensure_doorbell(real, process)) {
        return false;
    }
    for (Entry& entry : entries_) {
        if (active(entry) && !entry.disabled) {
            arm(process, entry);
        }
    }
    ++sleepers_;
    process.doorbells()->begin_sleep(static_cast<unsigned>(door_));  // includes the full fence
    return true;
}

void EpollSet::end_sleep(Process& process) {
    const std::lock_guard guard(mutex_);
    --sleepers_;
    const auto door = static_cast<unsigned>(door_);
    process.doorbells()->end_sleep(door);
    if (sleepers_ == 0) {
        return;
    }
    // Others sleep on: what rang for us must ring again for them.
    for (Entry& entry : entries_) {
        if (active(entry) && !entry.disabled) {
            arm(process, entry);
        }
    }
    process.doorbells()->begin_sleep(door);
}

int EpollSet::filter_doorbell(std::span<epoll_event> events, int count) const noexcept {
    const std::uint64_t ours = doorbell_data(this);
    for (int i = 0; i < count; ++i) {
        if (events[static_cast<std::size_t>(i)].data.u64 == ours) {
            events[static_cast<std::size_t>(i)] = events[static_cast<std::size_t>(count - 1)];
            return count - 1;
        }
    }
    return count;
}

void EpollSet::ring(Process& process) noexcept {
    const std::lock_guard guard(mutex_);
    if (door_ >= 0 && sleepers_ > 0) {
        process.doorbells()->ring_local(static_cast<unsigned>(door_));
    }
}

void EpollSet::forget_doorbell_after_fork() noexcept {
    door_ = -1;
    sleepers_ = 0;
}

}  // namespace smcd::preload
