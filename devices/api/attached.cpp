#include "devices/api/attached.hpp"

#include <cerrno>
#include <cstring>

#include "smcd/base/raw_syscall.hpp"

namespace smcd::dev {

void wake_futex(std::atomic<std::uint32_t>& word) noexcept {
    if (word.exchange(0, std::memory_order_acq_rel) == 0) {
        return; // nobody sleeps, or another thread wakes them
    }
    const int saved = errno;
    static_cast<void>(raw::futex_wake(word)); // in vain where the sleeper looks by itself
    errno = saved;
}

Result<std::uint64_t> move_into(const RemoteDmb& target,
                                bool signal_owner,
                                std::uint32_t offset,
                                std::span<const std::byte> data) {
    if (offset > target.memory.size() || data.size() > target.memory.size() - offset) {
        return Error(std::errc::bad_address);
    }
    if (!data.empty()) {
        std::memcpy(target.memory.data() + offset, data.data(), data.size());
    }
    if (!signal_owner) {
        return 0;
    }
    wake_futex(target.bells->futex_in);
    return target.bells->doors_in.exchange(0, std::memory_order_acq_rel);
}

} // namespace smcd::dev
