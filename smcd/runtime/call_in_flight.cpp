#include "smcd/runtime/call_in_flight.hpp"

#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>

#include "smcd/base/clock.hpp"
#include "smcd/base/raw_syscall.hpp"

namespace smcd {
namespace {

std::uint64_t timeout_of(Socket& socket, int option) noexcept {
    const bool receive = option == SO_RCVTIMEO;
    std::atomic<bool>& known = receive ? socket.receive_timeout_known : socket.send_timeout_known;
    std::uint64_t& value = receive ? socket.receive_timeout_ns : socket.send_timeout_ns;
    if (!known.load(std::memory_order_acquire)) {
        timeval limit{};
        socklen_t length = sizeof(limit);
        value = 0;
        if (raw::getsockopt(socket.fd, SOL_SOCKET, option, &limit, &length) == 0) {
            value = static_cast<std::uint64_t>(limit.tv_sec) * kNsPerSecond +
                    static_cast<std::uint64_t>(limit.tv_usec) * 1000;
        }
        known.store(true, std::memory_order_release);
    }
    return value;
}

}  // namespace

std::uint64_t CallInFlight::deadline_ns() noexcept {
    if (!computed_) {
        computed_ = true;
        const std::uint64_t limit = timeout_of(socket_, option_);
        deadline_ns_ = limit == 0 ? kForever : monotonic_ns() + limit;
    }
    return deadline_ns_;
}

ssize_t CallInFlight::receive_kept(std::span<const iovec> buffers, int flags) noexcept {
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(buffers.data());
    message.msg_iovlen = buffers.size();
    const ssize_t n = raw::recvmsg(socket_.kept.get(), &message, flags);
    return n < 0 ? fail(errno) : n;
}

ssize_t CallInFlight::send_kept(std::span<const iovec> buffers, int flags) noexcept {
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(buffers.data());
    message.msg_iovlen = buffers.size();
    const ssize_t n = raw::sendmsg(socket_.kept.get(), &message, flags);
    return n < 0 ? fail(errno) : n;
}

}  // namespace smcd
