// IvshmemDevice::Impl: tables of the device. Floor 2.
//   dmbs.cpp       our DMBs and those of peers: register, unregister, attach, detach, move
//   membership.cpp joining, fork
//   fabric_server.cpp the server: its news, its restart, the end of the region
//   signals.cpp    the paths without a lock: signal, wake, harvest; how peers ring us
//   listeners.cpp  where peers listen
//   ivshmem.cpp    the public face
#pragma once

#include <array>
#include <atomic>
#include <bitset>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <unordered_map>
#include <vector>

#include "devices/api/attached.hpp"
#include "devices/ivshmem/attach_point.hpp"
#include "devices/ivshmem/forwarder.hpp"
#include "devices/ivshmem/ivshmem.hpp"
#include "devices/ivshmem/peers.hpp"
#include "devices/ivshmem/region.hpp"
#include "devices/ivshmem/slice.hpp"

namespace smcd::dev {

/// Unregistered DMBs that nobody attached and that still can be: the peer may have written, closed
/// and gone before the other side came to attach, and what it wrote counts.
inline constexpr std::size_t kUnclaimedMax = 64;
/// Memory of closed connections kept for the next one with the same peer.
inline constexpr std::size_t kSparesMax = 64;
/// Slots of ancestors that a process still uses.
inline constexpr std::size_t kInheritedMax = 7;

class IvshmemDevice::Impl final : public SleepObserver {
public:
    Impl(DoorbellTable& doorbell_table,
         IvshmemOptions wanted,
         ivshmem::AttachPoint attach_point,
         ivshmem::Region opened);
    ~Impl() override;

    // dmbs.cpp. All take the lock.
    Result<Dmb> register_dmb(const DmbRequest& request);
    Result<void> unregister_dmb(DmbToken token);
    Result<RemoteDmb> attach_dmb(LinkGroupId owner, DmbToken token);
    Result<void> detach_dmb(DmbToken token);
    Result<std::uint64_t> move_data(DmbToken token,
                                    bool signal_owner,
                                    std::uint32_t offset,
                                    std::span<const std::byte> data,
                                    RemoteDmb& target);
    Usage usage();

    // membership.cpp. All take the lock.
    Result<LinkGroupId> link_group_id();
    bool has_link(LinkGroupId remote);
    void forget_link(LinkGroupId remote);
    Result<void> start_forwarder();
    [[nodiscard]] bool drained() const noexcept;
    void before_fork();
    void after_fork_in_parent();
    void after_fork_in_child();

    // fabric_server.cpp. Both take the lock.
    bool service();
    void look_after();
    [[nodiscard]] bool is_region_gone() const noexcept; ///< without the lock

    // signals.cpp. Without the lock.
    void signal(const RemoteDmb& dmb, unsigned door) noexcept;
    std::size_t harvest(unsigned door, const std::function<void(SbaIndex)>& on_signal);
    [[nodiscard]] bool has_signal(unsigned door) const noexcept;
    [[nodiscard]] bool take_ring(unsigned door) const noexcept;
    void on_epoch(unsigned door, std::uint32_t epoch) noexcept override;

    // listeners.cpp
    Result<UniqueFd> announce(std::span<const AnnouncedAddress> addresses);
    void withdraw_unheld() noexcept;
    Found find_listener(const AnnouncedAddress& address);

    DoorbellTable& doorbells;
    const IvshmemOptions options;
    const ivshmem::Region region;
    std::unique_ptr<ivshmem::Forwarder> forwarder;
    std::atomic<std::uint32_t> preferred_group{0};     ///< for the next join; 0: any
    std::function<void(const RemoteDmb&)> last_resort; ///< set before the first connection

    [[nodiscard]] int server_socket() const noexcept {
        return server_fd_.load(std::memory_order_acquire);
    }

private:
    /// A peer as signal() sees it; one per slot, never moved.
    struct Route {
        std::uint32_t slot = 0;
        std::array<std::atomic<std::uint32_t>, kDoorbellCount> rung{}; ///< last epoch that we rang
    };

    /// A slot of ours, or of an ancestor whose connections we inherited.
    struct Member {
        std::uint32_t slot = 0;
        std::uint32_t epoch = 0;
    };

    struct LocalDmb {
        std::uint32_t slot = 0; ///< ours, or an ancestor's
        SbaIndex index;
        SizeClass size_class;
        std::uint64_t offset = 0;
        std::uint32_t peer_slot = 0;
        std::uint32_t peer_epoch = 0;
        bool peer_polls = false; ///< counted in polled_dmbs_
    };

    /// Unregistered, but its memory is not free yet.
    struct Retired {
        LocalDmb dmb;
        bool inherited = false; ///< found in the slot when we claimed it
    };

    struct Spare {
        std::uint64_t offset = 0;
        SizeClass size_class;
        std::uint32_t peer_slot = 0;
        std::uint32_t peer_epoch = 0;
    };

    struct Attachment {
        std::uint32_t slot = 0;
        SbaIndex index;
        std::uint32_t generation = 0;
        SizeClass size_class;
        std::uint64_t offset = 0;
        std::size_t count = 0; ///< attach_dmb() minus detach_dmb()
    };

    /// Processes of this family (fork) that use a DMB, ours or attached: [slot][index].
    using Holders = std::array<std::atomic<std::uint32_t>, ivshmem::kDirectorySize>;

