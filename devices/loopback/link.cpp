// Signalling a peer process. HOT: signal(). Floor 2, docs/shared-memory.md "links".
#include "devices/loopback/link.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <string_view>

#include "smcd/base/raw_syscall.hpp"

namespace smcd::dev {
namespace {

/// Status flags of an eventfd as DoorbellTable makes it.
bool flags_fit(int fd) noexcept {
    const int flags = raw::fcntl(fd, F_GETFL);
    return flags >= 0 && (flags & (O_ACCMODE | O_NONBLOCK)) == (O_RDWR | O_NONBLOCK);
}

/// The same without /proc (chroot): an anonymous inode that refuses the number which no eventfd takes. Others of that kind
/// cannot be written at all, or refuse whatever has no meaning to them.
bool looks_like_eventfd(int fd) noexcept {
    struct stat info {};
    const std::uint64_t refused = ~0ULL;
    return ::fstat(fd, &info) == 0 && (info.st_mode & S_IFMT) == 0 && flags_fit(fd) &&
           raw::write(fd, &refused, sizeof(refused)) == -1 && errno == EINVAL;
}

} // namespace

bool is_doorbell(int fd) noexcept {
    std::array<char, 40> path{};
    static_cast<void>(std::snprintf(path.data(), path.size(), "/proc/self/fd/%d", fd));
    std::array<char, 40> target{};
    const ssize_t length = ::readlink(path.data(), target.data(), target.size());
    if (length < 0 && errno == ENOENT) {
        return looks_like_eventfd(fd);
    }
    return length > 0 &&
           std::string_view(target.data(), static_cast<std::size_t>(length)) ==
               "anon_inode:[eventfd]" &&
           flags_fit(fd);
}

Link::Link() noexcept {
    for (std::atomic<int>& door_fd : door_fds) {
        door_fd.store(-1, std::memory_order_relaxed);
    }
}

Link::~Link() {
    for (std::atomic<int>& door_fd : door_fds) {
        UniqueFd(door_fd.load(std::memory_order_relaxed)).reset();
    }
}

RingResult Link::signal(unsigned door, SbaIndex index) noexcept {
    peer_area().raise(door, index);
    // sync: door-sleep. Raise, full fence, look at the epoch; the owner announces its sleep,
    // fences, looks for bits.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    // sync: door-generation. Acquire: the generation that write_doorbell() reads is not older.
    const std::uint32_t epoch = peer_line(door).epoch.load(std::memory_order_acquire);
    std::uint32_t last = rung[door].load(std::memory_order_relaxed);
    // Of several threads one rings; a stale epoch costs a spurious ring at worst.
    if ((epoch & 1U) == 0 || last == epoch ||
        !rung[door].compare_exchange_strong(last, epoch, std::memory_order_relaxed)) {
        return RingResult::not_needed;
    }
    return write_doorbell(door);
}

RingResult Link::write_doorbell(unsigned door) noexcept {
    if (door_generation[door].load(std::memory_order_acquire) != // sync: door-fd
        peer_line(door).generation.load(std::memory_order_relaxed)) {
        return RingResult::unreachable; // that would wake who had the index before, or nobody
    }
    const int fd = door_fds[door].load(std::memory_order_acquire); // sync: door-fd
    // The flags are looked at each time: the peer shares them, and a blocking write would be its
    // way to stop us.
    if (fd < 0 || !flags_fit(fd)) {
        return RingResult::unreachable;
    }
    constexpr std::uint64_t kOnce = 1;
    if (raw::write(fd, &kOnce, sizeof(kOnce)) != sizeof(kOnce) && errno != EAGAIN) {
        return RingResult::unreachable;
    }
    return RingResult::rung; // EAGAIN: the counter is full, its owner is awake
}

void Link::install_doorbell(unsigned door, UniqueFd event_fd, std::uint32_t generation) noexcept {
    const int old = door_fds[door].load(std::memory_order_relaxed);
    if (old < 0) {
        door_fds[door].store(event_fd.release(), std::memory_order_release); // sync: door-fd
    } else if (raw::dup3(event_fd.get(), old, O_CLOEXEC) < 0) {
        return;
    }
    door_generation[door].store(generation, std::memory_order_release); // sync: door-fd
}

} // namespace smcd::dev
