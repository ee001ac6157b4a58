// Device: the port through which the engine reaches whatever can move bytes into a peer's memory.
// Floor 1.
//
// Concepts (words of the kernel's dibs/ISM interface). A *device* joins a *fabric* (CHID); on it
// every party has a GID. A DMB has one owner, who reads it, and one authorised writer. Tokens are
// 64-bit random numbers, unique on their fabric, and not reused while a peer may still hold a
// mapping.
//
// Guarantees that every implementation gives, and the conformance suite checks:
//   - writes are synchronous, lossless and bounds checked; data is visible before the signal that
//   follows it;
//   - only the authorised peer can attach or write a DMB;
//   - several signals may be merged into one; none is lost: after signal() the owner's harvest sees
//   the index;
//   - unregistering while the peer is attached is allowed: the memory lives until the peer
//   detaches.
//
// Threads: every operation may be called from any thread; none blocks on the peer's application.
// Errors: generic errno values; ENOTSUP where an optional operation is missing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "devices/api/device_kind.hpp"
#include "devices/api/dmb.hpp"
#include "devices/api/fabric_event.hpp"
#include "smcd/base/ids.hpp"
#include "smcd/base/result.hpp"

namespace smcd::dev {

class Device {
public:
    Device() = default;
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;
    virtual ~Device() = default;

    /// Our identity on the fabric; constant.
    [[nodiscard]] virtual Gid gid() const = 0;
    /// Fabric id. Different: cannot talk (fast negative check). Equal: ask query_remote_gid().
    [[nodiscard]] virtual Chid fabric_id() const = 0;
    /// Reliable answer whether the device with that GID can be reached. ENETUNREACH when not.
    [[nodiscard]] virtual Result<void> query_remote_gid(Gid remote_gid) const = 0;
    /// Size of the index space of DMBs.
    [[nodiscard]] virtual std::uint32_t max_dmbs() const = 0;

    /// Registers a DMB and makes it known to the authorised peer before it returns. Its control
    /// area (32 bytes) and bells are zero; so is the rest, or it holds what the same two parties
    /// left in an earlier DMB. ENOSPC: no index left; ENOMEM/EMFILE: no memory or descriptor;
    /// EINVAL: size class above 15; EACCES: the peer may not share memory with us; ECONNREFUSED:
    /// the peer is not there.
    [[nodiscard]] virtual Result<Dmb> register_dmb(const DmbRequest& request) = 0;
    /// Revokes and frees. EINVAL: no such token of ours.
    virtual Result<void> unregister_dmb(DmbToken token) = 0;

    /// Copies data into a remote DMB at offset; with signal set, raises the owner's signal bit
    /// afterwards. EINVAL: unknown token; EFAULT: outside the DMB.
    virtual Result<void> move_data(DmbToken token,
                                   bool signal,
                                   std::uint32_t offset,
                                   std::span<const std::byte> data) = 0;

    /// Whether attach_dmb() maps. Where not, the device copies.
    [[nodiscard]] virtual bool supports_attach() const = 0;
    /// Takes a remote DMB that was registered for us in use, and maps it. A copying device shows no
    /// memory and no bells: move_data() alone reaches it. EINVAL: unknown token.
    [[nodiscard]] virtual Result<RemoteDmb> attach_dmb(LinkGroupId owner, DmbToken token) = 0;
    virtual Result<void> detach_dmb(DmbToken token) = 0;

    /// Raises the signal bit of an attached DMB at each doorbell of `doors` (bit i = doorbell i of
    /// the owner) and wakes the waiting sets among them that sleep. One system call per sleeping
    /// doorbell, none when all are awake.
    virtual void signal(const RemoteDmb& dmb, std::uint64_t doors) noexcept = 0;
    /// Wakes all threads that sleep on one of the owner's futex words (Bells::futex_in or
    /// futex_out). One system call.
    virtual void wake(const RemoteDmb& dmb, std::atomic<std::uint32_t>& word) noexcept = 0;
    /// Takes the signal bits that peers raised at one of our doorbells; calls `on_signal` with the
    /// index of each DMB concerned. Cost: O(peers + signals). Returns the number of signals.
    virtual std::size_t harvest(unsigned door, const std::function<void(SbaIndex)>& on_signal) = 0;
    /// Whether harvest(door) would find something; no atomic read-modify-write, no system call.
    [[nodiscard]] virtual bool has_signal(unsigned door) const noexcept = 0;
};

/// What the runtime needs of a device besides the port: who we are to peers, news, fork.
class LinkedDevice : public Device {
public:
    [[nodiscard]] virtual DeviceKind kind() const noexcept = 0;
    /// Our id for CLC messages; constant until the next fork(). Errors: no descriptor, no slot.
    [[nodiscard]] virtual Result<LinkGroupId> link_group_id() = 0;

