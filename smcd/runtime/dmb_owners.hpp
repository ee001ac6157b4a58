// DmbOwners: which socket receives into a DMB, by device and index. Floor 3. What a peer signals is
// a number; this makes a Socket of it, without a lock.
//
// Sockets are type-stable, so an answer that is late costs a needless look.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

#include "devices/api/device.hpp"
#include "smcd/base/ids.hpp"

namespace smcd {

class Socket;

class DmbOwners {
public:
    DmbOwners() = default;
    DmbOwners(const DmbOwners&) = delete;
    DmbOwners& operator=(const DmbOwners&) = delete;

    ~DmbOwners() {
        for (PerDevice& entry : devices_) {
            for (std::atomic<Chunk*>& chunk : entry.chunks) {
                delete chunk.load(std::memory_order_relaxed);
            }
        }
    }

    /// Before a peer can signal the DMB. false: no memory, or the index is beyond the table; such
    /// a socket is never found. Thread: any.
    bool put(const dev::Device& device, SbaIndex index, Socket* socket) noexcept {
        PerDevice* entry = entry_for(device);
        if (entry == nullptr || index.value() >= kChunks * kChunkSlots) {
            return false;
        }
        std::atomic<Chunk*>& place = entry->chunks[index.value() / kChunkSlots];
        Chunk* chunk = place.load(std::memory_order_acquire);
        if (chunk == nullptr) {
            // NOLINTNEXTLINE(cppcoreguidelines-owning-memory): make_unique would throw
            auto* fresh = new (std::nothrow) Chunk();
            if (fresh == nullptr) {
                return false;
            }
            if (place.compare_exchange_strong(chunk, fresh, std::memory_order_acq_rel)) {
                chunk = fresh;
            } else {
                delete fresh;
            }
        }
        (*chunk)[index.value() % kChunkSlots].store(socket, std::memory_order_release);
        return true;
    }

    /// Before the DMB is unregistered. Thread: any.
    void clear(const dev::Device& device, SbaIndex index) noexcept {
        if (find(device, index) != nullptr) {
            static_cast<void>(put(device, index, nullptr));
        }
    }

    /// nullptr: nobody. Thread: any, lock-free; any index may be asked for.
    [[nodiscard]] Socket* find(const dev::Device& device, SbaIndex index) const noexcept {
        for (const PerDevice& entry : devices_) {
            if (entry.device.load(std::memory_order_acquire) != &device) {
                continue;
            }
            if (index.value() >= kChunks * kChunkSlots) {
                return nullptr;
            }
            const Chunk* chunk =
                entry.chunks[index.value() / kChunkSlots].load(std::memory_order_acquire);
            return chunk == nullptr
                       ? nullptr
                       : (*chunk)[index.value() % kChunkSlots].load(std::memory_order_acquire);
        }
        return nullptr;
    }

private:
    static constexpr std::size_t kDevicesMax = 8;
    static constexpr std::size_t kChunkSlots = 1024;
    static constexpr std::size_t kChunks = 64;
    using Chunk = std::array<std::atomic<Socket*>, kChunkSlots>;

    struct PerDevice {
        std::atomic<const dev::Device*> device{nullptr};
        std::array<std::atomic<Chunk*>, kChunks> chunks{};
    };

    PerDevice* entry_for(const dev::Device& device) noexcept {
        for (PerDevice& entry : devices_) {
            const dev::Device* there = nullptr;
            if (entry.device.compare_exchange_strong(there, &device, std::memory_order_acq_rel) ||
                there == &device) {
                return &entry;
            }
        }
        return nullptr;
    }

    std::array<PerDevice, kDevicesMax> devices_;
};

} // namespace smcd
