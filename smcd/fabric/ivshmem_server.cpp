// The server of the ivshmem protocol. Floor 4, docs/fabric.md "ivshmem protocol".
#include "smcd/fabric/ivshmem_server.hpp"

#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <deque>
#include <utility>
#include <vector>

#include "smcd/base/error.hpp"

namespace smcd::fabric {

namespace asio = boost::asio;
using boost::system::error_code;
using Clock = std::chrono::steady_clock;

namespace {

constexpr std::int64_t kProtocolVersion = 0;
constexpr std::int64_t kMemory = -1;
constexpr std::size_t kNumberBytes = 8;
constexpr std::chrono::milliseconds kAcceptAgain{100};
constexpr std::chrono::milliseconds kSendAgain{20};
constexpr std::size_t kGreetingMessages = 3;

/// One number, or what is left of it; the descriptor travels with the first byte.
ssize_t send_piece(int socket, std::int64_t number, std::size_t sent, int fd) noexcept {
    std::array<unsigned char, kNumberBytes> bytes{};
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        bytes[i] = static_cast<unsigned char>(static_cast<std::uint64_t>(number) >> (8 * i));
    }
    iovec piece{bytes.data() + sent, bytes.size() - sent};
    alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(int))> control{};
    msghdr header{};
    header.msg_iov = &piece;
    header.msg_iovlen = 1;
    if (fd >= 0 && sent == 0) {
        header.msg_control = control.data();
        header.msg_controllen = control.size();
        cmsghdr* part = CMSG_FIRSTHDR(&header);
        part->cmsg_level = SOL_SOCKET;
        part->cmsg_type = SCM_RIGHTS;
        part->cmsg_len = CMSG_LEN(sizeof(int));
        std::memcpy(CMSG_DATA(part), &fd, sizeof(fd));
    }
    return ::sendmsg(socket, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
}

} // namespace

struct IvshmemServer::Client {
    struct Message {
        std::int64_t number = 0;
        Eventfds owner; ///< keeps fd open
        int fd = -1;
    };

    Client(Protocol::socket connection, std::uint32_t number, Eventfds own)
        : socket(std::move(connection)), again(socket.get_executor()), id(number),
          eventfds(std::move(own)) {}

    Protocol::socket socket;
    asio::steady_timer again;
    std::uint32_t id;
    Eventfds eventfds;
    std::deque<Message> queue;
    std::size_t sent = 0; ///< bytes of the first message
    Clock::time_point progress = Clock::now();
    bool waiting = false; ///< for space, or for a descriptor in flight to arrive
    bool doomed = false;
};

IvshmemServer::IvshmemServer(asio::io_context& io,
                             IvshmemServerOptions options,
                             int memory_fd,
                             Observer& observer)
    : io_(io), options_(std::move(options)), memory_fd_(memory_fd), observer_(observer),
      acceptor_(io), accept_timer_(io), patience_timer_(io),
      last_id_(options_.first_id + options_.ids - 1) {}

IvshmemServer::~IvshmemServer() {
    stop();
}

Result<void> IvshmemServer::start() {
    error_code error;
    ::unlink(options_.path.c_str());
    acceptor_.open(Protocol(), error);
    if (!error) {
        const mode_t mask = ::umask(0777 & ~static_cast<mode_t>(options_.mode));
        acceptor_.bind(Protocol::endpoint(options_.path), error);
        ::umask(mask);
    }
    if (!error) {
        acceptor_.listen(asio::socket_base::max_listen_connections, error);
    }
    if (error) {
        return Error(std::error_code(error.value(), std::generic_category()));
    }
    accept();
    look_for_stuck();
    return {};
}

void IvshmemServer::stop() {
    error_code ignored;
    if (acceptor_.is_open()) {
        acceptor_.close(ignored);
        ::unlink(options_.path.c_str());
    }
    accept_timer_.cancel();
    patience_timer_.cancel();
    for (auto& [id, client] : clients_) {
        client->socket.close(ignored);
        client->again.cancel();
    }
    clients_.clear();
}

void IvshmemServer::accept() {
    acceptor_.async_accept([this](error_code error, Protocol::socket socket) {
        if (error == asio::error::operation_aborted || !acceptor_.is_open()) {
            return;
        }
        if (error) {
            accept_later(); // no descriptor is free: those who wait stay in the backlog
            return;
        }
        welcome(std::move(socket));
        accept();
    });
}

void IvshmemServer::accept_later() {
    accept_timer_.expires_after(kAcceptAgain);
    accept_timer_.async_wait([this](error_code error) {
        if (!error) {
            accept();
        }
    });
}

/// The next free id behind the last: whoever remembers a peer that left meets its id late.
Result<std::uint32_t> IvshmemServer::next_id() const {
    if (clients_.size() >= std::min(options_.clients_max, options_.ids)) {
        return Error(std::errc::too_many_files_open);
    }
    std::uint32_t id = last_id_;
    do {
        id = options_.first_id + (id - options_.first_id + 1) % options_.ids;
    } while (clients_.contains(id));
    return id;
}

