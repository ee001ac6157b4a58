// The server of QEMU's ivshmem protocol. Floor 4, docs/fabric.md "ivshmem protocol".
//
// The server alone sends: little-endian 64-bit numbers, some with one descriptor. To a newcomer:
// version 0, its id, -1 with the memory, (id, eventfd) once per vector for each peer, then for
// itself. To the others: the same for the newcomer, and an id without descriptor when one leaves.
//
// No client can hold up the others: sockets never block, what does not fit waits in a bounded queue
// of that client, and a client that takes nothing for `patience`, or sends a byte, is dropped.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>

#include "smcd/base/result.hpp"
#include "smcd/base/unique_fd.hpp"

namespace smcd::fabric {

struct IvshmemServerOptions {
    std::string path;           ///< of the socket; something that is there is replaced
    unsigned mode = 0600;       ///< of the socket
    std::uint32_t vectors = 1;  ///< eventfds of each client
    std::uint32_t first_id = 0; ///< ids are first_id .. first_id + ids - 1, none used twice soon
    std::uint32_t ids = 2048;
    std::uint32_t clients_max = 1024;
    std::chrono::milliseconds patience{30'000};
};

/// Thread: that of the io_context. Nothing blocks.
class IvshmemServer {
public:
    /// What happens to clients. Called by the server's thread.
    class Observer {
    public:
        virtual ~Observer() = default;
        virtual void on_connected(std::uint32_t id) = 0;
        /// It has closed its connection: its process has ended, or its machine.
        virtual void on_ended(std::uint32_t id) = 0;
        /// It sent something, or took nothing.
        virtual void on_dropped(std::uint32_t id) = 0;
        virtual void on_refused() = 0;
    };

    struct Counters {
        std::uint64_t served = 0;
        std::uint64_t dropped = 0; ///< sent something, or took nothing
        std::uint64_t refused = 0; ///< no descriptor or id was free
    };

    /// `memory_fd` and `observer` must outlive it.
    IvshmemServer(boost::asio::io_context& io,
                  IvshmemServerOptions options,
                  int memory_fd,
                  Observer& observer);
    ~IvshmemServer();
    IvshmemServer(const IvshmemServer&) = delete;
    IvshmemServer& operator=(const IvshmemServer&) = delete;

    /// Binds and listens. Errors: those of bind().
    [[nodiscard]] Result<void> start();
    /// Closes everything and removes the socket; clients keep what they have.
    void stop();

    [[nodiscard]] std::size_t connected() const noexcept { return clients_.size(); }

    [[nodiscard]] bool is_connected(std::uint32_t id) const { return clients_.contains(id); }

    [[nodiscard]] const Counters& counters() const noexcept { return counters_; }

    [[nodiscard]] const IvshmemServerOptions& options() const noexcept { return options_; }

private:
    using Protocol = boost::asio::local::stream_protocol;
    struct Client;
    using ClientPtr = std::shared_ptr<Client>;
    using Eventfds = std::shared_ptr<const std::vector<UniqueFd>>;
    enum class Departure { ended, dropped };

    void accept();
    void accept_later();
    void welcome(Protocol::socket socket);
    [[nodiscard]] Result<std::uint32_t> next_id() const;
    void introduce(Client& to, std::uint32_t id, const Eventfds& eventfds);
    void post(Client& to, std::int64_t number, Eventfds owner = nullptr, int fd = -1);
    void flush(const ClientPtr& client);
    void wait_for_space(const ClientPtr& client);
    void watch(const ClientPtr& client);
    void depart(std::uint32_t id, Departure how);
    void flush_all();
    void look_for_stuck();

    boost::asio::io_context& io_;
    IvshmemServerOptions options_;
    int memory_fd_;
    Observer& observer_;
    Protocol::acceptor acceptor_;
    boost::asio::steady_timer accept_timer_;
    boost::asio::steady_timer patience_timer_;
    std::map<std::uint32_t, ClientPtr> clients_;
    std::uint32_t last_id_;
    Counters counters_;
};

} // namespace smcd::fabric
