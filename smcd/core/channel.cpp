#include "smcd/core/channel.hpp"

namespace smcd {
namespace {

/// Counters have one writer at a time (the direction's lock holder): no locked instruction is needed.
void bump(std::atomic<std::uint64_t>& counter) noexcept {
    counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

void ring(Channel& channel,
          std::atomic<std::uint64_t>& doors_word,
          std::atomic<std::uint32_t>& futex_word) noexcept {
    if (channel.copy != nullptr) {
        push(channel);
        bump(channel.block->waits.wakeups_sent);
        return;
    }
    if (doors_word.load(std::memory_order_relaxed) != 0) {
        // Exchange: of several movers one signals. Bits armed after it belong to the next publication.
        const std::uint64_t doors = doors_word.exchange(0, std::memory_order_acq_rel);
        if (doors != 0) {
            channel.device->signal(channel.remote, doors);
        }
    }
    if (futex_word.load(std::memory_order_relaxed) != 0) {
        channel.device->wake(channel.remote, futex_word);
    }
    bump(channel.block->waits.wakeups_sent);
}

/// Zero but for the flag.
ConnBlock the_closed_block{};

}  // namespace

Channel closed_channel() noexcept {
    Channel channel;
    channel.block = &closed_block();
    return channel;
}

ConnBlock& closed_block() noexcept {
    the_closed_block.flags.store(kFlagFrozen, std::memory_order_relaxed);
    return the_closed_block;
}

void open_channel(Channel& channel) noexcept {
    ConnBlock& block = *channel.block;
    block.tx.producer.store(0, std::memory_order_relaxed);
    block.tx.peer_consumer.store(0, std::memory_order_relaxed);
    block.tx.state_flags.store(0, std::memory_order_relaxed);
    block.rx.consumer.store(0, std::memory_order_relaxed);
    block.rx.published.store(0, std::memory_order_relaxed);
    block.rx.peer_producer.store(0, std::memory_order_relaxed);
    block.rx.peer_flags.store(0, std::memory_order_relaxed);
    // Native order: the type is byte 0 of the area (kernel layout).
    channel.peer.cdc->type.store(kCdcType, std::memory_order_relaxed);
}

void store_consumer_word(Channel& channel) noexcept {
    const ConnBlock& block = *channel.block;
    // seq_cst loads and a second look: two threads (receiver: cursor, sender: flags) may store the word at once, and the
    // one that stored stale values must notice it and store again.
    for (;;) {
        const std::uint64_t cursor = block.rx.published.load(std::memory_order_seq_cst);
        const std::uint32_t flags = block.tx.state_flags.load(std::memory_order_seq_cst);
        CdcWord word{unpack(cursor).cursor};
        word.state_flags = static_cast<std::uint8_t>(flags);
        channel.peer.cdc->consumer.store(pack(word), std::memory_order_seq_cst);  // sync: cdc
        if (block.rx.published.load(std::memory_order_seq_cst) == cursor &&
            block.tx.state_flags.load(std::memory_order_seq_cst) == flags) {
            return;
        }
    }
}

void notify_data(Channel& channel) noexcept {
    // sync: bell. Publish, full fence, look at the bell; the sleeper arms, fences, looks at the cursor.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    dev::Bells& bells = *channel.peer_bells;
    if ((bells.doors_in.load(std::memory_order_relaxed) |
         bells.futex_in.load(std::memory_order_relaxed)) == 0) [[likely]] {
        bump(channel.block->waits.wakeups_suppressed);
        return;
    }
    ring(channel, bells.doors_in, bells.futex_in);
}

void notify_space(Channel& channel) noexcept {
    std::atomic_thread_fence(std::memory_order_seq_cst);  // sync: bell
    dev::Bells& bells = *channel.peer_bells;
    if ((bells.doors_out.load(std::memory_order_relaxed) |
         bells.futex_out.load(std::memory_order_relaxed)) == 0) [[likely]] {
        return;
    }
    ring(channel, bells.doors_out, bells.futex_out);
}

void notify_state(Channel& channel) noexcept {
    notify_data(channel);
    notify_space(channel);
}

}  // namespace smcd
