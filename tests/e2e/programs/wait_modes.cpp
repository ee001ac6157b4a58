// The ways in which a program waits for its sockets: one loop for each.
// Room tests/e2e, no protocol section.
#include "tests/e2e/programs/wait_modes.hpp"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <mutex>
#include <thread>

#include "tests/e2e/programs/net.hpp"

namespace smcd::e2e {
namespace {

constexpr unsigned kStepsPerTurn = 8; // level-triggered loops: nobody starves the others

void advance(Pump& pump, bool readable, bool writable) {
    for (unsigned i = 0; readable && pump.receiving() && i < kStepsPerTurn; ++i) {
        readable = pump.receive_some() == Step::progress;
    }
    for (unsigned i = 0; writable && pump.sending() && i < kStepsPerTurn; ++i) {
        writable = pump.send_some() == Step::progress;
    }
}

// Edge-triggered: both directions until EAGAIN or their end.
void exhaust(Pump& pump) {
    while (pump.receiving() && pump.receive_some() == Step::progress) {
    }
    while (pump.sending() && pump.send_some() == Step::progress) {
    }
}

void run_blocking(Pumps& pumps) {
    std::vector<std::thread> threads;
    for (auto& pump : pumps) {
        threads.emplace_back([&pump] {
            while (pump->send_some() != Step::done) {
            }
        });
        threads.emplace_back([&pump] {
            while (pump->receive_some() != Step::done) {
            }
        });
    }
    for (auto& thread : threads) {
        thread.join();
    }
}

void run_poll(Pumps& pumps) {
    for (;;) {
        std::vector<pollfd> waits;
        std::vector<Pump*> owners;
        for (auto& pump : pumps) {
            const int events = (pump->receiving() ? POLLIN : 0) | (pump->sending() ? POLLOUT : 0);
            if (events != 0) {
                waits.push_back({pump->fd(), static_cast<short>(events), 0});
                owners.push_back(pump.get());
            }
        }
        if (waits.empty()) {
            return;
        }
        check(::poll(waits.data(), waits.size(), -1), "poll");
        for (std::size_t i = 0; i < waits.size(); ++i) {
            const int got = waits[i].revents;
            advance(*owners[i],
                    (got & (POLLIN | POLLHUP | POLLERR)) != 0,
                    (got & (POLLOUT | POLLERR)) != 0);
        }
    }
}

void run_select(Pumps& pumps) {
    for (;;) {
        fd_set readable;
        fd_set writable;
        FD_ZERO(&readable);
        FD_ZERO(&writable);
        int end = 0;
        for (auto& pump : pumps) {
            if (pump->finished()) {
                continue;
            }
            if (pump->receiving()) {
                FD_SET(pump->fd(), &readable);
            }
            if (pump->sending()) {
                FD_SET(pump->fd(), &writable);
            }
            end = std::max(end, pump->fd() + 1);
        }
        if (end == 0) {
            return;
        }
        check(::select(end, &readable, &writable, nullptr, nullptr), "select");
        for (auto& pump : pumps) {
            advance(*pump, FD_ISSET(pump->fd(), &readable), FD_ISSET(pump->fd(), &writable));
        }
    }
}

// One epoll set with its connections; several threads may run loop().
class EpollSet {
public:
    explicit EpollSet(const std::string& mode)
        : edge_(mode == "epoll-edge"), oneshot_(mode == "epoll-oneshot"),
          set_(check(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1")),
          end_(check(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd")) {
        epoll_event event{};
        event.events = EPOLLIN;
        check(::epoll_ctl(set_, EPOLL_CTL_ADD, end_, &event), "epoll_ctl eventfd");
    }

    EpollSet(const EpollSet&) = delete;
    EpollSet& operator=(const EpollSet&) = delete;

    ~EpollSet() {
        ::close(set_);
        ::close(end_);
    }

    // The addresses of the members must not change afterwards: epoll keeps them.
    void add(Pump* pump) {
        auto member = std::make_unique<Member>();
        member->pump = pump;
        members_.push_back(std::move(member));
        ++left_;
    }

    void start() {
        if (left_ == 0) {
            wake_all();
        }
        for (auto& member : members_) {
            epoll_event event = interest(*member);
            check(::epoll_ctl(set_, EPOLL_CTL_ADD, member->pump->fd(), &event), "EPOLL_CTL_ADD");
        }
    }

    void loop() {
        std::array<epoll_event, 16> events{};
        for (;;) {
            const int count =
                ::epoll_wait(set_, events.data(), static_cast<int>(events.size()), -1);
            if (count == -1 && errno == EINTR) {
                continue;
            }
            check(count, "epoll_wait");
            for (int i = 0; i < count; ++i) {
                auto* member = static_cast<Member*>(events[static_cast<std::size_t>(i)].data.ptr);
                if (member == nullptr) {
                    return;
                }
                serve(*member, events[static_cast<std::size_t>(i)].events);
            }
        }
    }

private:
    struct Member {
        std::mutex mutex;
        Pump* pump = nullptr;
        bool removed = false;
    };

    epoll_event interest(Member& member) const {
        epoll_event event{};
        event.data.ptr = &member;
        if (edge_) {
            event.events = EPOLLIN | EPOLLOUT | EPOLLET;
            return event;
        }
        event.events = (member.pump->receiving() ? static_cast<unsigned>(EPOLLIN) : 0U) |
                       (member.pump->sending() ? static_cast<unsigned>(EPOLLOUT) : 0U) |
                       (oneshot_ ? static_cast<unsigned>(EPOLLONESHOT) : 0U);
        return event;
    }

    void serve(Member& member, unsigned events) {
        const std::lock_guard lock(member.mutex);
        if (member.removed) {
            return; // another thread finished it after this event was taken
        }
        Pump& pump = *member.pump;
        const bool sending = pump.sending();
        const bool receiving = pump.receiving();
        if (edge_) {
            exhaust(pump);
        } else {
            advance(pump,
                    (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0,
                    (events & (EPOLLOUT | EPOLLERR)) != 0);
        }
        if (pump.finished()) {
            check(::epoll_ctl(set_, EPOLL_CTL_DEL, pump.fd(), nullptr), "EPOLL_CTL_DEL");
            member.removed = true;
            if (--left_ == 0) {
                wake_all();
            }
            return;
        }
        const bool changed = sending != pump.sending() || receiving != pump.receiving();
        if (oneshot_ || (changed && !edge_)) {
            epoll_event event = interest(member);
            check(::epoll_ctl(set_, EPOLL_CTL_MOD, pump.fd(), &event), "EPOLL_CTL_MOD");
        }
    }

    // The event is never read: every thread of the set sees it, level-triggered.
    void wake_all() const { check(::eventfd_write(end_, 1), "eventfd_write"); }

    bool edge_;
    bool oneshot_;
    int set_;
    int end_;
    std::atomic<std::size_t> left_{0};
    std::vector<std::unique_ptr<Member>> members_;
};

void run_epoll(Pumps& pumps, const std::string& mode, unsigned threads, bool shared) {
    std::vector<std::unique_ptr<EpollSet>> sets;
    const unsigned set_count = shared ? 1 : threads;
    for (unsigned i = 0; i < set_count; ++i) {
        sets.push_back(std::make_unique<EpollSet>(mode));
    }
    for (std::size_t i = 0; i < pumps.size(); ++i) {
        sets[i % set_count]->add(pumps[i].get());
    }
    for (auto& set : sets) {
        set->start();
    }
    std::vector<std::thread> workers;
    for (unsigned i = 1; i < threads; ++i) {
        workers.emplace_back([&set = *sets[i % set_count]] { set.loop(); });
    }
    sets[0]->loop();
    for (auto& worker : workers) {
        worker.join();
    }
}

} // namespace

bool is_blocking_mode(const std::string& mode) {
    return mode == "blocking";
}

void run_pumps(Pumps& pumps, const std::string& mode, unsigned threads, bool shared) {
    const bool epoll = mode == "epoll-level" || mode == "epoll-edge" || mode == "epoll-oneshot";
    if (epoll) {
        run_epoll(pumps, mode, threads, shared);
        return;
    }
    if (threads != 1) {
        die("only epoll modes take several threads");
    }
    if (mode == "blocking") {
        run_blocking(pumps);
    } else if (mode == "poll") {
        run_poll(pumps);
    } else if (mode == "select") {
        run_select(pumps);
    } else {
        die("unknown wait mode %s", mode.c_str());
    }
}

} // namespace smcd::e2e
