// Semantics: one epoll set, several threads. Room tests/e2e, no protocol section.
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <latch>
#include <semaphore>
#include <thread>

#include "tests/e2e/semantics/epoll_calls.hpp"
#include "tests/e2e/semantics/harness.hpp"

namespace smcd::e2e {
namespace {

// Both sleep; two connections become ready at once; each thread has room for one.
void work_for_two(Context& c) {
    const int one = c.open();
    const int two = c.open();
    const int set = new_set();
    add(set, one, EPOLLIN | EPOLLONESHOT, 1);
    add(set, two, EPOLLIN | EPOLLONESHOT, 2);
    std::atomic<int> seen{0};
    std::latch both(2);
    {
        std::array<std::atomic<pid_t>, 2> ids{};
        const auto body = [&](int number) {
            ids.at(static_cast<std::size_t>(number)) = ::gettid();
            epoll_event event{};
            if (::epoll_wait(set, &event, 1, kWaitMs) == 1) {
                seen += static_cast<int>(event.data.u64);
            }
            both.arrive_and_wait(); // busy: what is left is the other's
        };
        const std::jthread first(body, 0);
        const std::jthread second(body, 1);
        for (const std::atomic<pid_t>& id : ids) {
            while (id == 0) {
                std::this_thread::yield();
            }
            wait_asleep(::getpid(), id);
        }
        c.peer().run("use 0; send 1; use 1; send 1");
    }
    c.say("seen: %d", seen.load());
}

// A thread that sleeps on a set and serves what it is told of, until a pipe says so; others may serve, too.
class SleepingServer {
public:
    SleepingServer() {
        check(::pipe(stop_.data()), "pipe");
        add(set_, stop_[0], EPOLLIN, kStop);
        thread_ = std::jthread([this] {
            id_ = ::gettid();
            while (look(kWaitMs)) {
            }
        });
        wait_asleep();
    }

    ~SleepingServer() {
        ::close(stop_[1]);
        thread_.join();
        ::close(stop_[0]);
        ::close(set_);
    }

    SleepingServer(const SleepingServer&) = delete;
    SleepingServer& operator=(const SleepingServer&) = delete;

    [[nodiscard]] int set() const { return set_; }

    void wait_asleep() {
        while (id_ == 0) {
            std::this_thread::yield();
        }
        e2e::wait_asleep(::getpid(), id_);
    }

    /// One wait, and a byte if there is one. false: the end, or nothing came in `time_ms`.
    bool look(int time_ms) {
        epoll_event event{};
        if (::epoll_wait(set_, &event, 1, time_ms) != 1 || event.data.u64 == kStop) {
            return false;
        }
        const int fd = static_cast<int>(event.data.u64);
        char byte = 0;
        check(static_cast<int>(::recv(fd, &byte, 1, 0)), "recv");
        change(EPOLL_CTL_MOD, set_, fd, kServed, event.data.u64);
        served_.release();
        return true;
    }

    bool served() { return served_.try_acquire_for(std::chrono::milliseconds(kWaitMs)); }

    static constexpr unsigned kServed = EPOLLIN | EPOLLET | EPOLLONESHOT;

private:
    static constexpr std::uint64_t kStop = 1U << 20U;

    int set_ = new_set();
    std::array<int, 2> stop_{};
    std::atomic<pid_t> id_{0};
    std::counting_semaphore<> served_{0};
    std::jthread thread_;
};

// One thread sleeps, another only looks: what wakes the sleeper must not end with the one that looks.
void looks_beside_a_sleeper(Context& c) {
    const int fd = c.open();
    SleepingServer server;
    add(server.set(), fd, SleepingServer::kServed, static_cast<std::uint64_t>(fd));
    int served = 0;
    for (int i = 0; i < 40; ++i) {
        server.wait_asleep();
        c.peer().post("send 1");
        for (int looks = 0; i % 2 == 0 && looks < 200; ++looks) {
            server.look(0);
        }
        c.peer().reply();
        served += server.served() ? 1 : 0;
    }
    c.say("served: %d", served);
}

// The same with a set that has had nothing but a pipe when the sleeper came.
void added_beside_a_sleeper(Context& c) {
    const int fd = c.open();
    int served = 0;
    for (int i = 0; i < 20; ++i) {
        SleepingServer server;
        add(server.set(), fd, SleepingServer::kServed, static_cast<std::uint64_t>(fd));
        server.look(0);
        server.look(0);
        c.peer().run("send 1");
        served += server.served() ? 1 : 0;
    }
    c.say("served: %d", served);
}

constexpr std::array kCases = {
    Case{"epoll_work_for_two",         work_for_two          },
    Case{"epoll_looks_beside_sleeper", looks_beside_a_sleeper},
    Case{"epoll_added_beside_sleeper", added_beside_a_sleeper},
};

} // namespace

std::span<const Case> epoll_thread_cases() {
    return kCases;
}

} // namespace smcd::e2e
