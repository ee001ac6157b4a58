// ConnArena: hands out ConnBlocks from memory that fork() shares and that `smcu ss` can find by its name. Floor 2.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>

#include "smcd/base/mapping.hpp"
#include "smcd/base/result.hpp"
#include "smcd/core/conn_block.hpp"
#include "smcd/core/relatives.hpp"

namespace smcd {

/// Bytes of one pre-buffer: what an application may send before the handshake's verdict. More would spare some programs a
/// wait; but what is here dies with a process that is killed, where TCP would deliver it. The switch to shared memory must
/// empty it at once: a peer whose ring is smaller limits it (HandshakeState::pre_limit).
inline constexpr std::uint32_t kPreBufferBytes = 38 * 1024;
/// What a pre-buffer may keep of its pages when it goes back.
inline constexpr std::uint32_t kPreBufferKeptBytes = 16 * 1024;

class ConnArena {
public:
    ConnArena() = default;
    ConnArena(const ConnArena&) = delete;
    ConnArena& operator=(const ConnArena&) = delete;

    /// A zeroed block with one holder and a fresh generation. ENOMEM when the limit or the memory is exhausted.
    Result<ConnBlock*> allocate();
    /// Gives up this process's hold. true: it was the last of those that live; the block is the caller's until free().
    /// false: the block is others', and may be another connection's at once.
    [[nodiscard]] bool release(ConnBlock& block) noexcept;
    /// After release() said true: the last access. The block may be another connection's at once.
    static void free(ConnBlock& block) noexcept;

    /// Whether relatives that live have the connection open. System calls only where some had it at the last look.
    [[nodiscard]] bool is_shared(ConnBlock& block) noexcept;
    /// Processes that hold blocks, and their ends.
    [[nodiscard]] Relatives& relatives() noexcept { return relatives_; }

    /// The block's pre-buffer, allocated at the first call; nullptr when there is no memory.
    std::byte* pre_buffer(ConnBlock& block);
    void free_pre_buffer(ConnBlock& block);

    /// In the child after fork(): inherited chunks belong to the parent; new blocks come from chunks of its own.
    void after_fork_in_child() noexcept;

    void lock() { mutex_.lock(); }
    void unlock() { mutex_.unlock(); }

private:
    static constexpr std::size_t kChunksMax = 1024;
    static constexpr std::size_t kPreBuffersMax = 8192;

    Result<void> grow();

    Relatives relatives_;
    std::mutex mutex_;
    std::array<Mapping, kChunksMax> chunks_;
    std::size_t chunk_count_ = 0;
    std::size_t own_begin_ = 0; ///< chunks before it were inherited
    std::size_t next_block_ = 0;
    std::array<Mapping, kPreBuffersMax> pre_buffers_;
    std::array<bool, kPreBuffersMax> pre_used_{};
    std::size_t pre_count_ = 0;
    std::size_t pre_begin_ = 0; ///< pre-buffers before it were inherited
};

}  // namespace smcd
