#include "smcd/runtime/process.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cstddef>

#include "smcd/base/clock.hpp"
#include "smcd/base/log.hpp"
#include "smcd/base/raw_syscall.hpp"
#include "smcd/core/direction_lock.hpp"
#include "smcd/core/thread_id.hpp"
#include "smcd/runtime/fabric_discovery.hpp"
#include "smcd/runtime/handshake.hpp"
#include "smcd/runtime/handshake_state.hpp"
#include "smcd/runtime/inheritance.hpp"
#include "smcd/runtime/lingering.hpp"
#include "smcd/runtime/settle.hpp"
#include "smcd/runtime/sleep_guard.hpp"
#include "smcd/runtime/verdict_log.hpp"

namespace smcd {
namespace {

/// While fewer connections than this are live, short ones on TCP are sampled.
constexpr std::uint64_t kFewLive = 32;

std::uint64_t inode_of(int fd) noexcept {
    struct stat info {};
    return ::fstat(fd, &info) == 0 ? info.st_ino : 0;
}

/// A doorbell that cannot be rung: one byte on the TCP connection makes the peer look (hangup.cpp).
void ring_over_tcp(const dev::RemoteDmb& dmb) noexcept {
    if (const auto* socket = static_cast<const Socket*>(dmb.user); socket != nullptr) {
        const char look = 0;
        raw::send(socket->fd, &look, sizeof(look), MSG_DONTWAIT | MSG_NOSIGNAL);
    }
}

/// The application's mark is TCP's only while TCP carries its bytes: ours are shorter.
void set_low_water(const Socket& socket, std::uint32_t bytes) noexcept {
    if (socket.low_water > 1) {
        const int mark = static_cast<int>(bytes);
        raw::setsockopt(socket.fd, SOL_SOCKET, SO_RCVLOWAT, &mark, sizeof(mark));
    }
}

}  // namespace

Process::Process(Config config)
    : config_(std::move(config)),
      discovery_(std::make_unique<FabricDiscovery>(*this)),
      progress_(std::make_unique<Progress>(*this)) {
    spin_limits() = config_.profile->spin;
}

Process::~Process() {
    progress_->stop();
}

bool Process::ready_for_smc() {
    const std::lock_guard guard(setup_mutex_);
    if (doorbells_ == nullptr) {
        auto doorbells = dev::DoorbellTable::create();
        if (!doorbells) {
            return false;
        }
        doorbells_ = *std::move(doorbells);
    }
    if (devices_.all().empty()) {
        devices_.make(config_, *doorbells_, &ring_over_tcp, [this] { progress_->look_at_losses(); });
    }
    return !devices_.all().empty();
}

dev::IvshmemDevice* Process::fabric() {
    if (devices_.lacks_fabric(config_) && ready_for_smc()) {
        const std::lock_guard guard(setup_mutex_);
        devices_.look_for_fabric(config_, *doorbells_);
    }
    return devices_.fabric();
}

Socket* Process::acquire_socket(int fd, SocketKind kind) {
    const std::lock_guard guard(sockets_mutex_);
    if (free_sockets_.empty()) {
        auto number = static_cast<std::uint32_t>(socket_chunks_.size() * kSocketsPerChunk);
        socket_chunks_.push_back(std::make_unique<SocketChunk>());
        for (Socket& socket : *socket_chunks_.back()) {
            socket.number = number++;
            free_sockets_.push_back(&socket);
        }
        if (socket_chunks_.size() <= kSocketChunksMax) {
            chunk_index_[socket_chunks_.size() - 1].store(socket_chunks_.back().get(),
                                                          std::memory_order_release);
        }
    }
    Socket* socket = free_sockets_.back();
    free_sockets_.pop_back();
    socket->fd = fd;
    socket->sleepers.store(0, std::memory_order_relaxed);
    socket->number_gone.store(NumberGone::no, std::memory_order_relaxed);
    socket->references.store(1, std::memory_order_relaxed);
    const bool fresh = kind == SocketKind::candidate;  // nobody has set anything
    socket->receive_timeout_ns = socket->send_timeout_ns = 0;
    socket->receive_timeout_known.store(fresh, std::memory_order_relaxed);
    socket->send_timeout_known.store(fresh, std::memory_order_relaxed);
    socket->kind.store(kind, std::memory_order_release);
    return socket;
}

/// A server's DMB whose handshake did not end here: closed in between, or ended by a relative.
void Process::drop_handshake_dmb(Socket& socket) {
    if (socket.handshake != nullptr && socket.channel.device == nullptr &&
        socket.handshake->dmb.token != DmbToken()) {
        static_cast<void>(socket.device->unregister_dmb(socket.handshake->dmb.token));
        socket.handshake->dmb = {};
    }
}

void Process::release_socket(Socket& socket, NumberGone how) {
    const bool connection = socket.kind.load(std::memory_order_acquire) == SocketKind::connection;
    if (connection && socket.block == nullptr) { // passed by: nobody but its application knows it
        if (may_end_now(*this, socket, how)) {
            recycle(socket);
        }
        return;
    }
    choose_end(*this, socket);
    linger_if_unfinished(*this, socket);
    if (may_end_now(*this, socket, how)) {
        end_socket(socket);
    }
}

void Process::end_socket(Socket& socket) {
    const bool connected = socket.kind.load(std::memory_order_acquire) == SocketKind::connection;
    const bool foreign =
        connected && is_left_to_relatives(*this, socket) && socket.channel.device == nullptr;
    if (connected && !foreign) {
        choose_end(*this, socket);
        const Phase phase = socket.phase();
        if (Socket::is_ours(phase) && phase != Phase::smc) {
            handshake_finish(*this, socket, end_limit_ns());
        }
    }
    const std::lock_guard lifecycle(lifecycle_mutex_);
    progress_->unwatch(socket);  // what we do now would wake it, and it would keep us from the lock
    if (connected && !foreign && socket.phase() == Phase::settling) {
        const DirectionGuard guard(socket.live_block().handshake_lock);
        settle_before_close(*this, socket);
    }
    drop_handshake_dmb(socket);
    if (foreign) {
        drop_inherited(*this, socket);
    } else if (connected && socket.block != nullptr) {
        tear_down(socket);
    }
    recycle(socket);
}

void Process::recycle(Socket& socket) {
    const std::lock_guard guard(sockets_mutex_);
    socket.kind.store(SocketKind::free, std::memory_order_release);
    socket.generation.fetch_add(1, std::memory_order_acq_rel);
    socket.handshake.end();
    socket.beacon.reset();
    if (socket.lease.valid()) {
        socket.lease.reset();
        discovery_->withdraw();
    }
    socket.block = nullptr;
    socket.device = nullptr;
    socket.peer_gid = {};
    socket.vlan.end();
    socket.kept.reset();
    socket.linger_until_ns.store(0, std::memory_order_relaxed);
    socket.lingered = false;
    socket.held_up.looks.store(0, std::memory_order_relaxed);
    socket.in_sets.store(false, std::memory_order_relaxed);
    socket.non_blocking.store(false, std::memory_order_relaxed);
    socket.receive_buffer_wish = 0;
    socket.low_water = 1;
    socket.tells_inq_begun = false;
    socket.stands_for = 1;
    socket.group_listener = false;
    socket.linger_reset = false;
    socket.inherited.store(false, std::memory_order_relaxed);
    socket.beyond = false;
    socket.stays_on_tcp = false;
    socket.mark = {};
    socket.destination = {};
    socket.spin_data.reset();
    socket.spin_space.reset();
    socket.profile.store(nullptr, std::memory_order_relaxed);
    socket.watch_epoch.store(0, std::memory_order_relaxed);
    socket.tcp_events.store(0, std::memory_order_relaxed);
    socket.shutdowns.store(0, std::memory_order_relaxed);
    free_sockets_.push_back(&socket);
}

bool Process::make_connection(Socket& socket, Role role, Phase phase) {
    auto block = arena_.allocate();
    if (!block) {
        return false;
    }
    (*block)->role = role;
    (*block)->fd = socket.fd;
    (*block)->phase.store(phase, std::memory_order_release);
    socket.block = *block;
    if (phase != Phase::tcp) {
        note_inode(socket);
    }
    socket.set_non_blocking(socket.non_blocking.load(std::memory_order_relaxed));
    socket.set_tells_inq(socket.tells_inq_begun);
    socket.kind.store(SocketKind::connection, std::memory_order_release);
    if (phase != Phase::tcp) {
        set_low_water(socket, 1);
    }
    statistics_.page().connections_live.fetch_add(1, std::memory_order_relaxed);
    return true;
}

std::uint32_t Process::tcp_weight() noexcept {
    // Those who are many and stay are all to be seen.
    const bool few = statistics_.page().connections_live.load(std::memory_order_relaxed) < kFewLive;
    return few && config_.samples_tcp && !log_enabled(LogLevel::debug) ? tcp_openings_.weight(coarse_ns()) : 1;
}

void Process::pass_by(Socket& socket, Reason reason) {
    statistics_.count_tcp(reason);
    socket.kind.store(SocketKind::connection, std::memory_order_release);
    if (PhaseObserver* observer = observer_.load(std::memory_order_acquire);
        observer != nullptr && socket.in_sets.load(std::memory_order_relaxed)) {
        observer->on_phase(socket);
    }
}

void Process::note_inode(Socket& socket) noexcept {
    if (socket.block != nullptr && socket.block->inode == 0) {
        socket.inode = inode_of(socket.fd);
        socket.block->inode = socket.inode;
    }
}

void Process::wake_local(Socket& socket) {
    ConnBlock* block = socket.block;
    if (block == nullptr) {
        return;
    }
    // sync: local-bell. State is changed before; the sequence tells sleepers that entered before us.
    block->local.sequence.fetch_add(1, std::memory_order_seq_cst);
    if (block->local.sleepers.load(std::memory_order_seq_cst) != 0) {
        futex_wake_all(block->local.sequence);
    }
    // sync: phase. The channel is written under the handshake's phases, before the exchange that ends them.
    const Phase phase = socket.phase();
    const bool undecided = phase == Phase::connecting || phase == Phase::handshake || phase == Phase::settling;
    if (!undecided) {
        const DirectionGuard guard(block->rx.lock);  // another thread may be closing it
        if (dev::Bells* const bells = socket.channel.own_bells; bells != nullptr) {
            wake_sleepers(*bells);
        }
    }
    std::uint64_t doors = block->local.doors.load(std::memory_order_seq_cst);
    if (doors != 0 && doorbells_ != nullptr) {
        doors &= doorbells_->mine();
        block->local.doors.fetch_and(~doors, std::memory_order_acq_rel);
        for (unsigned door = 0; doors != 0; ++door, doors >>= 1U) {
            if ((doors & 1U) != 0) {
                // sync: local-signal. Behind the change and the cleared bit: whoever arms again
                // before this finds the signal, whoever arms behind it sees the change.
                local_signals_.raise(door, socket.number);
                doorbells_->ring_local(door);
            }
        }
    }
}

void Process::note_verdict(const Socket& socket, Phase phase, Reason reason) noexcept {
    if (phase == Phase::smc) {
        statistics_.page().connections_smc.fetch_add(1, std::memory_order_relaxed);
    } else {
        statistics_.count_tcp(reason);
    }
    log_verdict(socket, phase, reason);
}

void Process::set_phase(Socket& socket, Phase phase, Reason reason) {
    ConnBlock& block = *socket.block;
    const bool settled = block.phase.load(std::memory_order_acquire) == Phase::settling;
    if ((phase == Phase::tcp || phase == Phase::settling) && !settled) {
        note_verdict(socket, phase, reason);
    }
    block.reason.store(static_cast<std::uint32_t>(reason), std::memory_order_relaxed);
    block.phase.exchange(phase, std::memory_order_acq_rel); // sync: phase
    on_new_phase(socket);
}

void Process::on_new_phase(Socket& socket) {
    ConnBlock& block = *socket.block;
    const Phase phase = socket.phase();
    if (phase == Phase::tcp || phase == Phase::settling) {
        socket.vlan.end();
    }
    if (phase == Phase::tcp) {
        progress_->unwatch(socket);
        set_low_water(socket, socket.low_water);
    }
    if (phase == Phase::tcp || phase == Phase::smc) {
        arena_.free_pre_buffer(block);
    }
    if (PhaseObserver* observer = observer_.load(std::memory_order_acquire); observer != nullptr) {
        observer->on_phase(socket);
    }
    wake_local(socket);
}

void Process::follow_relative(Socket& socket) {
    progress_->unwatch(socket);
    if (PhaseObserver* observer = observer_.load(std::memory_order_acquire); observer != nullptr) {
        observer->on_phase(socket);
    }
}

const Profile& Process::profile_of(const Socket& socket) const noexcept {
    const Profile* own = socket.profile.load(std::memory_order_seq_cst);
    return own == nullptr ? *config_.profile : *own;
}

void Process::set_profile(Socket& socket, const Profile& profile) noexcept {
    socket.profile.store(&profile, std::memory_order_seq_cst);
    socket.spin_data.set_limits(&profile.spin);
    socket.spin_space.set_limits(&profile.spin);
    if (hold_open(socket)) {
        pin_if_wanted(socket);
        let_go(*this, socket);
    }
}

/// sync: pin. The profile is set, then the phase is looked at; establish() sets the phase, then looks at the profile.
void Process::pin_if_wanted(Socket& socket) noexcept {
    if (socket.block != nullptr && socket.block->phase.load(std::memory_order_seq_cst) == Phase::smc &&
        profile_of(socket).pins_memory && !socket.pinned.exchange(true, std::memory_order_acq_rel)) {
        pin_memory(socket.channel);
    }
}

}  // namespace smcd
