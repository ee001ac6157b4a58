// Discovery: finding out, before a byte is sent, whether the other end of a TCP connection speaks SMC. Floor 3.
//
// A Proposal sent to a program that does not expect it corrupts that program's protocol; a server that waits for a Proposal
// that never comes stalls every protocol in which the server speaks first. So both directions need knowledge, not a guess.
#pragma once

#include <sys/socket.h>

#include "smcd/base/reason.hpp"
#include "smcd/base/result.hpp"
#include "smcd/base/unique_fd.hpp"

namespace smcd {

/// What a client tells the server by its mark.
enum class MarkKind {
    proposal,      ///< a Proposal will come
    other_network, ///< none will: on the fabric that we share, our PNETIDs differ
};

/// What mark() changed on a socket; unmark() puts it back.
struct DiscoveryMark {
    bool set = false;
    int tos = -1;    ///< the application's IP_TOS; -1: not an IPv4 capable socket
    int tclass = -1; ///< the application's IPV6_TCLASS; -1: not an IPv6 socket
};

/// unknown: the kernel did not keep the SYN (SYN cookies); a Proposal may come.
enum class Marked { no, yes, other_network, unknown };

class Discovery {
public:
    Discovery() = default;
    Discovery(const Discovery&) = delete;
    Discovery& operator=(const Discovery&) = delete;
    virtual ~Discovery() = default;

    /// Client, before connect(): Reason::none if the listener at `address` speaks SMC, else why not.
    /// `beyond`: it was found outside this network namespace; confirm() wants to know.
    [[nodiscard]] virtual Reason probe(const sockaddr* address, socklen_t length, bool& beyond) = 0;
    /// Client, before connect(): makes this connection recognisable to the server. Not set: impossible.
    [[nodiscard]] virtual DiscoveryMark mark(int fd, MarkKind kind) = 0;
    /// Client, once established (or failed): restores what mark() changed.
    virtual void unmark(int fd, const DiscoveryMark& mark) = 0;
    /// Client, once established: Reason::none if the other end is the very socket that probe() spoke of. Server, with false:
    /// if the client is in this network namespace.
    [[nodiscard]] virtual Reason confirm(int fd, bool beyond) = 0;

    /// Server, after listen(): makes the listener discoverable; the returned descriptor keeps it so.
    [[nodiscard]] virtual Result<UniqueFd> announce(int listen_fd) = 0;
    /// The same for clients outside this network namespace; the descriptor may be invalid (not announced there).
    [[nodiscard]] virtual UniqueFd announce_beyond(int listen_fd) = 0;
    /// After descriptors of announce_beyond() were closed: takes back what nobody holds any more.
    virtual void withdraw() = 0;
    /// Server, after accept(): whether the client marked the connection, so that a Proposal will come.
    [[nodiscard]] virtual Marked is_marked(int accepted_fd) = 0;

    virtual void before_fork() = 0;
    virtual void after_fork(bool in_child) = 0;
};

}  // namespace smcd
