// Socket: what this process knows of one TCP socket of the application. Floor 3.
//
// The application's descriptor stays the real TCP socket; a Socket annotates it. Objects are type-stable: they are never
// freed, so a thread that raced with close() looks at a recycled object, never at foreign memory. What fork() must share
// lies in the ConnBlock; the rest is private to the process and copied by fork().
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "smcd/base/mapping.hpp"
#include "smcd/base/reason.hpp"
#include "smcd/base/relaxed.hpp"
#include "smcd/base/unique_fd.hpp"
#include "smcd/core/channel.hpp"
#include "smcd/core/rx_path.hpp"
#include "smcd/core/spin.hpp"
#include "smcd/core/tx_path.hpp"
#include "smcd/core/waiting.hpp"
#include "smcd/runtime/discovery.hpp"
#include "smcd/runtime/profile.hpp"
#include "smcd/runtime/sock_diag.hpp"
#include "smcd/runtime/vlan_use.hpp"

namespace smcd {

class Process;
struct HandshakeState;
/// The handshake of a Socket. Its memory is kept for the next one: another thread may look at it while the socket is closed.
class HandshakePointer {
public:
    HandshakePointer() = default;
    ~HandshakePointer();
    HandshakePointer(const HandshakePointer&) = delete;
    HandshakePointer& operator=(const HandshakePointer&) = delete;

    /// A new one in the place of the last. Nobody else knows the connection yet.
    void begin();
    void end() noexcept { current_.store(nullptr, std::memory_order_release); }

    [[nodiscard]] HandshakeState* get() const noexcept { return current_.load(std::memory_order_acquire); }
    [[nodiscard]] bool operator==(std::nullptr_t) const noexcept { return get() == nullptr; }
    HandshakeState* operator->() const noexcept { return get(); }
    HandshakeState& operator*() const noexcept { return *get(); }

private:
    std::atomic<HandshakeState*> current_{nullptr};
    HandshakeState* memory_ = nullptr;
};

enum class SocketKind : std::uint32_t {
    free = 0,
    candidate = 1,  ///< a TCP stream socket, neither listening nor connected
    listener = 2,
    connection = 3, ///< has a ConnBlock, whose phase tells the rest; or none, and is TCP's
};

/// poll() bits that a Socket reports by itself (POLLIN, POLLOUT, POLLRDHUP, POLLHUP, POLLERR, POLLRDNORM, POLLWRNORM).
using PollMask = std::uint32_t;

/// A device of the process. Whoever drives the handshake sets it; any thread looks.
class DevicePointer {
public:
    DevicePointer& operator=(dev::LinkedDevice* device) noexcept {
        device_.store(device, std::memory_order_release);  // sync: socket-device
        return *this;
    }
    // NOLINTNEXTLINE(google-explicit-constructor): reads as the pointer that it is
    operator dev::LinkedDevice*() const noexcept { return device_.load(std::memory_order_acquire); }
    dev::LinkedDevice* operator->() const noexcept { return *this; }

private:
    std::atomic<dev::LinkedDevice*> device_{nullptr};
};

/// held_up.hpp
struct HeldUp {
    std::atomic<std::uint32_t> looks{0}; ///< 0: it is not
    std::uint64_t consumer = 0;          ///< how far the peer had read at the first look; the progress thread's
};

class Socket {
public:
    std::atomic<SocketKind> kind{SocketKind::free};
    std::atomic<std::uint32_t> generation{0}; ///< changes with every recycling
    std::atomic<std::uint32_t> references{0}; ///< descriptors of this process (dup) that name it
    Relaxed<int> fd = -1;                     ///< one of them
    std::uint64_t inode = 0;
    std::atomic<bool> non_blocking{false};    ///< until there is a block; see is_non_blocking()
    std::atomic<bool> receive_timeout_known{false};
    std::atomic<bool> send_timeout_known{false};
    std::atomic<bool> inherited{false};       ///< over a fork(), untouched or a relative's (inheritance.hpp)
    std::uint64_t receive_timeout_ns = 0;     ///< SO_RCVTIMEO; 0: none
    std::uint64_t send_timeout_ns = 0;
    std::uint32_t receive_buffer_wish = 0;    ///< SO_RCVBUF as set by the application; 0: never
    Relaxed<std::uint32_t> low_water = 1;     ///< SO_RCVLOWAT
    Relaxed<bool> tells_inq_begun = false;    ///< TCP_INQ until there is a block; see tells_inq()
    std::uint32_t stands_for = 1;             ///< on TCP: how many connections its bytes are counted for; 0: none
    bool group_listener = false;
    bool linger_reset = false;                ///< SO_LINGER with timeout 0
    bool beyond = false;                      ///< client: found outside this network namespace
    std::atomic<bool> stays_on_tcp{false};    ///< no connection yet: stdio uses the descriptor, or an option needs the kernel
    UniqueFd beacon;                          ///< listener: keeps it discoverable
    UniqueFd lease;                           ///< listener: keeps it announced on the fabric

