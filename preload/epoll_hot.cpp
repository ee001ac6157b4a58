// EpollSet: which entries a wait looks at. Floor 4, docs/architecture.md "many connections".
//
// An entry of ours is hot or cold. Hot: every wait looks at it. Cold: it was not ready when it was
// last looked at, behind a full fence behind the arming of its bells; only a signal makes a wait
// look again. Whatever can make a cold entry ready
//
//   the peer's data, space or end          raises a signal bit of the device for our doorbell
//   an event inside this process           raises a local signal (Process::wake_local())
//   ADD, MOD, a change of phase, fork()    makes the entry hot
//
//   chill_idle()                           peer                          wake_local()
//   arm the bells and the doors word       publish                       change the state
//   full fence                             full fence                    clear the doors word
//   look: nothing due -> cold              bell armed: clear it,         raise the local signal
//                                          raise the signal bit
//
// Either our look sees the publication, or the peer sees the bell, clears it and raises the bit,
// which the next take_signals() finds. A bell that is clear while its entry is cold thus means a
// bit that is raised, or about to be; raising comes before the look at the doorbell's epoch, so a
// sleeper hears of it as of any other (devices/api/doorbell.hpp). sync: cold-entry
//
// Where nobody would tell us, entries stay hot: phases other than smc, connections that a relative
// has open too, sets without a doorbell. What peers signal is a number that is looked up in our own
// tables; a false one costs a look, and none can take another's signal away.
#include <algorithm>
#include <functional>

#include "preload/epoll_set.hpp"

namespace smcd::preload {
namespace {

/// Looks in a row without a result after which an entry is put aside.
constexpr std::uint32_t kIdleLooks = 4;

bool is_shared(const Socket& socket) noexcept {
    return count_holders(socket.block->holders.load(std::memory_order_acquire)) > 1;
}

/// Whether every change of it is signalled to us. `holders` comes first: what a relative did before
/// it gave the connection up is seen in the phase and in the look that follows.
bool is_signalled(Process& process, Socket& socket) noexcept {
    return !is_shared(socket) &&
           socket.phase() == Phase::smc && socket.number < LocalSignals::kCapacity &&
           process.dmb_owners().find(*socket.device, socket.channel.dmb.index) == &socket;
}

} // namespace

void EpollSet::heat(std::size_t position) {
    Entry& entry = entries_[position];
    entry.idle_looks = 0;
    if (entry.hot_at != kCold || entry.in_kernel) {
        return;
    }
    entry.hot_at = static_cast<std::uint32_t>(hot_.size());
    hot_.push_back(position);
}

void EpollSet::chill(std::size_t position) noexcept {
    Entry& entry = entries_[position];
    if (entry.hot_at == kCold) {
        return;
    }
    hot_[entry.hot_at] = hot_.back();
    entries_[hot_.back()].hot_at = entry.hot_at;
    hot_.pop_back();
    entry.hot_at = kCold;
}

void EpollSet::heat_all() {
    for (std::size_t position = 0; position < entries_.size(); ++position) {
        heat(position);
    }
}

void EpollSet::heat_socket(const Socket& socket) {
    const auto [first, last] = by_socket_.equal_range(&socket);
    for (auto it = first; it != last; ++it) {
        if (!entries_[it->second].disabled) {
            heat(it->second);
        }
    }
}

/// Makes the entries hot that somebody has signalled. Whether there were any: their bells are
/// silent now, whether they were cold or hot and armed for a sleep.
bool EpollSet::take_signals() {
    if (heat_all_.load(std::memory_order_relaxed)) [[unlikely]] {
        heat_all_.store(false, std::memory_order_relaxed);
        heat_all();
    }
    if (door_ < 0) {
        return false;
    }
    const auto door = static_cast<unsigned>(door_);
    bool taken = false;
    for (const auto& device : process_->devices().all()) {
        if (!device->has_signal(door)) [[likely]] {
            continue;
        }
        const auto on_signal = [this, &device, &taken](SbaIndex index) {
            taken = true;
            if (const Socket* socket = process_->dmb_owners().find(*device, index)) {
                heat_socket(*socket);
            }
        };
        device->harvest(door, std::cref(on_signal)); // by reference: nothing is allocated
    }
    if (process_->local_signals().has_signal(door)) [[unlikely]] {
        process_->local_signals().harvest(door, [this, &taken](std::uint32_t number) {
            taken = true;
            if (const Socket* socket = process_->socket_at(number)) {
                heat_socket(*socket);
            }
        });
    }
    return taken;
}

/// Before a look. While anybody sleeps on the set, the caller perhaps, who is about to, a bell that
/// was silenced by a change too small to be reported must ring again.
void EpollSet::refresh() {
    if (take_signals() && sleepers_.load(std::memory_order_relaxed) != 0) {
        arm_hot(*process_);
        std::atomic_thread_fence(std::memory_order_seq_cst); // sync: bell
    }
}

/// Puts entries aside that were idle for some looks.
void EpollSet::chill_idle(const RealCalls& real) {
    if (!idle_ || hot_.size() <= process_->config().hot_entries ||
        !ensure_doorbell(real, *process_)) {
        return;
    }
    idle_ = false;
    bool armed = false;
    const std::uint32_t looks = process_->config().hot_entries == 0 ? 1 : kIdleLooks;
    const auto is_candidate = [looks](const Entry& entry) {
        return entry.idle_looks >= looks && !entry.disabled;
    };
    const auto is_held_up = [&](std::size_t position) {
        const Entry& entry = entries_[position];
        return is_candidate(entry) && is_shared(*entry.socket);
    };
    if (std::any_of(hot_.begin(), hot_.end(), is_held_up)) {
        process_->forget_ended_relatives();
    }
    for (const std::size_t position : hot_) {
        Entry& entry = entries_[position];
        if (is_candidate(entry) && is_signalled(*process_, *entry.socket)) {
            arm(*process_, entry);
            armed = true;
        } else {
            entry.idle_looks = std::min(entry.idle_looks, looks - 1);
        }
    }
    if (armed) {
        std::atomic_thread_fence(std::memory_order_seq_cst); // sync: cold-entry
    }
    for (std::size_t i = hot_.size(); i-- > 0;) {
        const std::size_t position = hot_[i];
        const Entry& entry = entries_[position];
        if (entry.disabled) {
            chill(position); // until it is modified
            continue;
        }
        Entry copy = entry;
        if (is_candidate(entry) && is_signalled(*process_, *entry.socket) && due(copy) == 0) {
            chill(position);
        }
    }
}

} // namespace smcd::preload
