// LoopbackDevice::Impl: tables of the device. Floor 2, docs/shared-memory.md "links".
//   dmbs.cpp     our DMBs and those of peers: register, unregister, attach, detach, move
//   doors.cpp    doorbells: ours that peers know, and theirs
//   spares.cpp   memory that is kept for the next DMB
//   linking.cpp  links: connect, accept, the end of a peer, fork
//   inbound.cpp  what peers send
//   bus.cpp      what another device adds: status memory, events
//   loopback.cpp the public face, and the paths without a lock: signal, wake, harvest
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "devices/api/attached.hpp"
#include "devices/loopback/index_table.hpp"
#include "devices/loopback/link.hpp"
#include "devices/loopback/link_socket.hpp"
#include "devices/loopback/loopback.hpp"
#include "devices/loopback/signal_areas.hpp"

namespace smcd::dev {

/// DMBs of one peer that wait to be attached. An honest peer has as many as handshakes under way.
inline constexpr std::size_t kPendingMax = 16384;
/// Unregistered DMBs of one peer that can still be attached: the peer may have written, closed and
/// gone before we came to attach, and what it wrote counts.
inline constexpr std::size_t kRetiredMax = 64;
inline constexpr std::size_t kRetiredBytesMax = std::size_t{64} << 20U;
/// DMBs of one peer whose memory is kept for reuse, in each direction.
inline constexpr std::size_t kSparesMax = 64;
/// Connections that have not said hello.
inline constexpr std::size_t kSilentLinksMax = 64;

class LoopbackDevice::Impl {
public:
    Impl(DoorbellTable& doorbell_table, LoopbackOptions wanted);

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

    // linking.cpp. All take the lock.
    Result<LinkGroupId> link_group_id();
    void leave_rendezvous(); ///< at the end, without the lock
    bool has_link(LinkGroupId remote);
    void forget_link(LinkGroupId remote);
    void service();
    void before_fork();
    void after_fork_in_parent();
    void after_fork_in_child();
    Usage usage();

    // bus.cpp. All take the lock.
    void set_status_fd(int fd);
    Result<void> send_event(LinkGroupId to, const BusEvent& event);
    bool is_attached_by_peer(DmbToken token);
    void set_event_handler(std::function<void(const BusEvent&)> handler);

    // doors.cpp. All take the lock.
    Result<void> export_doorbell(Link& link, unsigned door);
    /// Looks whether the peer has sent the doorbell meanwhile. Gives up at once when the lock is
    /// taken.
    RingResult fetch_doorbell(Link& link, unsigned door) noexcept;

    // Without the lock.
    void signal(const RemoteDmb& dmb, unsigned door) noexcept;
    DoorbellTable& doorbells;
    const LoopbackOptions options;
    const Gid gid;
    SignalAreas areas;
    IndexTable indices;
    std::atomic<int> poll_fd{-1};
    std::atomic<std::uint32_t> preferred_group{0}; ///< for the next rendezvous; 0: any
    using LastResort = std::function<void(const RemoteDmb&)>;
    std::atomic<const LastResort*> last_resort{nullptr};
    void set_last_resort(LastResort wake_peer);

    struct {
        std::atomic<std::uint64_t> signals{0};
        std::atomic<std::uint64_t> rung{0};
        std::atomic<std::uint64_t> unsignalled{0};
        std::atomic<std::uint64_t> refused{0};
        std::atomic<std::uint64_t> violations{0};
        std::atomic<std::uint64_t> reused{0};
    } counts;

private:
    struct LocalDmb {
        Mapping file;
        SbaIndex index;
        SizeClass size_class;
        Link* link = nullptr;
        bool forked = false; ///< a relative may use it too
    };

    struct Attachment {
        Mapping file;
        SbaIndex index;
        SizeClass size_class;
        Link* link = nullptr;
        std::size_t count = 0; ///< attach_dmb() minus detach_dmb()
        bool forked = false;   ///< a relative may use it too
    };

    // Everything below expects the lock to be held.

