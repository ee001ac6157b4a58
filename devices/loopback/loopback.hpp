// LoopbackDevice: SMC-D between processes of one host (CHID 0xFFFF), attach without copy. Floor 2.
//
// A DMB is a memfd: one private page (Bells) and the DMB itself, sealed SHRINK|GROW|SEAL after
// sizing. Descriptors travel over one abstract UNIX seqpacket connection per pair of processes, the
// *link*. The link group id of CLC messages (LinkGroupId) is random per process and names its
// rendezvous socket, "\0smcd/r/<8 hex digits>".
//
// register_dmb() pushes the descriptor to the peer before it returns, and AF_UNIX delivers into the
// receiver's queue synchronously: a peer that then reads our token in a CLC message finds the
// descriptor waiting, without a round trip.
//
// Trust: SO_PEERCRED of the link must show our own effective uid (or one the configuration allows);
// a received descriptor is mapped only if it is a regular tmpfs file with all seals and exactly the
// announced size.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "devices/api/device.hpp"
#include "devices/api/doorbell.hpp"
#include "devices/loopback/meeting_place.hpp"

namespace smcd::dev {

/// What another device (devices/ism) changes when it uses our links as its bus.
struct BusOptions {
    MeetingPlace place{};          ///< rendezvous of a fabric of its own
    std::uint32_t first_index = 0; ///< DMB indices below are not used
    std::uint64_t token_mask = ~0ULL;
    std::size_t status_bytes = 0; ///< memory that each process shows all its peers; 0: none
    int status_fd = -1;           ///< ... sealed memfd of that size, borrowed
};

/// An event that a peer sent (devices/ism gives the words their meaning).
struct BusEvent {
    std::uint32_t type = 0;
    std::uint32_t code = 0;
    std::uint64_t token = 0;
    std::uint64_t info = 0;
    LinkGroupId sender;
};

struct LoopbackOptions {
    BusOptions bus{};
    std::vector<uid_t> allowed_uids{}; ///< besides our own effective uid
    std::uint32_t max_dmbs =
        65536; ///< DMBs of this process at once; both are cut at 3/8 of vm.max_map_count
    std::uint64_t max_bytes =
        32ULL << 30; ///< bytes of all DMBs of this process, touched or not; over it: ENOMEM
    std::uint32_t max_links = 4096;      ///< peer processes at once (at most 4096); over it: ENOSPC
    std::uint32_t max_peer_dmbs = 65536; ///< DMBs of peers at once; over it they cannot be attached
    std::uint64_t max_peer_bytes =
        64ULL << 30; ///< address space for the DMBs of peers; over it they cannot be attached
    std::uint32_t max_doorbell_fds =
        4096; ///< eventfds of peers; over it those are woken by the last resort
    std::uint64_t max_spare_bytes = 32ULL << 20; ///< memory kept for later DMBs; 0: none
    /// For messages that a peer has not read: some thousand handshakes in a burst. The kernel cuts
    /// it at net.core.wmem_max; its default holds 277.
    int queue_bytes = 2 << 20;
    /// How long a DMB waits for room in that queue, and ten times as long the next ones do not wait
    /// after that was in vain: a peer that is stopped costs a tenth of our time at most.
    std::uint64_t queue_wait_ns = 20'000'000;
    bool populate = false; ///< fault the pages of a DMB in when it is registered
};

class LoopbackDevice final : public LinkedDevice {
public:
    /// `doorbells` must outlive the device. Opens nothing yet: the rendezvous socket is made at the
    /// first need.
    LoopbackDevice(DoorbellTable& doorbells, LoopbackOptions options);
    ~LoopbackDevice() override;

    [[nodiscard]] Gid gid() const override;

    [[nodiscard]] Chid fabric_id() const override { return kLoopbackChid; }

    [[nodiscard]] Result<void> query_remote_gid(Gid remote_gid) const override;
    [[nodiscard]] std::uint32_t max_dmbs() const override;
    [[nodiscard]] Result<Dmb> register_dmb(const DmbRequest& request) override;
    Result<void> unregister_dmb(DmbToken token) override;
    Result<void> move_data(DmbToken token,
                           bool signal,
                           std::uint32_t offset,
                           std::span<const std::byte> data) override;

    [[nodiscard]] bool supports_attach() const override { return true; }

