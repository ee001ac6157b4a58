#include "smcd/tools/connections.hpp"

#include <unistd.h>

#include <algorithm>
#include <map>
#include <unordered_map>

#include "devices/api/device_kind.hpp"
#include "smcd/base/ids.hpp"
#include "smcd/base/reason.hpp"
#include "smcd/core/cdc.hpp"
#include "smcd/tools/proc_files.hpp"
#include "smcd/tools/tcp_diag.hpp"
#include "smcd/tools/text.hpp"

namespace smcd::tools {
namespace {

/// The kernel's tables of one network namespace.
struct Namespace {
    TcpTable sockets;
    std::unordered_set<std::uint64_t> beacons;
};

class Join {
public:
    explicit Join(const ShimSnapshot& snapshot) : snapshot_(snapshot) {
        for (const ShimProcess& process : snapshot.processes) {
            for (const ChunkId& id : process.chunks) {
                ++mappers_[id];
            }
        }
    }

    void add(const ShimProcess& process);
    [[nodiscard]] std::vector<Connection> take() &&;

private:
    const Namespace& namespace_of(pid_t pid);
    void name_creator(Connection& row) const;
    void add_socket(const ShimProcess& process, const OpenSocket& open, const ConnView* block);

    const ShimSnapshot& snapshot_;
    std::map<ChunkId, std::size_t> mappers_; ///< processes that have the chunk
    const std::uint64_t own_namespace_ = netns_of(::getpid());
    std::map<std::uint64_t, Namespace> namespaces_;
    std::unordered_map<std::uint64_t, Connection> rows_; ///< by socket inode
};

const Namespace& Join::namespace_of(pid_t pid) {
    std::uint64_t id = netns_of(pid);
    if (id == 0) {
        // Not to be seen, for whatever reason: the process's tables count for itself alone.
        id = std::uint64_t{1} << 63U | static_cast<std::uint64_t>(pid);
    }
    const auto found = namespaces_.find(id);
    if (found != namespaces_.end()) {
        return found->second;
    }
    auto sockets = id == own_namespace_ ? read_tcp_diag() : std::nullopt;
    return namespaces_[id] =
               Namespace{sockets ? *std::move(sockets) : read_tcp_table(pid), read_beacons(pid)};
}

void Join::add_socket(const ShimProcess& process, const OpenSocket& open, const ConnView* block) {
    const auto known = rows_.find(open.inode);
    if (known != rows_.end()) {
        Connection& row = known->second;
        if (row.pids.back() != process.pid) {
            row.pids.push_back(process.pid);
        }
        if (!row.block && block != nullptr) {
            row.block = *block;
        }
        return;
    }
    const Namespace& tables = namespace_of(process.pid);
    const auto kernel = tables.sockets.find(open.inode);
    if (kernel == tables.sockets.end() && block == nullptr) {
        return; // a socket of another family, or one that never was connected
    }
    Connection row;
    row.pid = process.pid;
    row.pids = {process.pid};
    row.command = process.command;
    row.fd = open.fd;
    row.inode = open.inode;
    row.has_beacon = tables.beacons.contains(open.inode);
    if (block != nullptr) {
        row.block = *block;
    }
    if (kernel != tables.sockets.end()) {
        row.local = kernel->second.local;
        row.peer = kernel->second.peer;
        row.uid = kernel->second.uid;
        row.tcp_state = kernel->second.state;
        row.interface = kernel->second.interface;
        row.rx_bytes = kernel->second.rx_bytes;
        row.tx_bytes = kernel->second.tx_bytes;
    }
    rows_.emplace(open.inode, std::move(row));
}

/// Blocks by what names the socket.
class Blocks {
public:
    void add(const ConnView& view, bool made_here) {
        if (view.inode != 0) {
            keep_younger(by_inode_[view.inode], view);
        } else if (made_here) {
            keep_younger(by_fd_[view.fd], view);
        }
    }

    [[nodiscard]] const ConnView* find(const OpenSocket& open) const {
        if (const auto found = by_inode_.find(open.inode); found != by_inode_.end()) {
            return found->second;
        }
        const auto found = by_fd_.find(open.fd);
        return found == by_fd_.end() ? nullptr : found->second;
    }

private:
    /// A name may come back while an older block of it lingers.
    static void keep_younger(const ConnView*& known, const ConnView& view) {
        if (known == nullptr || known->since_ns < view.since_ns) {
            known = &view;
        }
    }