    // dmbs.cpp
    void publish_entry(const LocalDmb& dmb, DmbToken token) noexcept;
    Result<ivshmem::Peer> find_writer(const DmbRequest& request) const;
    Result<SbaIndex> take_index();
    Result<void> take_memory(LocalDmb& dmb);
    std::optional<std::uint64_t> take_spare(const LocalDmb& dmb);
    std::optional<std::uint64_t> take_range(std::uint64_t bytes);
    void free_entry(const Retired& retired);
    void sweep(bool thorough);
    bool is_through(const Retired& retired, bool thorough) const;
    bool revoke_oldest_unclaimed();
    void adopt_directory();
    Result<Attachment> read_directory(const ivshmem::Peer& owner, DmbToken token) const;
    [[nodiscard]] RemoteDmb view_of(DmbToken token, const Attachment& attachment) const noexcept;
    [[nodiscard]] std::span<std::byte>
    memory_of(std::uint32_t slot, std::uint64_t offset, SizeClass size_class) const noexcept;
    [[nodiscard]] DmbToken fresh_token() const;

    [[nodiscard]] ivshmem::DirEntry& entry_of(std::uint32_t slot, SbaIndex index) const noexcept {
        return region.slot(slot).directory[index.value() % ivshmem::kDirectorySize];
    }

    /// Who of the family has our DMB open.
    [[nodiscard]] std::atomic<std::uint32_t>& holders(std::uint32_t slot,
                                                      SbaIndex index) const noexcept {
        return reinterpret_cast<Holders*>(
            holders_.data())[slot][index.value() % ivshmem::kDirectorySize];
    }

    /// Who of the family has attached a peer's DMB.
    [[nodiscard]] std::atomic<std::uint32_t>& users(std::uint32_t slot,
                                                    SbaIndex index) const noexcept {
        return holders(region.peers() + slot, index);
    }

    // membership.cpp
    Result<void> join();
    Result<void> run_forwarder();
    void add_member(std::uint32_t slot, std::uint32_t epoch) noexcept;
    void update_polling() noexcept;
    [[nodiscard]] bool is_mine(std::uint32_t slot) const noexcept;
    [[nodiscard]] bool is_gone(std::uint32_t slot, std::uint32_t epoch) const noexcept;
    [[nodiscard]] ivshmem::Introduction introduction();
    [[nodiscard]] bool can_ring_us(const ivshmem::Peer& peer) const noexcept;
    [[nodiscard]] bool shares_futexes(const ivshmem::Peer& peer) const noexcept;
    void publish_usage(std::uint32_t opened) noexcept;

    // fabric_server.cpp
    [[nodiscard]] static bool has_name(int file) noexcept;
    [[nodiscard]] std::optional<ivshmem::ServerLink> reach_server() noexcept;
    void go_on_with(ivshmem::ServerLink link);
    void reconnect();
    bool take_news();
    void recheck_polling();
    [[nodiscard]] bool has_our_server(const ivshmem::Peer& peer) const noexcept;

    // listeners.cpp
    void write_listener(std::uint32_t number, const AnnouncedAddress& address) noexcept;
    [[nodiscard]] bool listens(const ivshmem::Peer& peer, std::uint32_t number);
    [[nodiscard]] bool beats(const ivshmem::Peer& peer);

    // signals.cpp
    bool ring(const Route& route) noexcept;
    void ring_otherwise(const RemoteDmb& dmb, const Route& route) noexcept;

    ivshmem::AttachPoint point_;
    const bool named_; ///< the region is a file that can be removed
    mutable std::atomic<bool> gone_{false};
    std::unique_ptr<ivshmem::ServerLink> server_; ///< set once; nullptr: the memory has no server
    std::atomic<int> server_fd_{-1};
    std::uint64_t next_try_ns_ = 0; ///< to reach a server that is not there; thread: progress
    std::uint64_t try_again_ns_ = 0;
    bool futexes_work_ = false;
    std::unique_ptr<Route[]> routes_; ///< by slot
    Mapping holders_;

    mutable std::mutex mutex_; ///< of all below
    bool locked_for_fork_ = false;
    ivshmem::OwnSlot own_;
    LinkGroupId own_group_;
    ivshmem::Listen listen_ = ivshmem::Listen::poll;
    std::optional<std::uint32_t> server_client_; ///< our id, or our machine's, at a fabric server
    /// [0]: our own slot. Read without the lock; members_count_ is stored last.
    std::array<Member, kInheritedMax + 1> members_;
    std::atomic<std::size_t> members_count_{0};
    std::vector<UniqueFd> inherited_locks_;
    ivshmem::SliceAllocator slice_;
    /// By index: slot + 1 of the member whose DMB it is; 0: none. Read without the lock.
    std::array<std::atomic<std::uint32_t>, ivshmem::kDirectorySize> index_slot_{};
    std::bitset<ivshmem::kDirectorySize> index_used_;        ///< registered, or retired
    std::unordered_map<std::uint64_t, LocalDmb> local_;      ///< by token
    std::unordered_map<std::uint64_t, Attachment> attached_; ///< by token
    std::deque<Retired> retired_;                            ///< oldest first
    std::deque<Spare> spares_;                               ///< oldest first
    std::set<std::pair<std::uint32_t, std::uint32_t>> met_;  ///< peers (slot, epoch) by DMBs

    struct Beat {
        std::uint32_t epoch = 0;
        std::uint64_t beat = 0;
        std::uint64_t seen_ns = 0;
    };

    std::unordered_map<std::uint32_t, Beat> beats_; ///< of peers of other kernels, by slot
    std::uint64_t local_bytes_ = 0;
    std::size_t polled_dmbs_ = 0; ///< DMBs whose writer cannot ring us
};

} // namespace smcd::dev
