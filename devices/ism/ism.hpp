// IsmDevice: SMC-D over a device that copies, as the s390 ISM device does, in software. Floor 2,
// docs/protocol.md "devices".
//
// Processes of one user in one network namespace, or with one folder, that name the same fabric
// (CHID) reach one another; nothing has to be set up, no privilege is needed. Nobody sees a peer's
// memory: data moves by command, addressed by token, element, signal flag and offset, each move
// within 4 KiB, checked against the DMB. A move with the signal flag raises the DMB's bit in the
// owner's status area and wakes who sleeps there.
//
//   move(token | element | sf | offset, data)
//     1 the data into the DMB            2 mask, bit, summary of the owner's status area
//     3 the "interrupt": threads asleep on the owner's bells, doorbells that it has armed
//
// Memory files, signals and doorbells travel over links like the loopback device's (its room has
// the drawing), under names of the fabric's own. Every process has a GID of its own: fabric in the
// upper half of its first 64 bits, link group id in the lower.
//
// Events: a peer's DMB was unregistered while we had it attached, a peer's device is disabled or in
// error, a peer called signal_event(). They wait in a queue of 15.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "devices/api/device.hpp"
#include "devices/api/doorbell.hpp"
#include "devices/ism/event_queue.hpp"
#include "devices/ism/move_command.hpp"
#include "devices/ism/status_area.hpp"
#include "devices/ism/vlan_table.hpp"

namespace smcd::dev {

inline constexpr SizeClass kIsmSizeClassMax{6};

struct IsmOptions {
    Chid chid = kIsmChid; ///< from 0xFF00 on (not 0xFFFF): emulated, with GIDs of 128 bits
    std::uint32_t max_dmbs = kIsmDmbCount - kIsmReservedDmbs;
    std::uint64_t max_bytes = 2ULL << 30;
    /// Where processes of several network namespaces meet; empty: those of one.
    std::string folder{};
};

class IsmDevice final : public LinkedDevice {
public:
    /// `doorbells` must outlive the device. Opens nothing yet but the status area.
    /// EINVAL: CHID 0 or that of loopback; ENOTDIR: no such folder; ENOMEM, EMFILE.
    [[nodiscard]] static Result<std::unique_ptr<IsmDevice>> create(DoorbellTable& doorbells,
                                                                   const IsmOptions& options);
    ~IsmDevice() override;

    /// Ours; opens the rendezvous at the first call. All zero: that failed.
    [[nodiscard]] Gid gid() const override;
    [[nodiscard]] Chid fabric_id() const override;
    /// Whether a process with that GID is on our fabric now.
    [[nodiscard]] Result<void> query_remote_gid(Gid remote_gid) const override;
    [[nodiscard]] std::uint32_t max_dmbs() const override;
    /// As the port; EINVAL also for a size class above 6 and for a GID that is not that of the
    /// group. ENODEV: disabled.
    [[nodiscard]] Result<Dmb> register_dmb(const DmbRequest& request) override;
    Result<void> unregister_dmb(DmbToken token) override;
    /// Splits at each 4 KiB; the signal goes with the last piece. EINVAL: the owner has
    /// unregistered it, too; ENODEV: we or the owner are disabled.
    Result<void> move_data(DmbToken token,
                           bool signal,
                           std::uint32_t offset,
                           std::span<const std::byte> data) override;

    [[nodiscard]] bool supports_attach() const override { return false; }

    /// Makes the DMB known to move_data(); its memory stays out of sight.
    [[nodiscard]] Result<RemoteDmb> attach_dmb(LinkGroupId owner, DmbToken token) override;
    Result<void> detach_dmb(DmbToken token) override;
    void signal(const RemoteDmb& dmb, std::uint64_t doors) noexcept override;
    /// Nothing: a move with the signal flag wakes.
    void wake(const RemoteDmb& dmb, std::atomic<std::uint32_t>& word) noexcept override;
    std::size_t harvest(unsigned door, const std::function<void(SbaIndex)>& on_signal) override;
    [[nodiscard]] bool has_signal(unsigned door) const noexcept override;

    [[nodiscard]] DeviceKind kind() const noexcept override { return DeviceKind::ism; }

    [[nodiscard]] Result<LinkGroupId> link_group_id() override;
    void prefer_group(LinkGroupId id) override;
    void name_holder(DmbToken token, void* user) override;
    Result<void> export_doorbell(const RemoteDmb& dmb, unsigned door) override;
    [[nodiscard]] bool has_link(LinkGroupId remote) const override;
    void forget_link(LinkGroupId remote) override;
    [[nodiscard]] int poll_fd() const noexcept override;
    void service() override;
    void set_last_resort(std::function<void(const RemoteDmb&)> wake_peer) override;
    void before_fork() override;
    void after_fork_in_parent() override;
    void after_fork_in_child() override;

    /// One move instruction: does not cross a boundary of 4 KiB. EINVAL: unknown token; EFAULT:
    /// outside the DMB or across a boundary.
    Result<void> move(const MoveCommand& command, std::span<const std::byte> data);

    /// What an interrupt handler does: takes the status area's signals, of DMBs that are ours.
    std::size_t
    take_signals(const std::function<void(SbaIndex, std::uint16_t element_mask)>& on_signal);
    [[nodiscard]] StatusArea& status() noexcept;

    [[nodiscard]] bool lost(const RemoteDmb& dmb) const noexcept override;
    void set_on_loss(std::function<void()> look) override;
    /// The oldest event; service() brings them in.
    [[nodiscard]] std::optional<FabricEvent> next_event() override;
    /// Events lost to a full queue.
    [[nodiscard]] std::uint64_t event_overruns() const;
    /// Sends a software event. ENETUNREACH: no such peer.
    Result<void> signal_event(Gid remote_gid, std::uint32_t code, std::uint64_t info) override;

    /// VLAN ids, reference counted; kIsmReservedVlan is there from the beginning.
    Result<void> add_vlan_id(std::uint16_t id) override;
    Result<void> del_vlan_id(std::uint16_t id) override;
    [[nodiscard]] bool has_vlan_id(std::uint16_t id) const;

    /// The device goes away as when it is taken out: everything fails with ENODEV, moves of peers
    /// into our DMBs too, and peers get a device event with that code.
    Result<void> disable(std::uint32_t code = kFabricDeviceDisabled) override;

    struct Counters {
        std::uint64_t moves = 0; ///< instructions
        std::uint64_t bytes = 0;
        std::uint64_t signals = 0;
        std::uint64_t merged = 0;  ///< of these: the bit was raised already
        std::uint64_t refused = 0; ///< moves that failed a check
    };

    [[nodiscard]] Counters counters() const noexcept;

private:
    class Impl;
    explicit IsmDevice(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

} // namespace smcd::dev