    /// The id to take if we have none yet and nobody has it: all devices of a process should have
    /// the same, since a Proposal announces one for all. Thread: any.
    virtual void prefer_group(LinkGroupId /*id*/) {}

    /// Copying devices: RemoteDmb::user of an attached DMB, which move_data() knows by its token
    /// alone. Thread: any.
    virtual void name_holder(DmbToken /*token*/, void* /*user*/) {}

    /// Makes sure that the owner of `dmb` can ring our doorbell; cheap when it already can.
    virtual Result<void> export_doorbell(const RemoteDmb& dmb, unsigned door) = 0;
    /// Whether a link to that peer exists already (first contact or not).
    [[nodiscard]] virtual bool has_link(LinkGroupId remote) const = 0;

    /// The peer does not know of the link: the next contact is a first one. What is attached stays.
    virtual void forget_link(LinkGroupId remote) = 0;

    /// Descriptor that is readable (epoll, level) when there is news for service(); -1: none, or
    /// none yet.
    [[nodiscard]] virtual int poll_fd() const noexcept = 0;
    /// Handles what poll_fd() announced; never blocks.
    virtual void service() = 0;

    /// Whether somebody has to look now and then: at drained(), and by look_after().
    [[nodiscard]] virtual bool wants_looks() const noexcept { return false; }

    /// About twice a second while connections use the device. Blocks half a second at most.
    /// Thread: progress.
    virtual void look_after() {}

    /// Whether the device is of no use to new connections, for good. One system call at most.
    [[nodiscard]] virtual bool gone() const noexcept { return false; }

    /// Whether an administrator wants connections off the device. Never blocks.
    [[nodiscard]] virtual bool drained() const noexcept { return false; }

    /// Whether an attached DMB can be written no more, because the device of one side has gone
    /// away: whoever uses it has to leave. Thread: any.
    [[nodiscard]] virtual bool lost(const RemoteDmb& /*dmb*/) const noexcept { return false; }

    /// Called when next_event() or lost() has news. To be set before the first connection. Thread
    /// of the call: any, with locks held; it must not call the device.
    virtual void set_on_loss(std::function<void()> /*look*/) {}

    /// The oldest event of the fabric. Thread: progress.
    [[nodiscard]] virtual std::optional<FabricEvent> next_event() { return std::nullopt; }

    /// Sends a software event. ENOTSUP: the fabric has none; ENETUNREACH: no such peer.
    virtual Result<void>
    signal_event(Gid /*remote_gid*/, std::uint32_t /*code*/, std::uint64_t /*info*/) {
        return Error(std::errc::not_supported);
    }

    /// Takes part in a VLAN; each add wants a del. ENOTSUP: the device has none; EINVAL: not an id;
    /// ENOENT: not added; ENODEV: disabled.
    virtual Result<void> add_vlan_id(std::uint16_t /*id*/) {
        return Error(std::errc::not_supported);
    }

    virtual Result<void> del_vlan_id(std::uint16_t /*id*/) {
        return Error(std::errc::not_supported);
    }

    /// The device goes away, as when it is taken out. ENOTSUP: it cannot.
    virtual Result<void> disable(std::uint32_t /*code*/) { return Error(std::errc::not_supported); }

    /// Called when a sleeping peer cannot be rung. Devices that always can ignore it.
    virtual void set_last_resort(std::function<void(const RemoteDmb&)> /*wake_peer*/) {}

    /// Around fork(): before_fork() takes the device's lock, so that the child finds its tables
    /// whole. In the child, what was inherited stays usable; what is new is the child's own.
    virtual void before_fork() = 0;
    virtual void after_fork_in_parent() = 0;
    virtual void after_fork_in_child() = 0;
};

} // namespace smcd::dev
