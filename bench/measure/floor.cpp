#include "bench/measure/floor.hpp"

#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "smcd/base/clock.hpp"
#include "smcd/base/raw_syscall.hpp"
#include "smcd/base/unique_fd.hpp"

namespace smcd::bench {
namespace {

constexpr std::size_t kRingBytes = 512 * 1024; // as a DMB by default
constexpr double kNsPerS = 1e9;

void pin(int cpu) {
    if (cpu >= 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(static_cast<unsigned>(cpu), &set);
        ::sched_setaffinity(0, sizeof(set), &set);
    }
}

struct alignas(128) Word {
    std::atomic<std::uint32_t> value{0};
};

struct alignas(128) Position {
    std::atomic<std::uint64_t> value{0};
};

/// Calls turn() until the time is over; nanoseconds per call. On a CPU that both threads share a
/// turn must give way.
template <typename Turn>
double time_turns(double seconds, Turn&& turn) {
    const std::uint64_t start = monotonic_ns();
    const std::uint64_t end = start + static_cast<std::uint64_t>(seconds * kNsPerS);
    std::uint64_t turns = 0;
    std::uint64_t now = start;
    do {
        for (int i = 0; i < 64; ++i) {
            turn();
        }
        turns += 64;
        now = monotonic_ns();
    } while (now < end);
    return static_cast<double>(now - start) / static_cast<double>(turns);
}

/// Polls, giving way when it takes long: the other thread may need this CPU.
template <typename Ready>
void poll_until(Ready&& ready) {
    for (std::uint32_t i = 1; !ready(); ++i) {
        __builtin_ia32_pause();
        if (i % 1024 == 0) {
            ::sched_yield();
        }
    }
}

double cache_line_ns(const FloorPlan& plan) {
    Word there;
    Word back;
    std::atomic<bool> stop{false};
    std::thread other([&] {
        pin(plan.second_cpu);
        std::uint32_t seen = 0;
        for (;;) {
            poll_until([&] {
                return there.value.load(std::memory_order_acquire) != seen ||
                       stop.load(std::memory_order_relaxed);
            });
            if (stop.load(std::memory_order_relaxed)) {
                return;
            }
            back.value.store(++seen, std::memory_order_release);
        }
    });
    std::uint32_t sent = 0;
    const double ns = time_turns(plan.seconds, [&] {
        there.value.store(++sent, std::memory_order_release);
        poll_until([&] { return back.value.load(std::memory_order_acquire) == sent; });
    });
    stop.store(true);
    other.join();
    return ns;
}

/// Round trip of two threads that sleep; `wake` and `sleep` work on side 0 or 1.
template <typename Wake, typename Sleep>
double sleeping_round_trip_ns(const FloorPlan& plan, Wake&& wake, Sleep&& sleep) {
    std::atomic<bool> stop{false};
    std::thread other([&] {
        pin(plan.second_cpu);
        for (;;) {
            sleep(1);
            if (stop.load(std::memory_order_relaxed)) {
                return;
            }
            wake(0);
        }
    });
    const double ns = time_turns(plan.seconds, [&] {
        wake(1);
        sleep(0);
    });
    stop.store(true);
    wake(1);
    other.join();
    return ns;
}

double futex_ns(const FloorPlan& plan) {
    std::array<Word, 2> words;
    return sleeping_round_trip_ns(
        plan,
        [&](std::size_t side) {
            words[side].value.store(1, std::memory_order_release);
            raw::futex_wake(words[side].value, 1);
        },
        [&](std::size_t side) {
            while (words[side].value.exchange(0, std::memory_order_acquire) == 0) {
                raw::futex_wait(words[side].value, 0, nullptr);
            }
        });
}

double eventfd_ns(const FloorPlan& plan) {
    const std::array<UniqueFd, 2> fds{UniqueFd(::eventfd(0, EFD_CLOEXEC)),
                                      UniqueFd(::eventfd(0, EFD_CLOEXEC))};
    return sleeping_round_trip_ns(
        plan,
        [&](std::size_t side) {
            const std::uint64_t one = 1;
            static_cast<void>(!::write(fds[side].get(), &one, sizeof(one)));
        },
        [&](std::size_t side) {
            std::uint64_t rings = 0;
            static_cast<void>(!::read(fds[side].get(), &rings, sizeof(rings)));
        });
}

double memcpy_gb_per_s(const FloorPlan& plan) {
    const std::size_t bytes = std::max<std::size_t>(plan.copy_bytes, 4096);
    std::vector<char> from(bytes, 'x');
    std::vector<char> to(bytes);
    const double ns = time_turns(plan.seconds, [&] {
        std::memcpy(to.data(), from.data(), bytes);
        asm volatile("" : : "r"(to.data()) : "memory");
    });
    return static_cast<double>(bytes) / ns;
}

/// A ring without a protocol: one thread copies in, the other out, each publishing an eighth of the
/// ring at a time.
double ring_gb_per_s(const FloorPlan& plan) {
    const std::size_t bytes = std::max<std::size_t>(plan.copy_bytes, 4096);
    std::vector<char> ring(kRingBytes);
    Position produced;
    Position consumed;
    std::atomic<bool> stop{false};
    constexpr std::size_t kPiece = kRingBytes / 8;
    const auto move = [&](std::uint64_t position, char* memory, std::size_t n, bool in) {
        while (n > 0) {
            const std::size_t offset = position % kRingBytes;
            const std::size_t chunk = std::min(n, kRingBytes - offset);
            in ? std::memcpy(ring.data() + offset, memory, chunk)
               : std::memcpy(memory, ring.data() + offset, chunk);
            memory += chunk;
            position += chunk;
            n -= chunk;
        }
    };
    std::thread reader([&] {
        pin(plan.second_cpu);
        std::vector<char> to(kPiece);
        std::uint64_t at = 0;
        for (;;) {
            std::uint64_t there = 0;
            poll_until([&] {
                there = produced.value.load(std::memory_order_acquire);
                return there != at || stop.load(std::memory_order_relaxed);
            });
            if (there == at) {
                return;
            }
            const std::size_t n = std::min<std::uint64_t>(there - at, kPiece);
            move(at, to.data(), n, false);
            at += n;
            consumed.value.store(at, std::memory_order_release);
        }
    });
    std::vector<char> from(bytes, 'x');
    std::uint64_t at = 0;
    const double ns = time_turns(plan.seconds, [&] {
        for (std::size_t done = 0; done < bytes;) {
            const std::size_t n = std::min(bytes - done, kPiece);
            poll_until([&] {
                return at + n - consumed.value.load(std::memory_order_acquire) <= kRingBytes;
            });
            move(at, from.data() + done, n, true);
            at += n;
            done += n;
            produced.value.store(at, std::memory_order_release);
        }
    });
    stop.store(true);
    reader.join();
    return static_cast<double>(bytes) / ns;
}

} // namespace

Floor measure_floor(const FloorPlan& plan) {
    Floor floor;
    // A thread of its own, so that the pinning ends with it.
    std::thread([&] {
        pin(plan.first_cpu);
        floor.set_cache_line_round_trip_ns(cache_line_ns(plan));
        floor.set_futex_wake_us(futex_ns(plan) / 2000);
        floor.set_eventfd_wake_us(eventfd_ns(plan) / 2000);
        floor.set_memcpy_gb_per_s(memcpy_gb_per_s(plan));
        floor.set_two_copy_ring_gb_per_s(ring_gb_per_s(plan));
        floor.set_copy_bytes(static_cast<double>(std::max<std::size_t>(plan.copy_bytes, 4096)));
    }).join();
    return floor;
}

} // namespace smcd::bench