    Relaxed<ConnBlock*> block = nullptr;
    Channel channel;
    Mapping send_buffer;                      ///< devices that copy: the channel's
    VlanUse vlan;                             ///< by version 1
    Gid peer_gid;                             ///< on the channel's device
    DevicePointer device;                     ///< of the channel, or of the DMB of a server's handshake
    std::atomic<const Profile*> profile{nullptr}; ///< its own; nullptr: the process's
    std::atomic<bool> pinned{false};          ///< pin_memory() was called for the channel
    SpinPolicy spin_data;
    SpinPolicy spin_space;
    HandshakePointer handshake;
    DiscoveryMark mark;
    TcpAddress destination;                   ///< client: as given to connect()
    std::atomic<std::uint32_t> send_stalls{0}; ///< sends that found too little space (edges of EPOLLOUT)
    std::atomic<std::uint32_t> tcp_events{0}; ///< edges of EPOLLIN beside arriving bytes: events of TCP outside Phase::smc, SO_RCVLOWAT
    std::atomic<std::uint32_t> shutdowns{0};  ///< calls of shutdown(): edges for everybody
    std::atomic<std::uint32_t> watch_epoch{0}; ///< progress thread that watches the descriptor; 0: none
    std::atomic<std::uint32_t> sleepers{0};   ///< sleep_guard.hpp
    std::atomic<NumberGone> number_gone{NumberGone::no}; ///< while calls hold it; waiting.hpp
    std::atomic<std::uint64_t> linger_until_ns{0}; ///< lingering.hpp; 0: it does not linger
    bool lingered = false; ///< closed by its application before the handshake was over
    HeldUp held_up;
    UniqueFd kept;                            ///< closed while calls sleep on it: our name for the TCP connection
    std::atomic<bool> in_sets{false};         ///< an epoll set has, or had, an entry of it (the shim's)
    std::uint32_t number = 0;                 ///< of the object, for good (Process::socket_at())

    /// Of a connection that another thread may be closing right now.
    [[nodiscard]] ConnBlock& live_block() const noexcept {
        ConnBlock* const now = block;
        return now == nullptr ? closed_block() : *now;
    }
    [[nodiscard]] Phase phase() const noexcept {
        const ConnBlock* const now = block;
        return now == nullptr ? Phase::tcp : now->phase.load(std::memory_order_acquire);
    }
    /// O_NONBLOCK belongs to the open file description: parent and child share it, as they share the block.
    [[nodiscard]] bool is_non_blocking() const noexcept {
        const ConnBlock* const now = block;
        return now == nullptr ? non_blocking.load(std::memory_order_relaxed)
                              : (now->flags.load(std::memory_order_relaxed) & kFlagNonBlocking) != 0;
    }
    void set_non_blocking(bool on) noexcept {
        non_blocking.store(on, std::memory_order_relaxed);
        set_shared_flag(kFlagNonBlocking, on);
    }
    /// TCP_INQ: recvmsg() tells how much is left. Relatives share it, as they share the kernel's socket.
    [[nodiscard]] bool tells_inq() const noexcept {
        const ConnBlock* const now = block;
        return now == nullptr ? tells_inq_begun.get() : (now->flags.load(std::memory_order_relaxed) & kFlagTellsInq) != 0;
    }
    void set_tells_inq(bool on) noexcept {
        tells_inq_begun = on;
        set_shared_flag(kFlagTellsInq, on);
    }
    [[nodiscard]] bool accelerated() const noexcept { return phase() == Phase::smc; }

    /// Whether a phase is one in which calls must not go to TCP directly.
    [[nodiscard]] static bool is_ours(Phase phase) noexcept {
        return phase == Phase::smc || phase == Phase::handshake || phase == Phase::settling ||
               phase == Phase::connecting || phase == Phase::returning;
    }

private:
    /// Relatives share the block, and with it the flag. Without a block there is nothing to share.
    void set_shared_flag(std::uint32_t flag, bool on) noexcept {
        if (block == nullptr) {
            return;
        }
        if (on) {
            block->flags.fetch_or(flag, std::memory_order_relaxed);
        } else {
            block->flags.fetch_and(~flag, std::memory_order_relaxed);
        }
    }
};

}  // namespace smcd
