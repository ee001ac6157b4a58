// The client of the ivshmem server protocol. Floor 2, docs/fabric.md "protocol".
#include "devices/ivshmem/server_link.hpp"

#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include "devices/ivshmem/layout.hpp"
#include "smcd/base/clock.hpp"
#include "smcd/base/error.hpp"
#include "smcd/base/high_fd.hpp"
#include "smcd/base/raw_syscall.hpp"

namespace smcd::dev::ivshmem {
namespace {

constexpr std::int64_t kProtocolVersion = 0;
constexpr std::int64_t kMemory = -1;

Result<UniqueFd> connect_to(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof(address.sun_path)) {
        return Error(std::errc::filename_too_long);
    }
    std::memcpy(address.sun_path, path.data(), path.size());
    SMCD_TRY(UniqueFd fd, lift_fd(UniqueFd(raw::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0))));
    if (raw::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
        return errno_error();
    }
    return fd;
}

/// A server of somebody else would see all that we send: it must be ours, or root's.
Result<void> check_owner(int socket) noexcept {
    ucred credentials{};
    socklen_t length = sizeof(credentials);
    if (raw::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0) {
        return errno_error();
    }
    if (credentials.uid != 0 && credentials.uid != ::geteuid()) {
        return Error(std::errc::permission_denied);
    }
    return {};
}

void set_non_blocking(int fd) noexcept {
    raw::fcntl(fd, F_SETFL, raw::fcntl(fd, F_GETFL) | O_NONBLOCK);
}

UniqueFd duplicate(int fd) noexcept {
    return UniqueFd(raw::fcntl(fd, F_DUPFD_CLOEXEC, 0));
}

bool write_once(int eventfd) noexcept {
    constexpr std::uint64_t kOnce = 1;
    // EAGAIN: the counter is full, its owner is awake.
    return raw::write(eventfd, &kOnce, sizeof(kOnce)) == sizeof(kOnce) || errno == EAGAIN;
}

} // namespace

ServerLink::~ServerLink() {
    for (const int number : spares_) {
        UniqueFd(number).reset();
    }
    if (peers_ == nullptr) {
        return;
    }
    for (std::atomic<Chunk*>& slot : peers_->chunks) {
        const std::unique_ptr<Chunk> chunk(slot.load(std::memory_order_relaxed));
        if (chunk != nullptr) {
            for (Vector& vector : *chunk) {
                UniqueFd(vector.eventfd.load(std::memory_order_relaxed)).reset();
            }
        }
    }
}

Result<ServerLink>
ServerLink::connect(const std::string& path, UniqueFd& memory, std::uint64_t timeout_ns) {
    ServerLink link;
    SMCD_TRY(link.socket_, connect_to(path));
    SMCD_TRY_VOID(check_owner(link.socket_.get()));
    link.peers_ = std::make_unique<Peers>();
    SMCD_TRY_VOID(link.greet(memory, monotonic_ns() + timeout_ns));
    return link;
}

Result<void> ServerLink::greet(UniqueFd& memory, std::uint64_t end_ns) {
    SMCD_TRY(const Message version, wait_for_message(end_ns));
    SMCD_TRY(const Message id, wait_for_message(end_ns));
    SMCD_TRY(Message region, wait_for_message(end_ns));
    const bool speaks = version.number == kProtocolVersion && !version.descriptor.valid() &&
                        id.number >= 0 && id.number < kServerIdsMax && !id.descriptor.valid() &&
                        region.number == kMemory && region.descriptor.valid();
    if (!speaks) {
        return Error(std::errc::protocol_error);
    }
    own_id_ = static_cast<std::uint32_t>(id.number);
    memory = std::move(region.descriptor);
    while (!own_eventfd_.valid()) {
        SMCD_TRY(Message message, wait_for_message(end_ns));
        if (!handle(std::move(message))) {
            return Error(std::errc::protocol_error);
        }
    }
    alive_ = true;
    return {};
}

Result<ServerLink::Message> ServerLink::wait_for_message(std::uint64_t end_ns) noexcept {
    for (;;) {
        SMCD_TRY(std::optional<Message> message, receive());
        if (message) {
            return *std::move(message);
        }
        const std::uint64_t now = monotonic_ns();
        pollfd item{socket_.get(), POLLIN, 0};
        if (now >= end_ns ||
            raw::poll(&item, 1, static_cast<int>((end_ns - now) / kNsPerMs) + 1) == 0) {
            return Error(std::errc::timed_out);
        }
    }
}

/// One whole message, or nothing yet. A number may come in pieces; its descriptor comes with the
/// first.
Result<std::optional<ServerLink::Message>> ServerLink::receive() noexcept {
    while (partial_bytes_ < partial_.size()) {
        iovec piece{partial_.data() + partial_bytes_, partial_.size() - partial_bytes_};
        alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(int))> control{};
        msghdr header{};
        header.msg_iov = &piece;
        header.msg_iovlen = 1;
        header.msg_control = control.data();
        header.msg_controllen = control.size();
        const ssize_t bytes = raw::recvmsg(socket_.get(), &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (bytes == 0) {
            return engine_error(Errc::peer_gone);
        }
        if (bytes < 0) {
            if (errno == EAGAIN || errno == EINTR) {
                return std::optional<Message>();
            }
            return errno_error();
        }
        const cmsghdr* part = CMSG_FIRSTHDR(&header);
        if (part != nullptr && part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS &&
            part->cmsg_len == CMSG_LEN(sizeof(int))) {
            int fd = -1;
            std::memcpy(&fd, CMSG_DATA(part), sizeof(fd));
            partial_fd_ = UniqueFd(fd);
        }
        partial_bytes_ += static_cast<std::size_t>(bytes);
    }
    Message message;
    std::uint64_t number = 0;
    for (std::size_t i = 0; i < partial_.size(); ++i) {
        number |= std::uint64_t{partial_[i]} << (8 * i);
    }
    message.number = static_cast<std::int64_t>(number);
    message.descriptor = std::move(partial_fd_);
    partial_bytes_ = 0;
    return std::optional<Message>(std::move(message));
}

