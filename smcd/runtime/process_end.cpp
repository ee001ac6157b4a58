// How connections and the process end. Floor 3.
#include <fcntl.h>
#include <signal.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstddef>
#include <string>
#include <utility>

#include "smcd/base/clock.hpp"
#include "smcd/base/high_fd.hpp"
#include "smcd/base/kernel_identity.hpp"
#include "smcd/base/raw_syscall.hpp"
#include "smcd/core/direction_lock.hpp"
#include "smcd/runtime/goodbye.hpp"
#include "smcd/runtime/handshake.hpp"
#include "smcd/runtime/inheritance.hpp"
#include "smcd/runtime/lingering.hpp"
#include "smcd/runtime/process.hpp"

namespace smcd {
namespace {

/// Bytes that went through TCP, from the kernel's own count; of a connection that stands for `weight`.
void count_tcp_bytes(ProcessPage& page, int fd, std::uint32_t weight) noexcept {
    if (weight == 0) {
        return;
    }
    tcp_info info{};
    socklen_t length = sizeof(info);
    if (raw::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0 &&
        length >= offsetof(tcp_info, tcpi_bytes_received) + sizeof(info.tcpi_bytes_received)) {
        page.tcp_tx_bytes.fetch_add(weight * info.tcpi_bytes_acked, std::memory_order_relaxed);
        page.tcp_rx_bytes.fetch_add(weight * info.tcpi_bytes_received, std::memory_order_relaxed);
    }
}

/// A program that has given up writing files (RLIMIT_FSIZE) would be killed for it.
void append_quietly(int fd, const std::string& line) noexcept {
    sigset_t quiet;
    sigset_t before;
    ::sigemptyset(&quiet);
    ::sigaddset(&quiet, SIGXFSZ);
    ::pthread_sigmask(SIG_BLOCK, &quiet, &before);
    const bool refused = raw::write(fd, line.data(), line.size()) < 0 && errno == EFBIG;
    if (!refused) {  // else it is pending, and the process is about to end
        ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    }
}

}  // namespace

void Process::learn_from(const Socket& socket) {
    const ConnBlock& block = *socket.block;
    if (block.role == Role::client) {
        const std::uint64_t now = monotonic_ns();
        const bool paid = was_worth_it(block.tx.bytes.load(std::memory_order_relaxed) +
                                           block.rx.bytes.load(std::memory_order_relaxed),
                                       block.tx.calls.load(std::memory_order_relaxed) +
                                           block.rx.calls.load(std::memory_order_relaxed),
                                       now - block.since_ns);
        short_lived_.on_end(socket.destination, paid, now);
    }
}

void Process::tear_down(Socket& socket) {
    ConnBlock& block = *socket.block;
    Channel channel;
    if (socket.channel.device != nullptr) {
        // Both directions: no copy of another thread is under way, and one that comes too late finds a closed channel.
        const DirectionGuard receiving(block.rx.lock);
        const DirectionGuard sending(block.tx.lock);
        channel = std::exchange(socket.channel, closed_channel());
    }
    // Behind the locks, which are in the block: it may be another connection's as soon as we do not hold it.
    const bool last = arena_.release(block);
    // Not before: until it lets go, a relative may be taking the connection to TCP.
    const Phase phase = last ? socket.phase() : Phase::closed;
    if (channel.device != nullptr) {
        if (last) {
            if (phase == Phase::smc) {
                say_goodbye(socket, channel);
            }
            statistics_.absorb(block);
            learn_from(socket);
        }
        if (socket.pinned.exchange(false, std::memory_order_relaxed)) {
            unpin_memory(channel);
        }
        dmb_owners_.clear(*socket.device, channel.dmb.index);
        static_cast<void>(socket.device->unregister_dmb(channel.dmb.token));
        static_cast<void>(socket.device->detach_dmb(channel.remote.token));
        socket.send_buffer.reset();
    }
    if (phase == Phase::tcp && last && !config_.stats_file.empty()) {
        count_tcp_bytes(statistics_.page(), socket.fd, socket.stands_for);
    }
    if (last) {
        arena_.free_pre_buffer(block);
        block.phase.store(Phase::closed, std::memory_order_release);
        ConnArena::free(block);  // behind everything else: another thread may be waiting for a block
    }
    statistics_.page().connections_live.fetch_sub(1, std::memory_order_relaxed);
}

void Process::at_exit() {
    if (exited_.exchange(true)) {
        return;
    }
    const std::uint64_t end = monotonic_ns() + kExitLimitNs;
    for_each_socket([&](Socket& socket) {
        if (socket.kind.load(std::memory_order_acquire) != SocketKind::connection ||
            is_left_to_relatives(*this, socket)) {
            return;
        }
        choose_end(*this, socket);
        const std::uint64_t now = monotonic_ns();
        if (Socket::is_ours(socket.phase()) && socket.phase() != Phase::smc && now < end) {
            handshake_close(*this, socket, end - now);
            await_client_at_exit(*this, socket);
        }
        const bool alone = !arena_.is_shared(socket.live_block());  // else a relative may be taking it to TCP
        const Phase phase = socket.phase();
        if (phase == Phase::smc && alone) {
            say_goodbye(socket, socket.channel);
        }
        if (socket.channel.device != nullptr) {
            statistics_.absorb(*socket.block);
        }
        if (phase == Phase::tcp && !config_.stats_file.empty()) {
            count_tcp_bytes(statistics_.page(), socket.fd, socket.stands_for);
        }
    });
    if (config_.stats_file.empty()) {
        return;
    }
    // One append of one line: lines of several processes do not mix.
    const UniqueFd file = open_stats_file();
    const int fd = file.valid() ? file.get() : stats_file_.get();
    append_quietly(fd, statistics_.json_line());
}

UniqueFd Process::open_stats_file() const noexcept {
    return UniqueFd(raw::open(config_.stats_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666));
}

void Process::before_chroot() {
    static_cast<void>(kernel_identity());
    if (config_.stats_file.empty() || stats_file_.valid()) {
        return;
    }
    if (auto file = lift_fd(open_stats_file()); file) {
        stats_file_ = *std::move(file);
    }
}

}  // namespace smcd
