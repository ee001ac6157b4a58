// LocalDiscovery: discovery within one network namespace, without privilege or daemon. Floor 3, docs/discovery.md.
//
//   client -> listener: sock_diag names the listening socket the kernel would choose; a shimmed listener holds an abstract
//     datagram socket "\0smcd/l/<inode>" (SO_REUSEPORT groups: "\0smcd/g/<inode>", and every member must have one).
//   server -> client: the client's SYN carries a DSCP value of the local-use pool, saved by TCP_SAVE_SYN.
//   both again: once connected, the client asks sock_diag for the server's end of this very address pair. A proxy, NAT or a
//     remote host in between has no such socket here.
#pragma once

#include <mutex>

#include "smcd/runtime/discovery.hpp"
#include "smcd/runtime/sock_diag.hpp"

namespace smcd {

class LocalDiscovery final : public Discovery {
public:
    [[nodiscard]] Reason probe(const sockaddr* address, socklen_t length, bool& beyond) override;
    [[nodiscard]] DiscoveryMark mark(int fd, MarkKind kind) override;
    void unmark(int fd, const DiscoveryMark& mark) override;
    [[nodiscard]] Reason confirm(int fd, bool beyond) override;
    [[nodiscard]] Result<UniqueFd> announce(int listen_fd) override;
    [[nodiscard]] UniqueFd announce_beyond(int /*listen_fd*/) override { return {}; }
    void withdraw() override {}
    [[nodiscard]] Marked is_marked(int accepted_fd) override;
    void before_fork() override;
    void after_fork(bool in_child) override;

private:
    bool has_beacon(char kind, std::uint32_t inode);
    Reason check_group(const TcpAddress& to);

    SockDiag diag_;
    std::mutex beacon_mutex_;
    UniqueFd beacon_probe_; ///< unbound datagram socket whose connect() asks for a name
};

}  // namespace smcd
