// An ivshmem server that follows a script. Floor 4.
#pragma once

#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>

#include "devices/ivshmem/server_link.hpp"
#include "smcd/base/clock.hpp"
#include "tests/devices/ivshmem/fixture.hpp"

namespace smcd::dev::test {

using ivshmem::ServerLink;

/// A server that follows a script, for one client.
class ScriptedServer {
public:
    ScriptedServer() {
        folder_ = (std::filesystem::temp_directory_path() / "smcd-ivshmem-XXXXXX").string();
        EXPECT_NE(::mkdtemp(folder_.data()), nullptr);
        path_ = folder_ + "/socket";
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::memcpy(address.sun_path, path_.data(), path_.size());
        listener_ = UniqueFd(::socket(AF_UNIX, SOCK_STREAM, 0));
        EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)),
                  0);
        EXPECT_EQ(::listen(listener_.get(), 4), 0);
    }

    ~ScriptedServer() { std::filesystem::remove_all(folder_); }

    ScriptedServer(const ScriptedServer&) = delete;
    ScriptedServer& operator=(const ScriptedServer&) = delete;

    [[nodiscard]] const std::string& path() const { return path_; }

    void accept() { client_ = UniqueFd(::accept(listener_.get(), nullptr, nullptr)); }

    void send(std::int64_t number, int fd = -1, std::size_t piece_bytes = 8) const {
        std::array<unsigned char, 8> bytes{};
        for (std::size_t i = 0; i < bytes.size(); ++i) {
            bytes[i] = static_cast<unsigned char>(static_cast<std::uint64_t>(number) >> (8 * i));
        }
        for (std::size_t at = 0; at < bytes.size(); at += piece_bytes) {
            send_piece(
                bytes.data() + at, std::min(piece_bytes, bytes.size() - at), at == 0 ? fd : -1);
        }
    }

    void hang_up() { client_.reset(); }

    /// From now on the client may end while we are talking: its patience is short.
    void talk_to_the_impatient() { may_have_left_ = true; }

private:
    void send_piece(unsigned char* bytes, std::size_t count, int fd) const {
        iovec piece{bytes, count};
        alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
        msghdr header{};
        header.msg_iov = &piece;
        header.msg_iovlen = 1;
        if (fd >= 0) {
            header.msg_control = control.data();
            header.msg_controllen = control.size();
            cmsghdr* part = CMSG_FIRSTHDR(&header);
            part->cmsg_level = SOL_SOCKET;
            part->cmsg_type = SCM_RIGHTS;
            part->cmsg_len = CMSG_LEN(sizeof(int));
            std::memcpy(CMSG_DATA(part), &fd, sizeof(fd));
        }
        const ssize_t sent = ::sendmsg(client_.get(), &header, MSG_NOSIGNAL);
        const bool left = sent < 0 && (errno == EPIPE || errno == ECONNRESET);
        EXPECT_TRUE(sent == static_cast<ssize_t>(count) || (left && may_have_left_)) << errno;
    }

    std::string folder_;
    std::string path_;
    UniqueFd listener_;
    UniqueFd client_;
    bool may_have_left_ = false;
};

class ServerLinkTest : public ::testing::Test {
protected:
    static constexpr std::uint64_t kTimeoutNs = kWatchdogMs * kNsPerMs;

    ServerLinkTest() : memory_(*create_sealed_memfd("region", kRegionBytes)) {
        for (UniqueFd& eventfd : eventfds_) {
            eventfd = UniqueFd(::eventfd(0, EFD_NONBLOCK));
        }
    }

    Result<ServerLink> connect(UniqueFd& memory, std::uint64_t timeout_ns = kTimeoutNs) {
        return ServerLink::connect(server_.path(), memory, timeout_ns);
    }

    /// The whole greeting of client 3, with peer 1 there already.
    void greet(std::size_t piece_bytes = 8) { greet_as(3, 1, piece_bytes); }

    void greet_as(std::uint32_t id, std::uint32_t peer, std::size_t piece_bytes = 8) {
        server_.accept();
        server_.send(0, -1, piece_bytes);
        server_.send(id, -1, piece_bytes);
        server_.send(-1, memory_.get(), piece_bytes);
        server_.send(peer, eventfds_[peer % 8].get(), piece_bytes);
        server_.send(id, eventfds_[id % 8].get(), piece_bytes);
    }

    ScriptedServer server_;
    UniqueFd memory_;
    std::array<UniqueFd, 8> eventfds_;
};

} // namespace smcd::dev::test
