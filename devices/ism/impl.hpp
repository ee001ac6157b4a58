// IsmDevice::Impl. Floor 2. moves.cpp has the data path, ism.cpp the rest.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <shared_mutex>
#include <unordered_map>
#include <vector>

#include "devices/ism/ism.hpp"
#include "devices/loopback/loopback.hpp"
#include "smcd/base/mapping.hpp"
#include "smcd/base/unique_fd.hpp"

namespace smcd::dev {

/// Our word in the private page in front of a DMB (docs/shared-memory.md): the token while the DMB
/// may be written. The owner writes it, movers look at it.
inline constexpr std::size_t kIsmPageOffset = 256;
inline constexpr std::uint64_t kIsmUnregistered = 0;
inline constexpr std::uint64_t kIsmDisabled = 1;

[[nodiscard]] inline std::atomic<std::uint64_t>& ism_word_of(const Bells& page) noexcept {
    const auto start = reinterpret_cast<std::uintptr_t>(&page);
    return *reinterpret_cast<std::atomic<std::uint64_t>*>(start + kIsmPageOffset);
}

/// The memory behind the status area that peers map.
struct StatusFile {
    UniqueFd fd;
    Mapping memory;

    [[nodiscard]] static Result<StatusFile> create();

    [[nodiscard]] StatusArea& area() const noexcept {
        return *reinterpret_cast<StatusArea*>(memory.data());
    }
};

/// Runs a set-up operation; memory that ran out becomes a value like every other error.
template <typename F>
auto without_throwing(F&& operation) -> decltype(operation()) {
    try {
        return operation();
    } catch (const std::bad_alloc&) {
        return Error(std::errc::not_enough_memory);
    }
}

class IsmDevice::Impl {
public:
    Impl(DoorbellTable& doorbells, const IsmOptions& wanted, StatusFile file);

    Result<Dmb> register_dmb(const DmbRequest& request);
    Result<void> unregister_dmb(DmbToken token);
    Result<RemoteDmb> attach_dmb(LinkGroupId owner, DmbToken token);
    Result<void> detach_dmb(DmbToken token);
    void name_holder(DmbToken token, void* user);
    Result<void>
    move_data(DmbToken token, bool signal, std::uint32_t offset, std::span<const std::byte> data);
    Result<void> move(const MoveCommand& command, std::span<const std::byte> data);
    void signal(const RemoteDmb& dmb, std::uint64_t doors) noexcept;

    [[nodiscard]] Gid gid_of(LinkGroupId group) const noexcept;
    /// The process behind a GID of our fabric.
    [[nodiscard]] Result<LinkGroupId> group_of(Gid gid) const;
    Result<void> query(Gid remote_gid);
    std::size_t take_signals(const std::function<void(SbaIndex, std::uint16_t)>& on_signal);
    void disable(std::uint32_t code);
    void take_event(const BusEvent& event);
    [[nodiscard]] bool lost(DmbToken token);
    /// Tells the holder that there is something to look at.
    void on_loss() const noexcept;
    void before_fork();
    void after_fork_in_parent();
    void after_fork_in_child();

    const IsmOptions options;
    LoopbackDevice bus; ///< links, memory files, signals, doorbells
    EventQueue events;
    VlanTable vlans;
    std::atomic<StatusArea*> status{nullptr};
    std::atomic<bool> disabled{false};
    std::function<void()> look; ///< set before the first connection

    struct {
        std::atomic<std::uint64_t> moves{0};
        std::atomic<std::uint64_t> bytes{0};
        std::atomic<std::uint64_t> signals{0};
        std::atomic<std::uint64_t> merged{0};
        std::atomic<std::uint64_t> refused{0};
    } counts;

private:
    struct Local {
        SbaIndex index;
        Bells* page = nullptr;
        LinkGroupId writer;
        bool forked = false; ///< a relative may receive into it too
    };

    struct Remote {
        RemoteDmb dmb;                ///< as the bus attached it
        StatusArea* status = nullptr; ///< the owner's
        std::size_t count = 0;
    };

    // Under lock_, shared.
    Result<Remote*> find_for(DmbToken token, std::uint32_t offset, std::size_t bytes);
    void execute(Remote& remote, const MoveCommand& command, std::span<const std::byte> data);
    void interrupt(Remote& remote, std::uint8_t element) noexcept;

    std::vector<StatusFile> status_files_; ///< the last is ours, the others were our parents'
    /// Exclusive: tables change; shared: moves, so that no mapping goes under a copy.
    std::shared_mutex lock_;
    std::unordered_map<std::uint64_t, Local> local_;
    std::unordered_map<std::uint64_t, Remote> remote_;
};

} // namespace smcd::dev
