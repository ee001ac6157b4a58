#include "smcd/runtime/held_up.hpp"

#include <chrono>
#include <vector>

#include "smcd/runtime/process.hpp"
#include "smcd/runtime/return_tcp.hpp"

namespace smcd {
namespace {

constexpr std::chrono::milliseconds kSweepEvery{500};
/// HeldUp::looks: marked by a send; looked at once. The second look behind that one, a second later, decides.
constexpr std::uint32_t kMarked = 1;
constexpr std::uint32_t kLookedAt = 2;
/// Looks without a mark after which the watch ends. A stream that runs marks its connection all the time.
constexpr unsigned kIdleLooks = 8;

/// Whether the peer has read nothing for too long. Takes the mark away where there is space again.
bool is_stuck(Socket& socket) noexcept {
    HeldUp& state = socket.held_up;
    const std::uint32_t looks = state.looks.exchange(0, std::memory_order_seq_cst);
    // sync: held-up. The mark goes, then we look at the space; a send finds no space, then looks at the mark.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (socket.phase() != Phase::smc || TxPath(socket.channel).writable()) {
        return false;
    }
    const std::uint64_t consumer = socket.live_block().tx.peer_consumer.load(std::memory_order_relaxed);
    if (looks == kMarked || consumer != state.consumer) {
        state.consumer = consumer;
        state.looks.store(kLookedAt, std::memory_order_relaxed);
        return false;
    }
    if (looks > kLookedAt) {
        return true;
    }
    state.looks.store(looks + 1, std::memory_order_relaxed);
    return false;
}

}  // namespace

bool held_up(Process& process, Socket& socket) {
    if (!TxPath(socket.channel).stalled(socket.send_stalls)) {
        return false;
    }
    if (socket.held_up.looks.load(std::memory_order_relaxed) == 0 && socket.spin_space.tells_time()) {
        // sync: held-up. We mark, then look whether the watch runs; it says that it ends, then looks for marks.
        socket.held_up.looks.store(kMarked, std::memory_order_seq_cst);
        process.progress().look_after_held_up();
    }
    return true;
}

void HeldUpWatch::start() {
    timer_.expires_after(kSweepEvery);
    timer_.async_wait([this](const boost::system::error_code& error) {
        if (!error) {
            look();
        }
    });
}

/// Whether any connection is marked.
bool HeldUpWatch::look_at_all() {
    bool marked = false;
    std::vector<Socket*> stuck;
    const std::lock_guard lifecycle(process_.lifecycle_mutex());  // nobody recycles a socket
    process_.for_each_socket([&](Socket& socket) {
        if (socket.held_up.looks.load(std::memory_order_seq_cst) == 0) {
            return;
        }
        marked = true;
        if (is_stuck(socket)) {
            stuck.push_back(&socket);
        }
    });
    if (!stuck.empty()) {
        // The peer may be this process, too, a child that has not used the other end yet.
        process_.for_each_socket([this](Socket& socket) {
            if (socket.kind.load(std::memory_order_acquire) == SocketKind::connection && socket.phase() == Phase::smc) {
                process_.progress().ensure_watched(socket);
            }
        });
    }
    for (Socket* socket : stuck) {
        return_begin(process_, *socket, Reason::peer_not_reading);
    }
    return marked;
}

void HeldUpWatch::look() {
    idle_looks_ = look_at_all() ? 0 : idle_looks_ + 1;
    if (idle_looks_ < kIdleLooks) {
        start();
        return;
    }
    idle_looks_ = 0;
    looking_.store(false, std::memory_order_seq_cst);  // sync: held-up
    if (look_at_all() && claim()) {
        start();
    }
}

}  // namespace smcd