    [[nodiscard]] Result<RemoteDmb> attach_dmb(LinkGroupId owner, DmbToken token) override;
    Result<void> detach_dmb(DmbToken token) override;
    void signal(const RemoteDmb& dmb, std::uint64_t doors) noexcept override;
    void wake(const RemoteDmb& dmb, std::atomic<std::uint32_t>& word) noexcept override;
    std::size_t harvest(unsigned door, const std::function<void(SbaIndex)>& on_signal) override;
    [[nodiscard]] bool has_signal(unsigned door) const noexcept override;

    [[nodiscard]] DeviceKind kind() const noexcept override { return DeviceKind::loopback; }

    /// Our id for CLC messages; opens the rendezvous socket at the first call. A process whose
    /// effective uid changed since gets a new rendezvous (new id), since SO_PEERCRED shows the
    /// credentials of listen().
    [[nodiscard]] Result<LinkGroupId> link_group_id() override;
    void prefer_group(LinkGroupId id) override;
    /// Makes sure that the peer of `dmb` holds the eventfd of our doorbell; cheap when it already
    /// does.
    Result<void> export_doorbell(const RemoteDmb& dmb, unsigned door) override;
    /// Whether a link to that peer exists already (first contact or not).
    [[nodiscard]] bool has_link(LinkGroupId remote) const override;
    void forget_link(LinkGroupId remote) override;

    /// Descriptor that is readable (epoll, level) when a peer connected, sent something or went
    /// away.
    [[nodiscard]] int poll_fd() const noexcept override;
    /// Handles what poll_fd() announced; never blocks. Links whose peer died are dropped once no
    /// DMB uses them.
    void service() override;

    /// Called by signal() when a peer's doorbell sleeps and cannot be rung, at most once per sleep:
    /// its eventfd is not known here, or is unusable. The caller then wakes the peer by other
    /// means. Must not block. Thread: any; the function may be called from any thread that signals.
    void set_last_resort(std::function<void(const RemoteDmb&)> wake_peer) override;

    /// Around fork(): before_fork() takes the device's lock, so that the child finds its tables
    /// whole.
    void before_fork() override;
    void after_fork_in_parent() override;
    /// In the child after fork(): inherited DMBs and attachments stay usable (signal, harvest,
    /// memory), but new ones go over a rendezvous and links of the child's own.
    void after_fork_in_child() override;

    /// Number of live links, local DMBs and attached DMBs (statistics, leak tests).
    struct Usage {
        std::size_t links = 0;
        std::size_t dmbs = 0;
        std::size_t attached = 0;
        std::uint64_t dmb_bytes = 0;
    };

    [[nodiscard]] Usage usage() const;

    // For a device that uses our links as its bus (BusOptions).

    /// What the owner of an attached DMB shows its peers, status_bytes of it; nullptr: it has not
    /// shown anything. Valid while attached.
    [[nodiscard]] static std::byte* status_of(const RemoteDmb& dmb) noexcept;
    /// From now on new links are shown this one.
    void set_status_fd(int fd);
    /// Sends an event to that peer, or with group 0 to every peer that there is a link to.
    /// Errors: those of a new link; EAGAIN: the peer does not read.
    Result<void> send_event(LinkGroupId to, const BusEvent& event);
    /// Called with each event of a peer, under the device's lock: it must not call us.
    /// Before the first link.
    void set_event_handler(std::function<void(const BusEvent&)> on_event);
    /// Whether somebody listens at the rendezvous of that group.
    [[nodiscard]] bool is_there(LinkGroupId group) const;
    /// Whether the peer has that DMB of ours attached.
    [[nodiscard]] bool is_attached_by_peer(DmbToken token) const;

    /// What happened since the start (statistics).
    struct Counters {
        std::uint64_t signals = 0;     ///< signal() per doorbell
        std::uint64_t rung = 0;        ///< of these: an eventfd was written
        std::uint64_t unsignalled = 0; ///< of these: left to the last resort
        std::uint64_t refused = 0;     ///< peers refused because of their uid
        std::uint64_t reused = 0;      ///< DMBs that were given the memory of an earlier one
        std::uint64_t violations = 0;  ///< links ended because of what the peer sent
    };

    [[nodiscard]] Counters counters() const noexcept;

private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

} // namespace smcd::dev
