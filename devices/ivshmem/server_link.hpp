// ServerLink: the client of QEMU's ivshmem server protocol. Floor 2, docs/fabric.md "protocol".
//
// The server alone sends: little-endian 64-bit numbers, some with one descriptor. Version 0, our
// id, -1 with the memory, then (id, eventfd) once per vector for every peer and, last, for
// ourselves; later the same for newcomers, and an id without descriptor for each one that left. We
// keep vector 0 of each peer and close the others.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "smcd/base/result.hpp"
#include "smcd/base/unique_fd.hpp"

namespace smcd::dev::ivshmem {

inline constexpr std::uint32_t kServerIdsMax = 65536;

class ServerLink {
public:
    ServerLink() = default;
    ServerLink(ServerLink&&) noexcept = default;
    ServerLink& operator=(ServerLink&&) noexcept = default;
    ~ServerLink();

    /// Connects and reads until our own eventfd has come; the memory is left in `memory`.
    /// Errors: as open_attach_point(); ETIMEDOUT.
    [[nodiscard]] static Result<ServerLink>
    connect(const std::string& path, UniqueFd& memory, std::uint64_t timeout_ns);

    [[nodiscard]] bool connected() const noexcept { return alive_; }

    /// Readable when the server has news; open until the next connection, since it may be watched.
    [[nodiscard]] int socket() const noexcept { return socket_.get(); }

    [[nodiscard]] std::uint32_t own_id() const noexcept { return own_id_; }

    /// Rung by peers.
    [[nodiscard]] int own_eventfd() const noexcept { return own_eventfd_.get(); }

    /// Takes in the news; never blocks. False: the server is gone. What it gave stays usable.
    bool service();

    /// Goes on with a connection to the server that was started anew: its ids and eventfds. Those
    /// of the last run stay until the next time. Our own eventfd keeps its number; whoever sleeps
    /// on it wakes up once. Thread: as service(); others may ring meanwhile.
    void adopt(ServerLink fresh);

    /// In the child after fork(): socket and own eventfd are the parent's; ringing goes on.
    void abandon() noexcept {
        alive_ = false;
        socket_.reset();
        own_eventfd_.reset();
    }

    /// Writes the peer's eventfd. False: we have none. Thread: any.
    bool ring(std::uint32_t id) const noexcept;
    /// Whether the peer with that id is connected.
    [[nodiscard]] bool knows(std::uint32_t id) const noexcept;

private:
    struct Message {
        std::int64_t number = 0;
        UniqueFd descriptor;
    };

    /// An eventfd keeps its number for good: another thread may be writing it. The next peer with
    /// that id replaces it under the same number.
    struct Vector {
        std::atomic<int> eventfd{-1};
        std::atomic<bool> present{false};
    };

    static constexpr std::uint32_t kChunk = 256;
    using Chunk = std::array<Vector, kChunk>;

    struct Peers {
        std::array<std::atomic<Chunk*>, kServerIdsMax / kChunk> chunks{};
    };

    [[nodiscard]] Result<std::optional<Message>> receive() noexcept;
    [[nodiscard]] Result<Message> wait_for_message(std::uint64_t end_ns) noexcept;
    [[nodiscard]] Result<void> greet(UniqueFd& memory, std::uint64_t end_ns);
    bool handle(Message message);
    void remember(std::uint32_t id, UniqueFd eventfd);
    void keep(Vector& vector, UniqueFd eventfd);
    void forget_old_runs(std::uint32_t new_id);
    void forget(std::uint32_t id) noexcept;
    [[nodiscard]] Vector* find(std::uint32_t id) const noexcept;

    UniqueFd socket_;
    bool alive_ = false;
    UniqueFd own_eventfd_;
    std::uint32_t own_id_ = 0;
    std::unique_ptr<Peers> peers_;
    std::array<unsigned char, 8> partial_{}; ///< of a number that has not come whole
    std::size_t partial_bytes_ = 0;
    UniqueFd partial_fd_;
    std::vector<int> spares_; ///< numbers of eventfds of earlier runs, for the next ones
};

} // namespace smcd::dev::ivshmem
