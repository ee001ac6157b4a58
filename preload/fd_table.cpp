#include "preload/fd_table.hpp"

#include <sys/mman.h>

#include <new>

namespace smcd::preload {

void FdTable::exchange(int fd, const Socket* socket, std::uintptr_t tag) noexcept {
    std::uintptr_t seen = load(fd);
    if (seen == 0) {
        return;
    }
    const auto object = reinterpret_cast<std::uintptr_t>(socket);
    const auto number = static_cast<unsigned>(fd);
    std::atomic<std::uintptr_t>& slot =
        (*pages_[number / kPageSlots].load(std::memory_order_acquire))[number % kPageSlots];
    while ((seen & ~kTagMask) == object && (seen & kTagMask) != kSet &&
           !slot.compare_exchange_weak(seen, object | tag, std::memory_order_acq_rel)) {
    }
}

bool FdTable::store(int fd, std::uintptr_t word) noexcept {
    const auto number = static_cast<unsigned>(fd);
    if (number >= kPages * kPageSlots) {
        return false;
    }
    std::atomic<Page*>& entry = pages_[number / kPageSlots];
    Page* page = entry.load(std::memory_order_acquire);
    if (page == nullptr) {
        // mmap, not new: close() and socket() may be called where allocation is forbidden.
        void* memory =
            ::mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) {
            return false;
        }
        auto* fresh = new (memory) Page();
        if (entry.compare_exchange_strong(page, fresh, std::memory_order_acq_rel)) {
            page = fresh;
        } else {
            ::munmap(memory, sizeof(Page));
        }
    }
    (*page)[number % kPageSlots].store(word, std::memory_order_release);  // sync: fd-slot
    int end = end_.load(std::memory_order_relaxed);
    while (word != 0 && end <= fd &&
           !end_.compare_exchange_weak(end, fd + 1, std::memory_order_relaxed)) {
    }
    return true;
}

}  // namespace smcd::preload
