// FabricDiscovery: local discovery, and beyond it the directory of the fabric and the static rules
// of the configuration. Floor 3, docs/discovery.md "fabric".
//
// Who listens on an address of a fabric's network is announced in the region; the mark of a client
// is the same DSCP value as locally, which the network has to leave alone.
#pragma once

#include <vector>

#include "devices/ivshmem/ivshmem.hpp"
#include "smcd/runtime/local_discovery.hpp"
#include "smcd/runtime/static_rules.hpp"

namespace smcd {

class Process;

class FabricDiscovery final : public Discovery {
public:
    explicit FabricDiscovery(Process& process);

    [[nodiscard]] Reason probe(const sockaddr* address, socklen_t length, bool& beyond) override;

    [[nodiscard]] DiscoveryMark mark(int fd, MarkKind kind) override {
        return local_.mark(fd, kind);
    }

    void unmark(int fd, const DiscoveryMark& mark) override { local_.unmark(fd, mark); }

    [[nodiscard]] Reason confirm(int fd, bool beyond) override;

    [[nodiscard]] Result<UniqueFd> announce(int listen_fd) override {
        return local_.announce(listen_fd);
    }

    [[nodiscard]] UniqueFd announce_beyond(int listen_fd) override;
    void withdraw() override;

    [[nodiscard]] Marked is_marked(int accepted_fd) override {
        return local_.is_marked(accepted_fd);
    }

    void before_fork() override { local_.before_fork(); }

    void after_fork(bool in_child) override { local_.after_fork(in_child); }

private:
    [[nodiscard]] dev::IvshmemDevice* fabric();
    [[nodiscard]] Reason look_beyond(const TcpAddress& address);

    Process& process_;
    LocalDiscovery local_;
    std::vector<StaticRule> rules_;
};

} // namespace smcd
