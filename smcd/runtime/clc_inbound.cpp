#include "smcd/runtime/clc_inbound.hpp"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>

#include "smcd/base/check.hpp"
#include "smcd/base/raw_syscall.hpp"

namespace smcd {

void peek_inbound(const Socket& socket, InboundView& view) noexcept {
    const int fd = socket.fd;
    view.count = 0;
    view.ended = false;
    pollfd state{fd, POLLIN | POLLRDHUP, 0};
    if (raw::poll(&state, 1, 0) <= 0) {
        return;
    }
    // Asked before receiving: what arrives in between is not yet the end.
    view.ended = (state.revents & (POLLHUP | POLLERR | POLLRDHUP)) != 0;
    if ((state.revents & POLLERR) != 0) {
        // recv() on an empty queue would take the socket's pending error, which belongs to the application.
        int waiting = 0;
        if (raw::ioctl(fd, FIONREAD, &waiting) != 0 || waiting <= 0) {
            return;
        }
    }
    ssize_t n = 0;
    do {
        n = raw::recvfrom(
            fd, view.bytes.data(), view.bytes.size(), MSG_PEEK | MSG_DONTWAIT, nullptr, nullptr);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno != EAGAIN) {
        keep_error(socket, errno);
    }
    view.count = n > 0 ? static_cast<std::size_t>(n) : 0;
}

bool has_inbound(int fd) noexcept {
    pollfd state{fd, POLLIN | POLLRDHUP, 0};
    return raw::poll(&state, 1, 0) > 0;
}

void take_inbound(int fd, std::size_t n) noexcept {
    std::array<std::byte, clc::kMessageBytesMax> sink;
    SMCD_CHECK_LE(n, sink.size());
    while (n > 0) {
        const ssize_t taken = raw::recvfrom(fd, sink.data(), n, MSG_DONTWAIT, nullptr, nullptr);
        if (taken <= 0 && errno != EINTR) {
            return;  // cannot happen behind a successful peek, except when the application reads beside us
        }
        n -= taken > 0 ? static_cast<std::size_t>(taken) : 0;
    }
}

void keep_error(const Socket& socket, int error) noexcept {
    if (socket.block != nullptr && socket.phase() != Phase::smc) {
        socket.block->so_error.store(static_cast<std::uint32_t>(error), std::memory_order_release);
    }
}

bool is_broken(int fd) noexcept {
    pollfd state{fd, 0, 0};
    return raw::poll(&state, 1, 0) > 0 && (state.revents & (POLLERR | POLLHUP)) != 0;
}

bool write_outbound(const Socket& socket, std::span<const std::byte> message) noexcept {
    pollfd state{socket.fd, POLLOUT, 0};
    if (raw::poll(&state, 1, 0) <= 0 || (state.revents & (POLLERR | POLLHUP)) != 0) {
        return false;  // send() would take the socket's pending error, which belongs to the application
    }
    // A fresh connection's send buffer is empty and holds at least 2 KiB (SOCK_MIN_SNDBUF): one call takes it all.
    ssize_t n = 0;
    do {
        n = raw::sendto(
            socket.fd, message.data(), message.size(), MSG_DONTWAIT | MSG_NOSIGNAL, nullptr, 0);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno != EAGAIN) {
        keep_error(socket, errno);
    }
    return n == static_cast<ssize_t>(message.size());
}

}  // namespace smcd
