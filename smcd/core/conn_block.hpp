// ConnBlock: everything mutable of one connection, in memory that fork() shares, so that parent and child may both use
// it; also what `smcu ss` reads from outside. Floor 2, docs/shared-memory.md.
//
// Written by this process family only; no peer can reach it. Pointers stay out of it.
#pragma once

#include <sys/socket.h>
#include <netinet/in.h>

#include <array>
#include <atomic>
#include <cstdint>

namespace smcd {

/// How far a connection is. docs/architecture.md "life of a connection".
enum class Phase : std::uint32_t {
    unused = 0,
    connecting = 1, ///< non-blocking connect() under way; the Proposal follows
    handshake = 2,  ///< CLC under way; application bytes wait in the pre-buffer
    settling = 3,   ///< verdict TCP, but the pre-buffer is not written yet, or a CLC message may still stand inbound
    smc = 4,        ///< accelerated
    tcp = 5,        ///< plain TCP for good
    closed = 6,
    returning = 7,  ///< on its way from accelerated to plain TCP (smcd/runtime/return_tcp.hpp)
};

enum class Role : std::uint32_t { client = 0, server = 1 };

/// Bits of ConnBlock::flags.
inline constexpr std::uint32_t kFlagNonBlocking = 1U << 0U; ///< O_NONBLOCK of the open file description
inline constexpr std::uint32_t kFlagSwallow = 1U << 1U;     ///< settling: one CLC message may stand first inbound
inline constexpr std::uint32_t kFlagShutWrite = 1U << 2U;   ///< the application shut down writing
inline constexpr std::uint32_t kFlagShutRead = 1U << 3U;    ///< ... reading
inline constexpr std::uint32_t kFlagTcpHangup = 1U << 4U;   ///< TCP says that the peer is gone (or closed)
inline constexpr std::uint32_t kFlagReset = 1U << 5U;       ///< ended by error; so_error tells which
inline constexpr std::uint32_t kFlagFrozen = 1U << 6U;      ///< both rings have ended: the stream goes on over TCP
inline constexpr std::uint32_t kFlagForked = 1U << 7U;      ///< server: fork() came between Accept and Confirm
inline constexpr std::uint32_t kFlagFrameInbound = 1U << 8U; ///< settling: not a CLC message, the peer's return frame
inline constexpr std::uint32_t kFlagEnding = 1U << 9U;     ///< its last holder closes it on its rings: no return any more
inline constexpr std::uint32_t kFlagTellsInq = 1U << 10U; ///< TCP_INQ: recvmsg() tells how much is left
inline constexpr std::uint32_t kFlagFinSent = 1U << 11U;   ///< settling: the kernel has shut down writing

/// One direction's lock: the thread id of its holder; 0 free. Uncontended in ordinary programs.
struct DirectionLock {
    std::atomic<std::uint32_t> owner;
};

/// What the sending side knows. Words are packed cursors (cdc.hpp).
struct alignas(64) TxState {
    DirectionLock lock;
    std::atomic<std::uint32_t> state_flags;     ///< connection-state flags that we have sent
    std::atomic<std::uint64_t> producer;        ///< our producer cursor, as published
    std::atomic<std::uint64_t> peer_consumer;   ///< the peer's consumer cursor, as last accepted
    std::atomic<std::uint64_t> bytes;
    std::atomic<std::uint64_t> calls;
};

/// What the receiving side knows.
struct alignas(64) RxState {
    DirectionLock lock;
    std::atomic<std::uint32_t> peer_flags;      ///< connection-state flags that the peer has sent (sticky)
    std::atomic<std::uint64_t> consumer;        ///< our consumer cursor
    std::atomic<std::uint64_t> published;       ///< ... as last told to the peer
    std::atomic<std::uint64_t> peer_producer;   ///< the peer's producer cursor, as last accepted
    std::atomic<std::uint64_t> bytes;
    std::atomic<std::uint64_t> calls;
};

/// Waiters inside this process family for what does not come through the rings (verdicts, hang-up, shutdown).
struct alignas(64) LocalBells {
    std::atomic<std::uint64_t> doors;
    std::atomic<std::uint32_t> sequence; ///< futex word; changes with every local event
    std::atomic<std::uint32_t> sleepers;
};

/// How far a return to TCP is. Under the handshake lock.
struct ReturnState {
    std::atomic<std::uint32_t> steps; ///< kReturn* bits
    std::atomic<std::uint64_t> replay_at;  ///< cursor in the peer's ring: from here on our bytes go out again, over TCP
    std::atomic<std::uint64_t> replay_end; ///< ... up to here
};
inline constexpr std::uint32_t kReturnAnswered = 1U << 0U; ///< the peer's frame is here
inline constexpr std::uint32_t kReturnReplayed = 1U << 1U; ///< what the peer had not read is in TCP

struct WaitCounters {
    std::atomic<std::uint64_t> wakeups_sent;
    std::atomic<std::uint64_t> wakeups_suppressed;
    std::atomic<std::uint64_t> sleeps;
    std::atomic<std::uint64_t> spin_hits;
    std::atomic<std::uint64_t> spin_misses;
};

struct alignas(64) ConnBlock {
    std::atomic<Phase> phase;
    std::atomic<std::uint32_t> generation; ///< changes when the block is given to another connection
    std::atomic<std::uint32_t> flags;
    Role role;
    std::int32_t fd;                        ///< number in the process that made the block
    std::uint32_t pid;
    std::atomic<std::uint32_t> reason;      ///< Reason, 0 when accelerated
    std::atomic<std::uint32_t> peer_reason; ///< diagnosis that the peer sent
    std::atomic<std::uint32_t> so_error;    ///< pending SO_ERROR
    std::uint64_t inode;                    ///< 0: on TCP from the start, and `fd` names it still (Process::note_inode)
    std::uint64_t since_ns;                 ///< monotonic time of creation
    std::uint64_t local_token;
    std::uint64_t remote_token;
    std::uint32_t size_class_local;
    std::uint32_t size_class_remote;
    std::uint32_t device;                   ///< dev::DeviceId; which one serves it

    TxState tx;
    RxState rx;
    LocalBells local;
    WaitCounters waits;

    std::atomic<std::uint32_t> pre_begin;   ///< pre-buffer: bytes [pre_begin, pre_end) wait
    std::atomic<std::uint32_t> pre_end;
    std::uint32_t pre_chunk;                ///< index of the pre-buffer's memory plus 1; 0: none
    DirectionLock handshake_lock;
    ReturnState ret;
    std::atomic<std::uint64_t> holders;     ///< processes of the family that have the socket open (relatives.hpp); 0: free
};
static_assert(sizeof(ConnBlock) % 64 == 0 && sizeof(ConnBlock) <= 512);

/// Header of a chunk of blocks; the first thing in each mapping named "smcd-conn".
struct alignas(64) ConnChunkHeader {
    std::uint64_t magic;
    std::uint32_t version;
    std::uint32_t block_bytes;
    std::uint32_t block_count;
    std::uint32_t pid;
};
inline constexpr std::uint64_t kConnChunkMagic = 0x736D63642D636F6EULL; // "smcd-con"
inline constexpr std::uint32_t kConnChunkVersion = 2;
inline constexpr std::uint32_t kBlocksPerChunk = 127;

struct ConnChunk {
    ConnChunkHeader header;
    std::array<ConnBlock, kBlocksPerChunk> blocks;
};

}  // namespace smcd
