// FdTable: descriptor number -> what we know of it, or nothing. Floor 4, HOT.
//
// "Not ours" costs two loads and a branch. A slot is one word: a pointer with a tag in its low bits. Pages are made on
// demand and never freed; nothing is sized by RLIMIT_NOFILE.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "smcd/runtime/socket.hpp"

namespace smcd::preload {

class EpollSet;

class FdTable {
public:
    /// The Socket of a connection whose calls we serve; nullptr for all else, plain TCP included. An inherited one
    /// is taken now (smcd/runtime/inheritance.hpp), which may block.
    [[nodiscard]] Socket* active(int fd) const noexcept {
        const std::uintptr_t word = load(fd);
        if ((word & kTagMask) == kActive) {
            return reinterpret_cast<Socket*>(word);
        }
        return (word & kTagMask) == kInherited ? take_(fd) : nullptr;
    }

    /// The Socket of any TCP socket that we follow (candidates, listeners, plain TCP connections too).
    [[nodiscard]] Socket* socket(int fd) const noexcept {
        const std::uintptr_t word = load(fd);
        return (word & kTagMask) == kSet ? nullptr : reinterpret_cast<Socket*>(word & ~kTagMask);
    }

    [[nodiscard]] EpollSet* set(int fd) const noexcept {
        const std::uintptr_t word = load(fd);
        return (word & kTagMask) == kSet ? reinterpret_cast<EpollSet*>(word & ~kTagMask) : nullptr;
    }

    [[nodiscard]] bool known(int fd) const noexcept { return load(fd) != 0; }

    /// false: the number is beyond the table or there is no memory; the descriptor stays unknown.
    bool put_socket(int fd, Socket* socket, bool active) noexcept {
        return store(fd, reinterpret_cast<std::uintptr_t>(socket) | (active ? kActive : kPassive));
    }
    bool put_set(int fd, EpollSet* set) noexcept {
        return store(fd, reinterpret_cast<std::uintptr_t>(set) | kSet);
    }
    /// Like put_socket() where the number still names `socket`: another thread may close it at this moment.
    void retag(int fd, const Socket* socket, bool active) noexcept {
        exchange(fd, socket, active ? kActive : kPassive);
    }
    /// The next active() calls `take`, which stores the number anew. Where the number still names `socket`.
    void retag_inherited(int fd, const Socket* socket, Socket* (*take)(int)) noexcept {
        take_ = take;
        exchange(fd, socket, kInherited);
    }
    [[nodiscard]] bool inherited(int fd) const noexcept { return (load(fd) & kTagMask) == kInherited; }
    void clear(int fd) noexcept {
        if (load(fd) != 0) {
            store(fd, 0);
        }
    }

    /// One past the highest number ever stored.
    [[nodiscard]] int end() const noexcept { return end_.load(std::memory_order_relaxed); }

private:
    static constexpr std::uintptr_t kActive = 0;
    static constexpr std::uintptr_t kPassive = 1;
    static constexpr std::uintptr_t kSet = 2;
    static constexpr std::uintptr_t kInherited = 3;
    static constexpr std::uintptr_t kTagMask = 3;
    static constexpr unsigned kPageSlots = 1024;
    static constexpr unsigned kPages = 1024;
    using Page = std::array<std::atomic<std::uintptr_t>, kPageSlots>;

    [[nodiscard]] std::uintptr_t load(int fd) const noexcept {
        const auto number = static_cast<unsigned>(fd);
        if (number >= kPages * kPageSlots) [[unlikely]] {
            return 0;
        }
        const Page* page = pages_[number / kPageSlots].load(std::memory_order_acquire);
        // acquire: pairs with store(): the object is complete before the number names it (sync: fd-slot).
        return page == nullptr ? 0 : (*page)[number % kPageSlots].load(std::memory_order_acquire);
    }
    bool store(int fd, std::uintptr_t word) noexcept;
    void exchange(int fd, const Socket* socket, std::uintptr_t tag) noexcept;

    std::array<std::atomic<Page*>, kPages> pages_{};
    std::atomic<int> end_{0};
    Socket* (*take_)(int) = nullptr;
};

}  // namespace smcd::preload