bool ServerLink::handle(Message message) {
    if (message.number < 0 || message.number >= kServerIdsMax) {
        return message.number == kMemory; // the memory once more is of no use
    }
    const auto id = static_cast<std::uint32_t>(message.number);
    if (!message.descriptor.valid()) {
        forget(id);
    } else if (id != own_id_) {
        remember(id, std::move(message.descriptor));
    } else if (!own_eventfd_.valid()) {
        auto lifted = lift_fd(std::move(message.descriptor));
        if (!lifted) {
            return false;
        }
        own_eventfd_ = *std::move(lifted);
        // Ringing must never block, nor must our own reading.
        set_non_blocking(own_eventfd_.get());
        remember(id, duplicate(own_eventfd_.get())); // connections to ourselves
    }
    return true;
}

bool ServerLink::service() {
    while (alive_) {
        auto message = receive();
        if (message && !*message) {
            return true;
        }
        alive_ = message && handle(**std::move(message));
    }
    return false;
}

/// Nobody is present until the new server has said so. Eventfds of the run before the last go; that
/// of a peer that has not heard of the new server yet stays.
void ServerLink::forget_old_runs(std::uint32_t new_id) {
    for (std::uint32_t id = 0; id < kServerIdsMax; ++id) {
        Vector* vector = find(id);
        if (vector == nullptr) {
            id += kChunk - 1;
            continue;
        }
        vector->present.store(false, std::memory_order_release);
        const std::uint32_t block = id_block(id);
        if (block == id_block(own_id_) || block == id_block(new_id)) {
            continue;
        }
        // Who rings it at this moment may ring another peer instead: needless, but harmless.
        if (const int number = vector->eventfd.exchange(-1); number >= 0) {
            spares_.push_back(number);
        }
    }
}

void ServerLink::adopt(ServerLink fresh) {
    forget_old_runs(fresh.own_id_);
    for (std::uint32_t id = 0; id < kServerIdsMax; ++id) {
        Vector* vector = fresh.find(id);
        if (vector == nullptr) {
            id += kChunk - 1;
            continue;
        }
        UniqueFd eventfd(vector->eventfd.exchange(-1));
        if (eventfd.valid() && vector->present.load()) {
            remember(id, std::move(eventfd));
        }
    }
    if (own_eventfd_.valid()) {
        const UniqueFd old = duplicate(own_eventfd_.get());
        raw::dup3(fresh.own_eventfd_.get(), own_eventfd_.get(), O_CLOEXEC);
        static_cast<void>(write_once(old.get()));
    } else {
        own_eventfd_ = std::move(fresh.own_eventfd_);
    }
    own_id_ = fresh.own_id_;
    socket_ = std::move(fresh.socket_);
    partial_ = fresh.partial_;
    partial_bytes_ = fresh.partial_bytes_;
    partial_fd_ = std::move(fresh.partial_fd_);
    alive_ = fresh.alive_;
}

ServerLink::Vector* ServerLink::find(std::uint32_t id) const noexcept {
    if (peers_ == nullptr || id >= kServerIdsMax) {
        return nullptr;
    }
    Chunk* chunk = peers_->chunks[id / kChunk].load(std::memory_order_acquire); // sync: vector-fd
    return chunk == nullptr ? nullptr : &(*chunk)[id % kChunk];
}

void ServerLink::remember(std::uint32_t id, UniqueFd eventfd) {
    if (find(id) == nullptr) {
        peers_->chunks[id / kChunk].store(std::make_unique<Chunk>().release(),
                                          std::memory_order_release); // sync: vector-fd
    }
    Vector& vector = *find(id);
    if (vector.present.load(std::memory_order_relaxed)) {
        return; // a further vector of the same peer
    }
    set_non_blocking(eventfd.get());
    keep(vector, std::move(eventfd));
}

/// Under the number that the vector has, or one that is free, or a new one.
void ServerLink::keep(Vector& vector, UniqueFd eventfd) {
    int number = vector.eventfd.load(std::memory_order_relaxed);
    const bool spare = number < 0 && !spares_.empty();
    number = spare ? spares_.back() : number;
    if (number >= 0) {
        if (raw::dup3(eventfd.get(), number, O_CLOEXEC) < 0) {
            return;
        }
    } else {
        auto lifted = lift_fd(std::move(eventfd));
        if (!lifted) {
            return;
        }
        number = lifted->release();
    }
    if (spare) {
        spares_.pop_back();
    }
    vector.eventfd.store(number, std::memory_order_release); // sync: vector-fd
    vector.present.store(true, std::memory_order_release);
}

void ServerLink::forget(std::uint32_t id) noexcept {
    if (Vector* vector = find(id); vector != nullptr) {
        vector->present.store(false, std::memory_order_release);
    }
}

bool ServerLink::ring(std::uint32_t id) const noexcept {
    const Vector* vector = find(id);
    const int fd = vector == nullptr ? -1 : vector->eventfd.load(std::memory_order_acquire);
    return fd >= 0 && write_once(fd);
}

bool ServerLink::knows(std::uint32_t id) const noexcept {
    const Vector* vector = find(id);
    return vector != nullptr && vector->present.load(std::memory_order_acquire);
}

} // namespace smcd::dev::ivshmem
