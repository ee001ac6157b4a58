// EpollSet: what is ready, as level, edge and one-shot want it told. Floor 4.
#include <poll.h>

#include <algorithm>

#include "preload/epoll_set.hpp"
#include "preload/epoll_tags.hpp"
#include "smcd/runtime/stream.hpp"

namespace smcd::preload {
namespace {

constexpr std::uint32_t kAlways = EPOLLERR | EPOLLHUP;
constexpr std::uint32_t kData = EPOLLIN | EPOLLPRI | EPOLLRDNORM | EPOLLRDBAND;
/// An end wakes every entry, whatever it asks for.
constexpr std::uint32_t kEnds = kAlways | EPOLLRDHUP;
constexpr std::uint32_t kModes = EPOLLET | EPOLLONESHOT | EPOLLWAKEUP | EPOLLEXCLUSIVE;
/// What the kernel says of a set with something to report.
constexpr std::uint32_t kSetReady = EPOLLIN | EPOLLRDNORM;

constexpr std::uint64_t kMarkBegin = 0xCBF2'9CE4'8422'2325ULL;

/// Folds a number into a mark (FNV).
std::uint64_t mix(std::uint64_t mark, std::uint64_t value) noexcept {
    constexpr std::uint64_t kPrime = 0x100'0000'01B3ULL;
    return (mark ^ value) * kPrime;
}

/// Changes with what wakes those who wait for data.
std::uint64_t arrival_of(Socket& socket) noexcept {
    const std::uint32_t events = socket.tcp_events.load(std::memory_order_acquire);
    return socket.phase() == Phase::smc ? mix(RxPath(socket.channel).arrival_mark(), events) : events;
}

/// Changes with what wakes everybody: shutdown(), the peer's end, a reset.
std::uint32_t ends_of(Socket& socket) noexcept {
    const std::uint32_t shutdowns = socket.shutdowns.load(std::memory_order_acquire);
    if (socket.phase() != Phase::smc) {
        return shutdowns << 2U;
    }
    const std::uint32_t peer = socket.block->rx.peer_flags.load(std::memory_order_relaxed);
    const bool reset = (peer & kPeerConnAbort) != 0 ||
                       (socket.block->flags.load(std::memory_order_relaxed) & kFlagReset) != 0;
    const bool ended = (peer & (kPeerDoneWriting | kPeerConnClosed)) != 0;
    return shutdowns << 2U | (reset ? 2U : 0U) | (ended ? 1U : 0U);
}

} // namespace

/// What the entry would report now; updates what it has seen. Level: the state; edge: only with
/// news.
PollMask EpollSet::due(Entry& entry) noexcept {
    if (entry.in_kernel || entry.disabled) {
        return 0;
    }
    Socket& socket = *entry.socket;
    const PollMask mask = stream_poll(socket, entry.interest.events);
    const PollMask wanted = mask & (entry.interest.events | kAlways) & ~kModes;
    if ((entry.interest.events & EPOLLET) == 0) {
        return wanted;
    }
    const std::uint64_t arrival = arrival_of(socket);
    const std::uint32_t ends = ends_of(socket);
    const std::uint32_t stalls = socket.send_stalls.load(std::memory_order_relaxed);
    // As the kernel's wake-up: for entries that ask for data, above the low-water mark; then whatever is true is told.
    const bool arrived = arrival != entry.seen_arrival && (entry.interest.events & kData) != 0 &&
                         ((mask & EPOLLIN) != 0 || socket.low_water <= 1);
    const bool ended = ends != entry.seen_ends;
    const bool drained = stalls != entry.seen_stalls && (mask & EPOLLOUT) != 0;
    const bool changed = (mask & ~entry.seen_mask & (entry.interest.events | kEnds)) != 0;
    const bool news = entry.fresh || arrived || ended || drained || changed;
    entry.seen_mask = mask;
    entry.seen_arrival = arrival;
    entry.seen_ends = ends;
    if ((mask & EPOLLOUT) != 0) {
        entry.seen_stalls = stalls;
    }
    entry.fresh = false;
    return news ? wanted : 0;
}

/// The same for an inner set, as far as entries of ours make it ready.
bool EpollSet::due(Nested& nested) {
    if (nested.disabled || (nested.interest.events & kSetReady) == 0) {
        return false;
    }
    const std::uint64_t mark = nested.inner->ready_mark();
    const bool news = mark != nested.seen_mark || (nested.interest.events & EPOLLET) == 0;
    nested.seen_mark = mark;
    return mark != 0 && news;
}

int EpollSet::collect(const RealCalls& real, std::span<epoll_event> events) {
    const std::lock_guard guard(mutex_);
    refresh();
    ++batch_;
    std::size_t count = 0;
    const std::size_t total = hot_.size() + nested_.size();
    std::size_t at = next_ < total ? next_ : 0;
    for (std::size_t i = 0; i < total && count < events.size(); ++i) {
        const std::size_t look = at;
        at = at + 1 == total ? 0 : at + 1;
        epoll_event& event = events[count];
        if (look >= hot_.size()) {
            Nested& nested = *nested_[look - hot_.size()];
            if (due(nested)) {
                event.events = kSetReady;
                event.data.u64 = nested_tag(&nested);
                ++count;
            }
            continue;
        }
        Entry& entry = entries_[hot_[look]];
        const PollMask mask = due(entry);
        if (mask == 0) {
            ++entry.idle_looks;
            idle_ = true;
            continue;
        }
        event.events = mask;
        event.data = entry.interest.data;
        ++count;
        entry.idle_looks = 0;
        entry.batch = batch_;
        entry.disabled = (entry.interest.events & EPOLLONESHOT) != 0;
    }
    next_ = count < events.size() ? 0 : at;
    chill_idle(real);
    return static_cast<int>(count);
}

std::size_t EpollSet::without_moved(std::span<epoll_event> collected, std::uint32_t before) {
    if (moves() == before) {
        return collected.size();
    }
    const std::lock_guard guard(mutex_);
    std::size_t left = collected.size();
    for (const Entry& entry : entries_) {
        // One-shot: it has fired with us, and the kernel was given it silent.
        if (!entry.in_kernel || entry.batch != batch_ || entry.disabled) {
            continue;
        }
        const auto told = std::find_if(collected.begin(), collected.begin() + static_cast<std::ptrdiff_t>(left),
                                       [&entry](const epoll_event& event) {
                                           return event.data.u64 == entry.interest.data.u64;
                                       });
        if (told != collected.begin() + static_cast<std::ptrdiff_t>(left)) {
            std::copy(told + 1, collected.begin() + static_cast<std::ptrdiff_t>(left), told);
            --left;
        }
    }
    return left;
}

/// The caller holds the lock.
bool EpollSet::any_due() {
    refresh();
    const bool found = std::any_of(hot_.begin(), hot_.end(), [this](std::size_t position) {
        Entry copy = entries_[position];
        return due(copy) != 0;
    });
    return found || std::any_of(nested_.begin(), nested_.end(), [](const auto& nested) {
               Nested copy = *nested;
               return due(copy);
           });
}

bool EpollSet::any_ready() {
    const std::lock_guard guard(mutex_);
    return any_due();
}

std::uint64_t EpollSet::ready_mark() {
    const std::lock_guard guard(mutex_);
    refresh();
    // Sums: the order of the entries changes, and that is no news.
    std::uint64_t sum = 0;
    bool found = false;
    for (const std::size_t position : hot_) {
        Entry copy = entries_[position];
        if (const PollMask mask = due(copy); mask != 0) {
            const std::uint32_t stalls = copy.socket->send_stalls.load(std::memory_order_relaxed);
            const bool data = (copy.interest.events & kData) != 0;
            std::uint64_t own = mix(mix(kMarkBegin, static_cast<std::uint64_t>(copy.fd)), mask);
            own = mix(mix(own, ends_of(*copy.socket)), data ? arrival_of(*copy.socket) : 0);
            sum += mix(own, (mask & EPOLLOUT) != 0 ? stalls : 0);
            found = true;
        }
    }
    for (const auto& nested : nested_) {
        Nested copy = *nested;
        if (due(copy)) {
            sum += mix(kMarkBegin, copy.seen_mark);
            found = true;
        }
    }
    return found ? sum | 1U : 0;
}

bool EpollSet::has_connections() {
    const std::lock_guard guard(mutex_);
    return ours_ != 0 || std::any_of(nested_.begin(), nested_.end(), [](const auto& nested) {
               return nested->inner->has_connections();
           });
}

void EpollSet::unsettled(std::vector<Unsettled>& sockets) {
    const std::lock_guard guard(mutex_);
    refresh();
    for (const std::size_t position : hot_) { // such an entry is never cold
        const Entry& entry = entries_[position];
        if (!entry.in_kernel && entry.socket->phase() != Phase::smc) {
            sockets.push_back({entry.socket, entry.generation});
        }
    }
    for (const auto& nested : nested_) {
        nested->inner->unsettled(sockets);
    }
}

bool EpollSet::kernel_ready(const RealCalls& real) {
    const std::lock_guard guard(mutex_);
    // A doorbell that has rung for nobody who still sleeps makes a set look ready to the sets
    // around it. Whoever sleeps takes it himself, so it is left alone then.
    if (sleepers_ == 0 && kernel_waiters == 0) {
        drain_door();
    }
    for (const auto& nested : nested_) {
        static_cast<void>(nested->inner->kernel_ready(real));
    }
    pollfd self{epfd(), POLLIN, 0};
    return real.poll(&self, 1, 0) > 0 && (self.revents & POLLIN) != 0;
}

/// An event under the tag of an inner set; false: there is nothing to report.
bool EpollSet::translate(const RealCalls& real, epoll_event& event, bool collected) {
    const auto known = std::find_if(nested_.begin(), nested_.end(), [&](const auto& nested) {
        return nested_tag(nested.get()) == event.data.u64;
    });
    if (known == nested_.end()) {
        return true; // the application's own number
    }
    Nested& nested = **known;
    if (nested.reported || nested.disabled ||
        (!collected && !due(nested) && !nested.inner->kernel_ready(real))) {
        return false;
    }
    nested.reported = true;
    event.data = nested.interest.data;
    event.events = kSetReady & nested.interest.events;
    if ((nested.interest.events & EPOLLONESHOT) != 0) {
        nested.disabled = true;
        epoll_event silent{};
        silent.data.u64 = nested_tag(&nested);
        real.epoll_ctl(epfd(), EPOLL_CTL_MOD, nested.fd, &silent);
    }
    return true;
}

int EpollSet::settle(const RealCalls& real,
                     std::span<epoll_event> events,
                     int collected,
                     int count) {
    const auto found = events.first(static_cast<std::size_t>(count));
    if (std::none_of(found.begin(), found.end(), [](const epoll_event& event) {
            return may_be_tag(event.data.u64);
        })) {
        return count;
    }
    const std::lock_guard guard(mutex_);
    for (const auto& nested : nested_) {
        nested->reported = false;
    }
    std::size_t kept = 0;
    for (std::size_t i = 0; i < found.size(); ++i) {
        epoll_event event = found[i];
        if (is_door_of(this, event.data.u64)) {
            tidy_door(real);
            continue;
        }
        if (!may_be_tag(event.data.u64) ||
            translate(real, event, i + static_cast<std::size_t>(collected) >= found.size())) {
            found[kept++] = event;
        }
    }
    return static_cast<int>(kept);
}

} // namespace smcd::preload
