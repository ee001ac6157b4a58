// Moving data and raising signals. HOT: move_data. Floor 2.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>

#include "devices/ism/impl.hpp"

namespace smcd::dev {
namespace {

constexpr std::size_t kWordBytes = 8;
/// Control words go one by one, so that their reader never sees a half; streams go as they come.
constexpr std::size_t kWordwiseMax = 64;
constexpr std::uint16_t kFirstElement = 0x8000;

bool is_aligned(const void* address) noexcept {
    return reinterpret_cast<std::uintptr_t>(address) % kWordBytes == 0;
}

void copy_in(std::byte* target, std::span<const std::byte> data) noexcept {
    if (data.empty()) {
        return;
    }
    if (data.size() > kWordwiseMax || data.size() % kWordBytes != 0 || !is_aligned(target)) {
        std::memcpy(target, data.data(), data.size());
        return;
    }
    for (std::size_t i = 0; i < data.size(); i += kWordBytes) {
        std::uint64_t word = 0;
        std::memcpy(&word, data.data() + i, kWordBytes);
        // Ascending, each releasing what was moved before. sync: cdc
        std::atomic_ref<std::uint64_t>(*reinterpret_cast<std::uint64_t*>(target + i))
            .store(word, std::memory_order_release);
    }
}

} // namespace

/// The DMB, if that range of it may be written now.
Result<IsmDevice::Impl::Remote*>
IsmDevice::Impl::find_for(DmbToken token, std::uint32_t offset, std::size_t bytes) {
    if (disabled.load(std::memory_order_acquire)) {
        on_loss();
        return Error(std::errc::no_such_device);
    }
    const auto found = remote_.find(token.value());
    if (found == remote_.end()) {
        return Error(std::errc::invalid_argument);
    }
    Remote& remote = found->second;
    const std::size_t size = remote.dmb.memory.size();
    if (offset > size || bytes > size - offset) {
        return Error(std::errc::bad_address);
    }
    const std::uint64_t word = ism_word_of(*remote.dmb.bells).load(std::memory_order_acquire);
    if (word == kIsmDisabled) {
        on_loss();
        return Error(std::errc::no_such_device);
    }
    if (word != token.value()) {
        return Error(std::errc::invalid_argument);
    }
    return &remote;
}

/// One move instruction, checked already.
void IsmDevice::Impl::execute(Remote& remote,
                              const MoveCommand& command,
                              std::span<const std::byte> data) {
    copy_in(remote.dmb.memory.data() + command.offset, data);
    counts.moves.fetch_add(1, std::memory_order_relaxed);
    counts.bytes.fetch_add(data.size(), std::memory_order_relaxed);
    if (command.signal) {
        interrupt(remote, command.element);
    }
}

/// The data are there. Raises the signal and wakes who has armed a bell: for data or for space, the
/// hardware does not tell them apart either.
void IsmDevice::Impl::interrupt(Remote& remote, std::uint8_t element) noexcept {
    const auto mask = static_cast<std::uint16_t>(kFirstElement >> element);
    counts.signals.fetch_add(1, std::memory_order_relaxed);
    if (remote.status != nullptr && !remote.status->raise(remote.dmb.index, mask)) {
        counts.merged.fetch_add(1, std::memory_order_relaxed);
    }
    // sync: bell. Publish, full fence, look at the bells; a sleeper arms, fences, looks again.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    Bells& bells = *remote.dmb.bells;
    std::uint64_t doors = 0;
    for (auto* word : {&bells.doors_in, &bells.doors_out}) {
        if (word->load(std::memory_order_relaxed) != 0) {
            doors |= word->exchange(0, std::memory_order_acq_rel);
        }
    }
    if (doors != 0) {
        bus.signal(remote.dmb, doors);
    }
    for (auto* word : {&bells.futex_in, &bells.futex_out}) {
        if (word->load(std::memory_order_relaxed) != 0) {
            bus.wake(remote.dmb, *word);
        }
    }
}

Result<void> IsmDevice::Impl::move(const MoveCommand& command, std::span<const std::byte> data) {
    const std::shared_lock guard(lock_);
    const bool crosses = data.size() > kMoveBoundary - command.offset % kMoveBoundary;
    auto remote = find_for(command.token, command.offset, data.size());
    if (!remote || crosses || command.element > kMoveElementMax) {
        counts.refused.fetch_add(1, std::memory_order_relaxed);
        return remote ? Error(std::errc::bad_address) : Error(remote.error());
    }
    execute(**remote, unpack_move(pack(command)), data);
    return {};
}

Result<void> IsmDevice::Impl::move_data(DmbToken token,
                                        bool signal,
                                        std::uint32_t offset,
                                        std::span<const std::byte> data) {
    const std::shared_lock guard(lock_);
    auto remote = find_for(token, offset, data.size());
    if (!remote) {
        counts.refused.fetch_add(1, std::memory_order_relaxed);
        return Error(remote.error());
    }
    while (!data.empty()) {
        const std::size_t n =
            std::min<std::size_t>(data.size(), kMoveBoundary - offset % kMoveBoundary);
        const bool last = n == data.size();
        execute(**remote, {token, 0, signal && last, offset}, data.first(n));
        if (last) {
            return {};
        }
        data = data.subspan(n);
        offset += static_cast<std::uint32_t>(n);
    }
    if (signal) {
        interrupt(**remote, 0);
    }
    return {};
}

void IsmDevice::Impl::signal(const RemoteDmb& dmb, std::uint64_t doors) noexcept {
    const std::shared_lock guard(lock_);
    const auto found = remote_.find(dmb.token.value());
    if (found == remote_.end() || disabled.load(std::memory_order_acquire)) {
        return;
    }
    if (found->second.status != nullptr && doors != 0) {
        found->second.status->raise(dmb.index, kFirstElement);
    }
    bus.signal(found->second.dmb, doors);
}

} // namespace smcd::dev
