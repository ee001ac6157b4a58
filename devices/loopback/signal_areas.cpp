// Reserving and recycling the addresses of signal areas. Floor 2.
#include "devices/loopback/signal_areas.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <new>

#include "smcd/base/raw_syscall.hpp"

namespace smcd::dev {
namespace {

/// Exchanges the pages at `address` under the kernel's map lock: a concurrent reader faults and
/// waits, it finds no hole. By raw system call: for ThreadSanitizer, which knows nothing of that
/// lock, libc's mmap() writes all the memory.
bool replace_pages(void* address, int flags, int memfd) noexcept {
    return raw::mmap(
               address, kSignalAreaBytes, PROT_READ | PROT_WRITE, flags | MAP_FIXED, memfd, 0) !=
           MAP_FAILED;
}

/// Empty memory: it costs nothing until it is written.
constexpr int kNothing = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;

} // namespace

SignalAreas::~SignalAreas() {
    for (std::uint32_t place = 0; place < reserved_; ++place) {
        ::munmap((*chunks_[place / kChunk])[place % kChunk].load(std::memory_order_relaxed),
                 kSignalAreaBytes);
    }
}

Result<std::uint32_t> SignalAreas::reserve() {
    const auto free = std::find(taken_.begin(), taken_.end(), false);
    if (free != taken_.end()) {
        return static_cast<std::uint32_t>(free - taken_.begin()); // lowest first: scans stay short
    }
    if (reserved_ == kCapacity) {
        return Error(std::errc::no_space_on_device);
    }
    taken_.reserve(reserved_ + 1);
    std::unique_ptr<Chunk>& chunk = chunks_[reserved_ / kChunk];
    if (chunk == nullptr) {
        chunk = std::make_unique<Chunk>();
    }
    void* address = ::mmap(nullptr, kSignalAreaBytes, PROT_READ | PROT_WRITE, kNothing, -1, 0);
    if (address == MAP_FAILED) {
        return errno_error();
    }
    (*chunk)[reserved_ % kChunk].store(static_cast<SignalArea*>(address),
                                       std::memory_order_release);
    taken_.push_back(false);
    return reserved_++;
}

Result<std::uint32_t> SignalAreas::add(int memfd) {
    SMCD_TRY(const std::uint32_t place, reserve());
    SignalArea* area = (*chunks_[place / kChunk])[place % kChunk].load(std::memory_order_relaxed);
    if (!replace_pages(area, MAP_SHARED, memfd)) {
        return errno_error();
    }
    taken_[place] = true;
    if (place >= count_.load(std::memory_order_relaxed)) {
        count_.store(place + 1, std::memory_order_release); // sync: area-place
    }
    return place;
}

void SignalAreas::remove(std::uint32_t place) noexcept {
    void* area = (*chunks_[place / kChunk])[place % kChunk].load(std::memory_order_relaxed);
    // Should that fail, the peer's memory stays mapped until the place is used again: hints from
    // nobody.
    static_cast<void>(replace_pages(area, kNothing, -1));
    taken_[place] = false;
    std::uint32_t count = count_.load(std::memory_order_relaxed);
    while (count > 0 && !taken_[count - 1]) {
        --count;
    }
    count_.store(count, std::memory_order_release); // sync: area-place
}

} // namespace smcd::dev