    std::unordered_map<std::uint64_t, const ConnView*> by_inode_;
    std::unordered_map<int, const ConnView*> by_fd_;
};

void Join::add(const ShimProcess& process) {
    Blocks blocks;
    for (const ChunkId& id : process.chunks) {
        // A process of another PID namespace gives itself another number.
        const bool shared = mappers_.at(id) > 1;
        for (const ConnView& view : snapshot_.chunks.at(id).blocks) {
            blocks.add(view, !shared || static_cast<pid_t>(view.pid) == process.pid);
        }
    }
    for (const OpenSocket& open : sockets_of(process.pid)) {
        add_socket(process, open, blocks.find(open));
    }
}

/// Of several holders, the row names the process that made the connection.
void Join::name_creator(Connection& row) const {
    if (!row.block) {
        return;
    }
    const auto creator = static_cast<pid_t>(row.block->pid);
    if (std::find(row.pids.begin(), row.pids.end(), creator) == row.pids.end()) {
        return;
    }
    for (const ShimProcess& process : snapshot_.processes) {
        if (process.pid == creator) {
            row.pid = creator;
            row.command = process.command;
        }
    }
}

std::vector<Connection> Join::take() && {
    std::vector<Connection> list;
    list.reserve(rows_.size());
    for (auto& [inode, row] : rows_) {
        name_creator(row);
        row.mode = mode_of(row.block, row.tcp_state);
        row.state = state_word(row.block, row.tcp_state);
        if (row.mode == Mode::smcd) {
            row.rx_bytes = row.block->rx_bytes;
            row.tx_bytes = row.block->tx_bytes;
            row.device = dev::device_name(dev::DeviceId::of(row.block->device));
        }
        list.push_back(std::move(row));
    }
    std::sort(list.begin(), list.end(), [](const Connection& a, const Connection& b) {
        return a.pid != b.pid ? a.pid < b.pid : a.inode < b.inode;
    });
    return list;
}

/// docs/protocol.md "connection states": what the flags that went each way mean for us.
std::string_view smc_state_word(std::uint32_t sent, std::uint32_t received) noexcept {
    if ((received & kPeerConnAbort) != 0) {
        return "PROCESSABORT";
    }
    if ((sent & kPeerConnAbort) != 0) {
        return "PEERABORTWAIT";
    }
    constexpr std::uint32_t kClosing = kPeerDoneWriting | kPeerConnClosed;
    const bool we = (sent & kClosing) != 0;
    const bool peer = (received & kClosing) != 0;
    if (we && peer) {
        return (received & kPeerConnClosed) != 0 ? "APPFINCLOSEWAIT" : "PEERCLOSEWAIT2";
    }
    if (we) {
        return "PEERCLOSEWAIT1";
    }
    return peer ? "APPCLOSEWAIT1" : "ACTIVE";
}

} // namespace

std::vector<Connection> list_connections(const ShimSnapshot& snapshot) {
    Join join(snapshot);
    for (const ShimProcess& process : snapshot.processes) {
        join.add(process);
    }
    return std::move(join).take();
}

std::string_view mode_word(Mode mode) noexcept {
    switch (mode) {
    case Mode::smcd:
        return "SMCD";
    case Mode::tcp:
        return "TCP";
    case Mode::handshake:
        return "HANDSHAKE";
    case Mode::listen:
        return "LISTEN";
    }
    return "?";
}

Mode mode_of(const std::optional<ConnView>& block, std::uint8_t tcp_state) noexcept {
    if (tcp_state == kTcpListen) {
        return Mode::listen;
    }
    if (!block) {
        return Mode::tcp;
    }
    switch (block->phase) {
    case Phase::smc:
    case Phase::returning:
        return Mode::smcd;
    case Phase::connecting:
    case Phase::handshake:
        return Mode::handshake;
    case Phase::unused:
    case Phase::settling:
    case Phase::tcp:
    case Phase::closed:
        break;
    }
    return Mode::tcp;
}

std::string_view state_word(const std::optional<ConnView>& block, std::uint8_t tcp_state) noexcept {
    switch (mode_of(block, tcp_state)) {
    case Mode::smcd:
        return smc_state_word(block->tx_flags, block->rx_flags);
    case Mode::handshake:
        return "INIT";
    case Mode::tcp:
    case Mode::listen:
        break;
    }
    return tcp_state == 0 ? "CLOSED" : tcp_state_word(tcp_state);
}

std::string why(const Connection& connection) {
    switch (connection.mode) {
    case Mode::smcd:
        return {};
    case Mode::handshake:
        return "the handshake is under way";
    case Mode::listen:
        return connection.has_beacon ? "clients under the library will be accelerated"
                                     : "no beacon: clients stay on TCP";
    case Mode::tcp:
        break;
    }
    if (!connection.block) {
        return "the library does not follow this socket";
    }
    return std::string(reason_text(static_cast<Reason>(connection.block->reason)));
}

} // namespace smcd::tools