void IvshmemServer::welcome(Protocol::socket socket) {
    auto own = std::make_shared<std::vector<UniqueFd>>();
    for (std::uint32_t i = 0; i < options_.vectors; ++i) {
        own->emplace_back(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    }
    const auto id = next_id();
    const auto valid = [](const UniqueFd& fd) { return fd.valid(); };
    if (!id || !std::all_of(own->begin(), own->end(), valid)) {
        ++counters_.refused; // it sees the end of the connection before the greeting
        observer_.on_refused();
        return;
    }
    last_id_ = *id;
    ++counters_.served;
    auto client = std::make_shared<Client>(std::move(socket), *id, std::move(own));
    // As QEMU's server: the others hear of the newcomer first.
    for (auto& [other_id, other] : clients_) {
        introduce(*other, *id, client->eventfds);
    }
    flush_all();
    post(*client, kProtocolVersion);
    post(*client, *id);
    post(*client, kMemory, nullptr, memory_fd_);
    for (auto& [other_id, other] : clients_) {
        introduce(*client, other_id, other->eventfds);
    }
    introduce(*client, *id, client->eventfds);
    clients_.emplace(*id, client);
    observer_.on_connected(*id);
    watch(client);
    flush_all();
}

void IvshmemServer::introduce(Client& to, std::uint32_t id, const Eventfds& eventfds) {
    for (const UniqueFd& eventfd : *eventfds) {
        post(to, id, eventfds, eventfd.get());
    }
}

void IvshmemServer::post(Client& to, std::int64_t number, Eventfds owner, int fd) {
    // A greeting and everybody's coming and going, twice over.
    const std::size_t bound =
        kGreetingMessages + 4 * std::size_t{options_.clients_max} * (options_.vectors + 1);
    if (to.queue.size() >= bound) {
        to.doomed = true;
        return;
    }
    if (to.queue.empty()) {
        to.progress = Clock::now();
    }
    to.queue.push_back({number, std::move(owner), fd});
}

void IvshmemServer::flush_all() {
    std::vector<ClientPtr> all;
    all.reserve(clients_.size());
    for (auto& [id, client] : clients_) {
        all.push_back(client);
    }
    for (const ClientPtr& client : all) {
        flush(client);
    }
}

void IvshmemServer::flush(const ClientPtr& client) {
    while (!client->queue.empty() && !client->waiting && !client->doomed) {
        const Client::Message& next = client->queue.front();
        const ssize_t bytes =
            send_piece(client->socket.native_handle(), next.number, client->sent, next.fd);
        if (bytes < 0 && errno == EINTR) {
            continue;
        }
        if (bytes < 0 && (errno == EAGAIN || errno == ETOOMANYREFS || errno == ENOBUFS)) {
            wait_for_space(client);
            return;
        }
        if (bytes < 0) {
            return; // it has closed: watch() hears of it, too
        }
        client->progress = Clock::now();
        client->sent += static_cast<std::size_t>(bytes);
        if (client->sent == kNumberBytes) {
            client->sent = 0;
            client->queue.pop_front();
        }
    }
    if (client->doomed) {
        asio::post(io_, [this, id = client->id] { depart(id, Departure::dropped); });
    }
}

/// For room in its socket, or until fewer descriptors are under way (a limit of the kernel, per
/// user: it shows no event).
void IvshmemServer::wait_for_space(const ClientPtr& client) {
    client->waiting = true;
    const auto go_on = [this, client](error_code error) {
        client->waiting = false;
        if (!error && client->socket.is_open()) {
            flush(client);
        }
    };
    if (errno == EAGAIN) {
        client->socket.async_wait(Protocol::socket::wait_write, go_on);
    } else {
        client->again.expires_after(kSendAgain);
        client->again.async_wait(go_on);
    }
}

/// A client has nothing to say: a byte is a mistake, and the end is its end.
void IvshmemServer::watch(const ClientPtr& client) {
    client->socket.async_wait(Protocol::socket::wait_read, [this, client](error_code error) {
        if (error || !client->socket.is_open()) {
            return;
        }
        char byte = 0;
        const ssize_t bytes =
            ::recv(client->socket.native_handle(), &byte, sizeof(byte), MSG_DONTWAIT);
        if (bytes < 0 && (errno == EAGAIN || errno == EINTR)) {
            watch(client);
            return;
        }
        depart(client->id, bytes > 0 ? Departure::dropped : Departure::ended);
    });
}

void IvshmemServer::depart(std::uint32_t id, Departure how) {
    const auto found = clients_.find(id);
    if (found == clients_.end()) {
        return;
    }
    const ClientPtr client = found->second;
    clients_.erase(found);
    error_code ignored;
    client->socket.close(ignored);
    client->again.cancel();
    counters_.dropped += how == Departure::dropped ? 1 : 0;
    for (auto& [other_id, other] : clients_) {
        post(*other, id);
    }
    flush_all();
    if (how == Departure::ended) {
        observer_.on_ended(id);
    } else {
        observer_.on_dropped(id);
    }
}

void IvshmemServer::look_for_stuck() {
    patience_timer_.expires_after(options_.patience / 4);
    patience_timer_.async_wait([this](error_code error) {
        if (error) {
            return;
        }
        const auto limit = Clock::now() - options_.patience;
        std::vector<std::uint32_t> stuck;
        for (const auto& [id, client] : clients_) {
            if (!client->queue.empty() && client->progress < limit) {
                stuck.push_back(id);
            }
        }
        for (const std::uint32_t id : stuck) {
            depart(id, Departure::dropped);
        }
        look_for_stuck();
    });
}

} // namespace smcd::fabric
