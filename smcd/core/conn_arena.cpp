#include "smcd/core/conn_arena.hpp"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <new>
#include <span>

#include "smcd/base/clock.hpp"
#include "smcd/base/memfd.hpp"
#include "smcd/base/unique_fd.hpp"

namespace smcd {
namespace {

ConnChunk& chunk_of(const Mapping& mapping) noexcept {
    return *reinterpret_cast<ConnChunk*>(mapping.data());
}

/// Blocks that nobody holds; closed ones keep their last phase for a reader that is just looking.
bool is_free(const ConnBlock& block) noexcept {
    return block.holders.load(std::memory_order_acquire) == 0;
}

void reinitialise(ConnBlock& block, std::uint32_t pid, Holder holder) noexcept {
    const std::uint32_t generation = block.generation.load(std::memory_order_relaxed) + 1;
    new (&block) ConnBlock();  // all members are zero-initialised by value-initialisation below
    std::memset(static_cast<void*>(&block), 0, sizeof(block));
    block.generation.store(generation, std::memory_order_relaxed);
    block.fd = -1;
    block.pid = pid;
    block.since_ns = monotonic_ns();
    block.holders.store(holder.bit(), std::memory_order_release);
}

/// Memory that `smcu ss` finds by its name; nameless where the program has used up its descriptors: a client that
/// is marked sends a Proposal whatever we lack, and only a block can keep it from the application.
Result<Mapping> make_chunk() {
    constexpr std::size_t kPage = 4096;
    constexpr std::size_t kBytes = (sizeof(ConnChunk) + kPage - 1) / kPage * kPage;
    const UniqueFd fd(static_cast<int>(::syscall(SYS_memfd_create, "smcd-conn", 1U /* CLOEXEC */)));
    if (!fd.valid()) {
        return Mapping::map_anonymous_shared(kBytes);
    }
    SMCD_TRY_VOID(size_memfd(fd.get(), kBytes));
    return Mapping::map_shared(fd.get(), kBytes, PROT_READ | PROT_WRITE);
}

}  // namespace

Result<void> ConnArena::grow() {
    if (chunk_count_ == kChunksMax) {
        return Error(std::errc::not_enough_memory);
    }
    SMCD_TRY(Mapping mapping, make_chunk());
    ConnChunkHeader& header = chunk_of(mapping).header;
    header.version = kConnChunkVersion;
    header.block_bytes = sizeof(ConnBlock);
    header.block_count = kBlocksPerChunk;
    header.pid = static_cast<std::uint32_t>(::getpid());
    header.magic = kConnChunkMagic;
    chunks_[chunk_count_++] = std::move(mapping);
    return {};
}

Result<ConnBlock*> ConnArena::allocate() {
    const std::lock_guard guard(mutex_);
    for (;;) {
        const std::size_t total = (chunk_count_ - own_begin_) * kBlocksPerChunk;
        for (std::size_t i = 0; i < total; ++i) {
            next_block_ = next_block_ + 1 >= total ? 0 : next_block_ + 1;
            ConnChunk& chunk = chunk_of(chunks_[own_begin_ + next_block_ / kBlocksPerChunk]);
            ConnBlock& block = chunk.blocks[next_block_ % kBlocksPerChunk];
            if (is_free(block)) {
                reinitialise(block, chunk.header.pid, relatives_.self());
                return &block;
            }
        }
        SMCD_TRY_VOID(grow());
        next_block_ = total == 0 ? 0 : total - 1;
    }
}

bool ConnArena::is_shared(ConnBlock& block) noexcept {
    const std::uint64_t holders = block.holders.load(std::memory_order_acquire);
    if (count_holders(holders) <= 1) {
        return false;
    }
    relatives_.each_ended(holders, [&block](std::uint64_t ended) {
        block.holders.fetch_and(~ended, std::memory_order_acq_rel);
    });
    return count_holders(block.holders.load(std::memory_order_acquire)) > 1;
}

bool ConnArena::release(ConnBlock& block) noexcept {
    static_cast<void>(is_shared(block));
    const Holder self = relatives_.self();
    // acq_rel: the last holder sees everything the others did. sync: block-free
    std::uint64_t holders = block.holders.load(std::memory_order_relaxed);
    std::uint64_t rest = 0;
    do {
        rest = self.without(holders);
    } while (!block.holders.compare_exchange_weak(holders,
                                                  rest == 0 ? kBlockEnding : rest,
                                                  std::memory_order_acq_rel,
                                                  std::memory_order_relaxed));
    return rest == 0;
}

void ConnArena::free(ConnBlock& block) noexcept {
    block.holders.store(0, std::memory_order_release);  // sync: block-free
}

std::byte* ConnArena::pre_buffer(ConnBlock& block) {
    if (block.pre_chunk != 0) {
        return pre_buffers_[block.pre_chunk - 1].data();
    }
    const std::lock_guard guard(mutex_);
    std::size_t index = pre_begin_;
    while (index < pre_count_ && pre_used_[index]) {
        ++index;
    }
    if (index == pre_count_) {
        if (pre_count_ == kPreBuffersMax) {
            return nullptr;
        }
        auto mapping = Mapping::map_anonymous_shared(kPreBufferBytes);
        if (!mapping) {
            return nullptr;
        }
        pre_buffers_[pre_count_++] = *std::move(mapping);
    }
    pre_used_[index] = true;
    block.pre_chunk = static_cast<std::uint32_t>(index + 1);
    return pre_buffers_[index].data();
}

void ConnArena::free_pre_buffer(ConnBlock& block) {
    const std::uint32_t chunk = block.pre_chunk;
    if (chunk == 0) {
        return;
    }
    const std::lock_guard guard(mutex_);
    if (block.pre_end.load(std::memory_order_relaxed) > kPreBufferKeptBytes) {
        const std::span<std::byte> rest = pre_buffers_[chunk - 1].bytes().subspan(kPreBufferKeptBytes);
        ::madvise(rest.data(), rest.size(), MADV_REMOVE);
    }
    block.pre_chunk = 0;
    if (chunk - 1 >= pre_begin_) {
        pre_used_[chunk - 1] = false;
    }
}

void ConnArena::after_fork_in_child() noexcept {
    own_begin_ = chunk_count_;
    pre_begin_ = pre_count_;
    next_block_ = 0;
}

}  // namespace smcd