    // dmbs.cpp
    Result<void> check_budget(SizeClass size_class) const;
    Result<Dmb> announce_dmb(Link& link, SizeClass size_class);
    Result<Dmb> announce_patiently(Link& link, SizeClass size_class);
    Result<void> fill_new(LocalDmb& dmb, DmbToken token);
    Result<UniqueFd> make_dmb_file(LocalDmb& dmb) const;
    [[nodiscard]] DmbToken fresh_token() const;
    static RemoteDmb view_of(DmbToken token, const Attachment& attachment);
    Link* find_pending(LinkGroupId owner, DmbToken token);
    Result<RemoteDmb> attach_pending(Link& link, DmbToken token);

    // spares.cpp
    bool keep_own(DmbToken token, LocalDmb& dmb);
    static void let_go(const Link& link, DmbToken token, const Mapping& file);
    bool make_own_room(Link& link, std::size_t bytes);
    void drop_ended_own_spares(Link& link);
    void drop_oldest_own_spare(Link& link);
    std::optional<Spare> take_spare(Link& link, SizeClass size_class);
    void put_back(Link& link, Spare spare);
    Result<void> fill_reused(LocalDmb& dmb, DmbToken token, Spare spare);
    bool keep_peers(DmbToken token, Attachment& attachment);
    bool make_peer_room(std::size_t bytes);
    bool end_oldest_peer_spare(Link& link);
    void drop_peer_spare(Link& link, DmbToken token);
    void mark_shared_with_relatives();
    void forget_spares(Link& link);

    // doors.cpp
    Result<void> send_doorbell(Link& link, unsigned door);
    void tell_doorbells(Link& link);
    void on_doorbell(Link& link, ReceivedMessage& received);

    // linking.cpp
    Result<LinkGroupId> ensure_rendezvous();
    Result<Link*> link_to(LinkGroupId remote);
    Link* find_link(LinkGroupId remote);
    Result<Link*> connect_link(LinkGroupId remote);
    Result<Link*> add_link(UniqueFd socket, LinkGroupId remote, PeerIdentity process);
    [[nodiscard]] bool may_share_with(uid_t uid) const noexcept;
    void fetch_from(LinkGroupId remote);
    void accept_waiting();
    void accept_one(UniqueFd socket);
    void on_event(std::uint64_t tag);
    void drop_oldest_silent_link();

    // inbound.cpp
    void drain(Link& link);
    void end_link(Link& link, std::error_code reason) noexcept;
    Result<void> handle(Link& link, ReceivedMessage& received);
    [[nodiscard]] bool is_somebody_elses(const Link& link, LinkGroupId claimed) const;
    Result<void> on_hello(Link& link, ReceivedMessage& received);

    // bus.cpp
    Result<void> on_status(Link& link, ReceivedMessage& received);
    Result<void> on_event_message(const Link& link, const LinkMessage& message);

    // inbound.cpp
    Result<void> on_dmb(Link& link, ReceivedMessage& received);
    void on_retire(Link& link, DmbToken token);
    Result<void> on_reuse(Link& link, const LinkMessage& message);

    // linking.cpp
    /// Closes the socket. The link stays until sweep(), its memory until the last user is gone.
    void disconnect(Link& link) noexcept;
    /// Removes a link that is disconnected or inherited, and has no user.
    void remove_if_unused(Link& link);
    void sweep();

    std::mutex mutex_;
    bool locked_for_fork_ = false;
    UniqueFd epoll_;
    UniqueFd listener_;
    LinkGroupId own_group_;
    uid_t listener_uid_ = 0;
    std::uint64_t next_serial_ = 1;
    std::unordered_map<std::uint64_t, std::unique_ptr<Link>> links_; ///< by serial
    std::unordered_multimap<std::uint32_t, Link*> by_peer_;          ///< links whose peer is known
    std::size_t silent_links_ = 0;                                   ///< accepted, no hello yet
    std::unordered_map<std::uint64_t, LocalDmb> local_;              ///< by token
    std::unordered_map<std::uint64_t, Attachment> attached_;         ///< by token
    std::uint64_t local_bytes_ = 0;
    std::uint64_t own_spare_bytes_ = 0;
    std::uint64_t peer_bytes_ = 0; ///< pending, attached and spare
    std::size_t doorbell_fds_ = 0;
    bool sweep_needed_ = false;
    int status_fd_ = -1; ///< borrowed; -1: we show nothing
    std::function<void(const BusEvent&)> event_handler_;
    std::vector<std::unique_ptr<const LastResort>> last_resorts_;
};

} // namespace smcd::dev
