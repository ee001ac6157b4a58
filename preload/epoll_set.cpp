// EpollSet: registrations, and their ways between the kernel and us. Floor 4.
#include "preload/epoll_set.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "preload/epoll_tags.hpp"

namespace smcd::preload {

void EpollSet::open(int epfd, Process& process) noexcept {
    const std::lock_guard guard(mutex_);
    process_ = &process;
    rename(epfd);
    references.store(1, std::memory_order_relaxed);
    next_ = 0;
    kernel_turn.store(false, std::memory_order_relaxed);
    spin.reset();
}

void EpollSet::close(const RealCalls& real, Process& process) noexcept {
    const std::lock_guard guard(mutex_);
    if (door_ >= 0) {
        take_out_door(real);
        process.doorbells()->release(static_cast<unsigned>(door_));
        door_ = -1;
    }
    rename(-1);
    entries_.clear();
    hot_.clear();
    by_socket_.clear();
    nested_.clear();
    ours_ = 0;
    shared_ = false;
    publish();
}

void EpollSet::publish() noexcept {
    entry_count_.store(entries_.size() + nested_.size(), std::memory_order_release);
    inner_count_.store(nested_.size(), std::memory_order_release);
    // sync: set-served. We publish, then ring() looks for threads in the kernel; they announce
    // themselves, then look here.
    served_count_.store(ours_ + nested_.size(), std::memory_order_seq_cst);
}

namespace {

/// What the kernel says before it looks whether the descriptor is registered.
bool fits_exclusive(const epoll_event* event) noexcept {
    constexpr std::uint32_t kWithExclusive =
        EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE;
    return event == nullptr || (event->events & EPOLLEXCLUSIVE) == 0 ||
           (event->events & ~kWithExclusive) == 0;
}

} // namespace

EpollSet::Entry* EpollSet::find(int fd, const Socket& socket) noexcept {
    const auto [first, last] = by_socket_.equal_range(&socket);
    for (auto it = first; it != last; ++it) {
        Entry& entry = entries_[it->second];
        if (entry.fd == fd &&
            entry.generation == socket.generation.load(std::memory_order_relaxed)) {
            return &entry;
        }
    }
    return nullptr;
}

void EpollSet::erase(std::size_t position) {
    const auto index_of = [this](std::size_t at) {
        auto [it, last] = by_socket_.equal_range(entries_[at].socket);
        return std::find_if(it, last, [at](const auto& item) { return item.second == at; });
    };
    ours_ -= entries_[position].in_kernel ? 0 : 1;
    chill(position);
    by_socket_.erase(index_of(position));
    if (position + 1 != entries_.size()) {
        index_of(entries_.size() - 1)->second = position;
        entries_[position] = entries_.back();
        if (const std::uint32_t hot_at = entries_[position].hot_at; hot_at != kCold) {
            hot_[hot_at] = position;
        }
    }
    entries_.pop_back();
    publish();
}

int EpollSet::add(const RealCalls& real, int fd, Socket& socket, const epoll_event& event) {
    const bool ours = socket.kind.load(std::memory_order_acquire) == SocketKind::connection &&
                      Socket::is_ours(socket.phase());
    if (!ours) {
        epoll_event copy = event;
        if (real.epoll_ctl(epfd(), EPOLL_CTL_ADD, fd, &copy) != 0) {
            return -errno;
        }
        if (socket.kind.load(std::memory_order_acquire) != SocketKind::candidate) {
            return 0; // a listener or plain TCP stays the kernel's for good
        }
    }
    Entry entry;
    entry.fd = fd;
    entry.socket = &socket;
    entry.generation = socket.generation.load(std::memory_order_relaxed);
    entry.interest = event;
    entry.in_kernel = !ours;
    socket.in_sets.store(true, std::memory_order_relaxed);
    by_socket_.emplace(&socket, entries_.size());
    entries_.push_back(entry);
    ours_ += ours ? 1 : 0;
    heat(entries_.size() - 1);
    publish();
    return 0;
}

int EpollSet::control(const RealCalls& real,
                      Process& process,
                      int operation,
                      int fd,
                      Socket& socket,
                      const epoll_event* event) {
    const std::lock_guard guard(mutex_);
    Entry* entry = find(fd, socket);
    int rc = 0;
    if (operation == EPOLL_CTL_ADD && !fits_exclusive(event)) {
        rc = -EINVAL;
    } else if (entry != nullptr && !entry->in_kernel) {
        rc = control_ours(operation, *entry, event);
    } else if (operation == EPOLL_CTL_ADD && entry == nullptr && event != nullptr) {
        rc = add(real, fd, socket, *event);
    } else if (real.epoll_ctl(epfd(), operation, fd, const_cast<epoll_event*>(event)) != 0) {
        rc = -errno;
    } else if (entry != nullptr && operation == EPOLL_CTL_DEL) {
        erase(static_cast<std::size_t>(entry - entries_.data()));
    } else if (entry != nullptr) {
        entry->interest = *event;
    }
    if (rc == 0 && operation != EPOLL_CTL_DEL && has_served()) {
        ring(real, process);
    }
    return rc;
}

int EpollSet::control_ours(int operation, Entry& entry, const epoll_event* event) {
    switch (operation) {
    case EPOLL_CTL_ADD:
        return -EEXIST;
    case EPOLL_CTL_DEL:
        erase(static_cast<std::size_t>(&entry - entries_.data()));
        return 0;
    case EPOLL_CTL_MOD:
        if (event == nullptr) {
            return -EFAULT;
        }
        if (((event->events | entry.interest.events) & EPOLLEXCLUSIVE) != 0) {
            return -EINVAL;
        }
        entry.interest = *event;
        entry.disabled = false;
        entry.fresh = true;
        heat(static_cast<std::size_t>(&entry - entries_.data()));
        return 0;
    default:
        return -EINVAL;
    }
}

int EpollSet::control_nested(const RealCalls& real,
                             Process& process,
                             int operation,
                             int fd,
                             EpollSet& inner,
                             const epoll_event* event) {
    const std::lock_guard guard(mutex_);
    const auto known = std::find_if(nested_.begin(), nested_.end(), [&](const auto& nested) {
        return nested->fd == fd && nested->inner == &inner;
    });
    const bool adds = operation == EPOLL_CTL_ADD && known == nested_.end();
    const bool modifies = operation == EPOLL_CTL_MOD && known != nested_.end();
    std::unique_ptr<Nested> fresh = adds ? std::make_unique<Nested>() : nullptr;
    epoll_event tagged{};
    if (adds || modifies) {
        const Nested& nested = adds ? *fresh : **known;
        tagged.events = event->events & ~std::uint32_t{EPOLLONESHOT};
        tagged.data.u64 = nested_tag(&nested);
    }
    epoll_event* argument = adds || modifies ? &tagged : const_cast<epoll_event*>(event);
    // The kernel goes first: it knows loops, depths and what else cannot be.
    if (real.epoll_ctl(epfd(), operation, fd, argument) != 0) {
        return -errno;
    }
    if (adds || modifies) {
        Nested& nested = adds ? *nested_.emplace_back(std::move(fresh)) : **known;
        nested.fd = fd;
        nested.inner = &inner;
        nested.interest = *event;
        nested.disabled = false;
        nested.seen_mark = 0;
        publish();
        ring(real, process);
    } else if (operation == EPOLL_CTL_DEL && known != nested_.end()) {
        nested_.erase(known);
        publish();
    }
    return 0;
}

void EpollSet::give_to_kernel(const RealCalls& real, Entry& entry) {
    constexpr std::uint32_t kModes = EPOLLET | EPOLLONESHOT | EPOLLWAKEUP | EPOLLEXCLUSIVE;
    epoll_event event = entry.interest;
    if (entry.disabled) {
        event.events &= kModes;
    }
    // The number may have been closed, and used again, while a copy (dup) keeps the connection in the set.
    struct stat now {};
    const bool names_it = ::fstat(entry.fd, &now) == 0 && now.st_ino == entry.socket->inode;
    // A relative that shares the kernel set may have done so already (EEXIST).
    real.epoll_ctl(epfd(), EPOLL_CTL_ADD, names_it ? entry.fd : entry.socket->fd.get(), &event);
    entry.in_kernel = true;
    moves_.fetch_add(1, std::memory_order_release);
    chill(static_cast<std::size_t>(&entry - entries_.data()));
    --ours_;
}

void EpollSet::on_phase(const RealCalls& real, Process& process, Socket& socket) {
    const std::lock_guard guard(mutex_);
    const bool ours = Socket::is_ours(socket.phase());
    const auto [first, last] = by_socket_.equal_range(&socket);
    for (auto it = first; it != last; ++it) {
        Entry& entry = entries_[it->second];
        if (ours && entry.in_kernel) {
            real.epoll_ctl(epfd(), EPOLL_CTL_DEL, entry.fd, nullptr);
            entry.in_kernel = false;
            entry.fresh = true;
            ++ours_;
        } else if (!ours && !entry.in_kernel) {
            give_to_kernel(real, entry);
        }
        heat(it->second);
    }
    if (first != last) {
        publish();
        ring(real, process);
    }
}

void EpollSet::drop(const Socket& socket) {
    const std::lock_guard guard(mutex_);
    for (auto it = by_socket_.find(&socket); it != by_socket_.end();
         it = by_socket_.find(&socket)) {
        erase(it->second);
    }
}

void EpollSet::drop_nested(const EpollSet& inner) {
    const std::lock_guard guard(mutex_);
    if (std::erase_if(nested_, [&](const auto& nested) { return nested->inner == &inner; }) != 0) {
        publish();
    }
}

} // namespace smcd::preload
