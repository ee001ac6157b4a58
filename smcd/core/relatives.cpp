#include "smcd/core/relatives.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstdio>

#include "smcd/base/high_fd.hpp"
#include "smcd/base/raw_syscall.hpp"

namespace smcd {
namespace {

/// The byte behind the slots'.
constexpr unsigned kGuardByte = kHolderSlots;
/// How often fork() tries to get the guard from a relative that looks; then the child goes without
/// a slot.
constexpr int kGuardTries = 200;

/// An OFD lock on some bytes. Whether that was possible; F_OFD_GETLK: whether it would be.
bool lock_bytes(int fd, int command, short type, unsigned first, unsigned count) noexcept {
    struct flock range {};

    range.l_type = type;
    range.l_whence = SEEK_SET;
    range.l_start = first;
    range.l_len = count;
    const int saved = errno;
    const int rc =
        raw::fcntl(fd, command, static_cast<long>(reinterpret_cast<std::uintptr_t>(&range)));
    errno = saved;
    return rc == 0 && (command != F_OFD_GETLK || range.l_type == F_UNLCK);
}

/// A further open file description of the same file.
UniqueFd open_again(int fd) noexcept {
    std::array<char, 32> path;
    std::snprintf(path.data(), path.size(), "/proc/self/fd/%d", fd);
    UniqueFd opened(raw::open(path.data(), O_RDWR | O_CLOEXEC));
    if (!opened.valid()) {
        return {};
    }
    auto lifted = lift_fd(std::move(opened));
    return lifted ? *std::move(lifted) : UniqueFd();
}

} // namespace

unsigned count_holders(std::uint64_t holders) noexcept {
    const auto unnamed = static_cast<unsigned>((holders & ~kBlockEnding) >> kHolderSlots);
    return static_cast<unsigned>(std::popcount(holders & (kHolderUnnamed - 1))) + unnamed;
}

bool Relatives::found_family() noexcept {
    // Who has no slot may share connections with a family whose file it has not: a second file
    // would give bits twice.
    if (own_.valid() || self_.bit() == kHolderUnnamed) {
        return own_.valid();
    }
    auto made = lift_fd(
        UniqueFd(static_cast<int>(::syscall(SYS_memfd_create, "smcd-family", 1U /* CLOEXEC */))));
    if (!made) {
        return false;
    }
    own_ = *std::move(made);
    const auto slot = static_cast<unsigned>(std::countr_zero(self_.bit()));
    if (!lock_bytes(own_.get(), F_OFD_SETLK, F_WRLCK, slot, 1)) {
        own_.reset();
    }
    return own_.valid();
}

bool Relatives::lock(bool patient) noexcept {
    if (patient) {
        mutex_.lock();
    } else if (!mutex_.try_lock()) {
        return false;
    }
    for (int tries = patient ? kGuardTries : 1; own_.valid() && tries > 0; --tries) {
        if (lock_bytes(own_.get(), F_OFD_SETLK, F_WRLCK, kGuardByte, 1)) {
            return true;
        }
        ::sched_yield();
    }
    mutex_.unlock();
    return false;
}

void Relatives::unlock() noexcept {
    lock_bytes(own_.get(), F_OFD_SETLK, F_UNLCK, kGuardByte, 1);
    mutex_.unlock();
}

std::uint64_t Relatives::ended_of(std::uint64_t bits) const noexcept {
    if (lock_bytes(own_.get(), F_OFD_GETLK, F_WRLCK, 0, kHolderSlots)) {
        return bits; // we are alone
    }
    std::uint64_t ended = 0;
    for (std::uint64_t rest = bits; rest != 0; rest &= rest - 1) {
        const auto slot = static_cast<unsigned>(std::countr_zero(rest));
        if (lock_bytes(own_.get(), F_OFD_GETLK, F_WRLCK, slot, 1)) {
            ended |= std::uint64_t{1} << slot;
        }
    }
    return ended;
}

bool Relatives::take_slot() noexcept {
    for (unsigned i = 0; i < kHolderSlots; ++i) {
        const unsigned slot = (next_ + i) % kHolderSlots;
        // Our own description has our own byte already, and would be given it again.
        if (std::uint64_t{1} << slot != self_.bit() &&
            lock_bytes(childs_.get(), F_OFD_SETLK, F_WRLCK, slot, 1)) {
            child_ = Holder(std::uint64_t{1} << slot);
            next_ = slot + 1;
            return true;
        }
    }
    return false;
}

void Relatives::before_fork(bool shares) noexcept {
    shares_ = shares;
    child_ = Holder(kHolderUnnamed);
    if (shares && found_family()) {
        childs_ = open_again(own_.get());
    }
    if (childs_.valid() && lock(true)) {
        static_cast<void>(take_slot());
        unlock();
    }
    mutex_.lock(); // a thread inside would hold it in the child for ever
}

void Relatives::after_fork_in_parent() noexcept {
    childs_.reset();
    mutex_.unlock();
}

void Relatives::after_fork_in_child() noexcept {
    own_.reset();
    own_ = std::move(childs_);
    self_ = shares_ ? child_ : Holder(kFirst);
    mutex_.unlock();
}

} // namespace smcd
