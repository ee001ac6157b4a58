// IvshmemDevice: SMC-D between processes that share a memory region, in one machine or in several;
// attach without copy. Floor 2, docs/shared-memory.md "regions".
//
// The region is a fabric: its GID is the same for all peers, a process is told by its link group
// id. DMBs lie in their owner's slice. What a peer writes into the region is a hint or is checked
// against private memory; any peer of a region can nevertheless corrupt the streams of all others:
// one region, one trust domain.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "devices/api/device.hpp"
#include "devices/api/doorbell.hpp"
#include "smcd/base/unique_fd.hpp"

namespace smcd::dev {

struct IvshmemOptions {
    std::string path;         ///< attachment point: devices/ivshmem/attach_point.hpp
    Chid chid = kIvshmemChid; ///< 0xFF00 .. 0xFFFE
    std::string pnetid{};     ///< the IP network that the fabric serves
    std::uint32_t peers = 0;  ///< slots of a region that we format; 0: what suits its size
    std::uint32_t max_dmbs = 1024;
    std::uint64_t max_bytes = ~0ULL; ///< bytes of our DMBs at once, besides the size of the slice
    std::uint64_t min_copy_rate = 200'000'000; ///< bytes per second; a slower mapping is refused
    /// Measures the mapping; tests put a slow one here.
    std::function<std::uint64_t(std::span<std::byte>)> measure{};
};

/// Where a peer listens for TCP connections.
struct AnnouncedAddress {
    unsigned family = 0; ///< 4 or 6
    std::uint16_t port = 0;
    std::array<std::byte, 16> address{}; ///< network order; IPv4: the first 4
    friend bool operator==(const AnnouncedAddress&, const AnnouncedAddress&) = default;
};

class IvshmemDevice final : public LinkedDevice {
public:
    /// Attaches to the region and measures it; no slot is claimed yet. Errors: as
    /// open_attach_point() and Region::open(); Errc::slow_memory. Blocks at most two seconds.
    [[nodiscard]] static Result<std::unique_ptr<IvshmemDevice>> open(DoorbellTable& doorbells,
                                                                     IvshmemOptions options);
    ~IvshmemDevice() override;

    [[nodiscard]] Gid gid() const override;
    [[nodiscard]] Chid fabric_id() const override;
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

    [[nodiscard]] DeviceKind kind() const noexcept override { return DeviceKind::ivshmem; }

    /// Our id for CLC messages; joins the region at the first call. ENOSPC: it is full.
    [[nodiscard]] Result<LinkGroupId> link_group_id() override;
    void prefer_group(LinkGroupId id) override;
    /// Makes sure that the peer of `dmb` can ring our doorbells.
    Result<void> export_doorbell(const RemoteDmb& dmb, unsigned door) override;
    /// Whether a DMB was shared with that peer already.
    [[nodiscard]] bool has_link(LinkGroupId remote) const override;
    void forget_link(LinkGroupId remote) override;

    /// Readable when the fabric server has news; -1: there is no server.
    [[nodiscard]] int poll_fd() const noexcept override;
    /// Takes in the news; never blocks. When the server is gone, so is poll_fd(); what is shared
    /// goes on.
    void service() override;

    /// Reaches a server that was started anew, so that peers of before and newcomers can ring each
    /// other.
    void look_after() override;

    [[nodiscard]] bool wants_looks() const noexcept override { return true; }

    [[nodiscard]] bool drained() const noexcept override;
    /// The region was removed, or the server that was started anew has another one: no new DMBs,
    /// nobody is found; what is shared goes on.
    [[nodiscard]] bool gone() const noexcept override;

    /// Called with the DMB whose owner is to be woken when its eventfd has not reached us. To be
    /// set before the first connection.
    void set_last_resort(std::function<void(const RemoteDmb&)> wake_peer) override;

    /// Publishes that a listener of ours accepts SMC at these addresses, until the last holder of
    /// the returned descriptor is gone and withdraw_unheld() was called. ENOSPC: no entry is free.
    [[nodiscard]] Result<UniqueFd> announce(std::span<const AnnouncedAddress> addresses);
    /// Takes back what was announced and is held no more. Never blocks.
    void withdraw_unheld() noexcept;

    enum class Found {
        no,            ///< nobody announced that address
        gone,          ///< nobody can: the region is gone
        other_network, ///< somebody did, but for another PNETID
        yes,
    };

    /// Whether a live peer listens at that address. Blocks up to 2 s at the first contact with a
    /// peer on another machine, until it shows that it runs.
    [[nodiscard]] Found find_listener(const AnnouncedAddress& address);

    /// Around fork(), as LoopbackDevice: the child goes on with what it inherits, and joins anew
    /// for its own.
    void before_fork() override;
    void after_fork_in_parent() override;
    void after_fork_in_child() override;

    /// Rings what is due, in the calling thread (tests).
    void forward_signals() noexcept;

    struct Usage {
        std::size_t dmbs = 0;
        std::size_t attached = 0;
        std::size_t retired = 0; ///< ours, unregistered, but the peer may still use the memory
        std::uint64_t free_bytes = 0;
        std::size_t polled = 0; ///< DMBs whose writer cannot ring us
    };

    [[nodiscard]] Usage usage() const;

private:
    class Impl;
    explicit IvshmemDevice(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

} // namespace smcd::dev
