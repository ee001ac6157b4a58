#include "preload/shim.hpp"

#include <sys/auxv.h>

#include <mutex>
#include <new>

#include "smcd/base/raw_syscall.hpp"
#include "smcd/runtime/inheritance.hpp"

namespace smcd::preload {

constinit std::atomic<Shim*> instance{nullptr};

namespace {

/// Storage of the one object: it is never destroyed, because calls keep coming until the very end of the process.
alignas(Shim) std::byte storage[sizeof(Shim)];
constinit std::atomic<bool> refused{false};
constinit std::once_flag started;

void retag_active(Socket& socket) {
    if (Shim* self = shim(); self != nullptr) {
        self->retag(socket, Socket::is_ours(socket.phase()));
    }
}

void mark_inherited(Socket& socket) {
    if (Shim* self = shim(); self != nullptr) {
        self->retag_inherited(socket);
    }
}

/// The first call on an inherited connection.
Socket* take(int fd) {
    Shim& self = *shim();
    Socket* socket = self.table.socket(fd);
    const int saved = errno;
    take_inherited(self.process, *socket);
    const bool ours = Socket::is_ours(socket->phase());
    self.retag(*socket, ours);
    errno = saved;
    return ours ? socket : nullptr;
}

void start() noexcept {
    // Set-uid, set-gid, file capabilities: nothing of ours may have an effect.
    if (::getauxval(AT_SECURE) != 0) {
        refused.store(true, std::memory_order_release);
        return;
    }
    try {
        Config config = read_config();
        if (config.disabled) {
            refused.store(true, std::memory_order_release);
            return;
        }
        config.samples_tcp = true;
        instance.store(new (storage) Shim(real_calls(), std::move(config)), std::memory_order_release);
    } catch (...) {
        refused.store(true, std::memory_order_release);
    }
}

}  // namespace

Shim* shim_or_start() noexcept {
    Shim* self = instance.load(std::memory_order_acquire);
    if (self != nullptr || refused.load(std::memory_order_acquire)) [[likely]] {
        return self;
    }
    std::call_once(started, start);
    return instance.load(std::memory_order_acquire);
}

Shim::Shim(const RealCalls& real_table, Config config)
    : real(real_table),
      process(std::move(config)),
      epoll(real_table, process),
      pid_(raw::getpid()) {
    epoll.set_retag(&retag_active, &mark_inherited);
    process.set_observer(&epoll);
}

bool Shim::in_vfork_child() const noexcept {
    return raw::getpid() != pid_.load(std::memory_order_relaxed);
}

void Shim::after_fork_in_child() noexcept {
    pid_.store(raw::getpid(), std::memory_order_relaxed);
}

void Shim::adopt(int fd, Socket* socket, bool active) noexcept {
    if (!table.put_socket(fd, socket, active)) {
        process.release_socket(*socket);
    }
}

void Shim::retag(const Socket& socket, bool active) noexcept {
    if (socket.references.load(std::memory_order_relaxed) == 1) {
        table.retag(socket.fd, &socket, active);
        return;
    }
    for (int fd = 0; fd < table.end(); ++fd) {
        table.retag(fd, &socket, active);
    }
}

void Shim::retag_inherited(const Socket& socket) noexcept {
    for (int fd = socket.references.load(std::memory_order_relaxed) == 1 ? socket.fd.get() : 0; fd < table.end(); ++fd) {
        table.retag_inherited(fd, &socket, &take);
        if (fd == socket.fd && socket.references.load(std::memory_order_relaxed) == 1) {
            return;
        }
    }
}

void Shim::forget_set(int fd, EpollSet& set) {
    table.clear(fd);
    // sync: set-references. The last one sees what the others did to the set.
    if (set.references.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        epoll.release(set);
        return;
    }
    for (int other = 0; set.epfd() == fd && other < table.end(); ++other) {
        if (table.set(other) == &set) {
            set.rename(other);
        }
    }
}

void Shim::forget(int fd, NumberGone how) {
    if (EpollSet* set = table.set(fd); set != nullptr) {
        forget_set(fd, *set);
        return;
    }
    if (Socket* socket = table.socket(fd); socket != nullptr) {
        table.clear(fd);
        take_number(fd, *socket, how);
    }
}

void Shim::replace(int fd, Socket& by) {
    Socket* const socket = table.socket(fd);
    by.references.fetch_add(1, std::memory_order_acq_rel);
    table.put_socket(fd, &by, true);
    take_number(fd, *socket, NumberGone::replaced);
}

void Shim::take_number(int fd, Socket& socket, NumberGone how) {
    if (socket.references.fetch_sub(1, std::memory_order_acq_rel) > 1) {
        // Another number still names it: the progress thread and the handshake must use that one.
        const std::lock_guard lifecycle(process.lifecycle_mutex());
        process.note_inode(socket);
        for (int other = 0; socket.fd == fd && other < table.end(); ++other) {
            if (table.socket(other) == &socket) {
                socket.fd = other;
            }
        }
        return;
    }
    epoll.on_recycled(socket);
    process.release_socket(socket, how);
}

}  // namespace smcd::preload
