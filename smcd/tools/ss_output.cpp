#include "smcd/tools/ss_output.hpp"

#include <nlohmann/json.hpp>

#include "devices/api/device_kind.hpp"
#include "smcd/base/ids.hpp"
#include "smcd/base/reason.hpp"
#include "smcd/core/cdc.hpp"
#include "smcd/tools/text.hpp"

namespace smcd::tools {
namespace {

constexpr std::uint32_t kSizeClassMax = 15;

std::string mode_cell(const Connection& connection) {
    std::string cell(mode_word(connection.mode));
    if (connection.mode == Mode::tcp && connection.block) {
        cell += ' ' + hex(connection.block->reason) + '/' + hex(connection.block->peer_reason);
    }
    return cell;
}

std::string process_cell(const Connection& connection) {
    std::string cell = std::to_string(connection.pid) + '/' + connection.command;
    if (connection.pids.size() > 1) {
        cell += " +" + std::to_string(connection.pids.size() - 1);
    }
    return cell;
}

std::string reason_cell(const Connection& connection) {
    std::string cell = why(connection);
    if (connection.mode == Mode::tcp && connection.block && connection.block->peer_reason != 0) {
        cell += "; the peer says: ";
        cell += reason_text(static_cast<Reason>(connection.block->peer_reason));
    }
    return cell;
}

/// "wrap:count" in hexadecimal, as smcss prints cursors.
std::string cursor_text(std::uint64_t word) {
    const Cursor cursor = unpack(word).cursor;
    return hex(cursor.wrap, 4).substr(2) + ':' + hex(cursor.count).substr(2);
}

/// Bytes of a DMB, from a class that another process wrote.
std::uint64_t buffer_bytes(std::uint32_t size_class) noexcept {
    return size_class > kSizeClassMax
               ? 0
               : dmb_size_bytes(SizeClass(static_cast<std::uint8_t>(size_class)));
}

std::string extended_line(const ConnView& block) {
    const auto part = [](const char* name, std::uint64_t value) {
        return std::string(" ") + name + '=' + std::to_string(value);
    };
    std::string line = "       " + std::string(block.role == Role::client ? "client" : "server");
    line += " txprod=" + cursor_text(block.tx_producer);
    line += " txcons=" + cursor_text(block.tx_peer_consumer);
    line += " rxprod=" + cursor_text(block.rx_peer_producer);
    line += " rxcons=" + cursor_text(block.rx_consumer);
    line += " txflags=" + hex(block.tx_flags, 2) + " rxflags=" + hex(block.rx_flags, 2);
    line += " token=" + hex(block.local_token, 16) + " peertoken=" + hex(block.remote_token, 16);
    line += part("dmb", buffer_bytes(block.size_class_local));
    line += part("peerdmb", buffer_bytes(block.size_class_remote));
    line += part("txcalls", block.tx_calls) + part("rxcalls", block.rx_calls);
    line += part("wakeups", block.wakeups_sent) + part("suppressed", block.wakeups_suppressed);
    line += part("sleeps", block.sleeps);
    line += part("spinhits", block.spin_hits) + part("spinmisses", block.spin_misses);
    line += part("waiting", block.pre_bytes);
    return line + '\n';
}

nlohmann::ordered_json cursor_json(std::uint64_t word) {
    const Cursor cursor = unpack(word).cursor;
    return {
        {"wrap",  cursor.wrap },
        {"count", cursor.count}
    };
}

/// `code` may be any number: it comes from memory that another process writes.
void add_reason(nlohmann::ordered_json& row, const std::string& prefix, std::uint32_t code) {
    row[prefix + "reason_name"] =
        code == 0 ? "" : std::string(reason_name(static_cast<Reason>(code)));
    row[prefix + "reason_code"] = hex(code);
}

void add_block(nlohmann::ordered_json& row, const ConnView& block) {
    row["role"] = block.role == Role::client ? "client" : "server";
    row["holders"] = block.holders;
    row["since_ns"] = block.since_ns;
    row["wakeups_sent"] = block.wakeups_sent;
    row["wakeups_suppressed"] = block.wakeups_suppressed;
    row["sleeps"] = block.sleeps;
    row["spin_hits"] = block.spin_hits;
    row["spin_misses"] = block.spin_misses;
    row["tx_calls"] = block.tx_calls;
    row["rx_calls"] = block.rx_calls;
    row["waiting_bytes"] = block.pre_bytes;
    row["local_token"] = hex(block.local_token, 16);
    row["remote_token"] = hex(block.remote_token, 16);
    row["dmb_bytes"] = buffer_bytes(block.size_class_local);
    row["peer_dmb_bytes"] = buffer_bytes(block.size_class_remote);
    row["tx_flags"] = hex(block.tx_flags, 2);
    row["rx_flags"] = hex(block.rx_flags, 2);
    row["tx_producer"] = cursor_json(block.tx_producer);
    row["tx_peer_consumer"] = cursor_json(block.tx_peer_consumer);
    row["rx_peer_producer"] = cursor_json(block.rx_peer_producer);
    row["rx_consumer"] = cursor_json(block.rx_consumer);
    row["rx_published"] = cursor_json(block.rx_published);
}

nlohmann::ordered_json row_json(const Connection& connection) {
    nlohmann::ordered_json row;
    row["pid"] = connection.pid;
    row["pids"] = connection.pids;
    row["command"] = connection.command;
    row["fd"] = connection.fd;
    row["uid"] = connection.uid;
    row["inode"] = connection.inode;
    row["state"] = connection.state;
    row["local"] = connection.local;
    row["peer"] = connection.peer;
    row["interface"] = connection.interface;
    row["mode"] = mode_word(connection.mode);
    row["device"] = connection.device;
    if (connection.mode == Mode::smcd && connection.block) {
        row["chid"] = hex(dev::DeviceId::of(connection.block->device).chid.value(), 4);
    }
    row["rx_bytes"] = connection.rx_bytes;
    row["tx_bytes"] = connection.tx_bytes;
    row["reason"] = why(connection);
    add_reason(row, "", connection.block ? connection.block->reason : 0);
    add_reason(row, "peer_", connection.block ? connection.block->peer_reason : 0);
    if (connection.mode == Mode::listen) {
        row["beacon"] = connection.has_beacon;
    }
    if (connection.block) {
        add_block(row, *connection.block);
    }
    return row;
}

} // namespace

std::string connections_table(const std::vector<Connection>& connections, bool extended) {
    Table table({"State",
                 "UID",
                 "Inode",
                 "Local Address",
                 "Peer Address",
                 "Intf",
                 "Mode",
                 "Device",
                 "Rx bytes",
                 "Tx bytes",
                 "PID/Command",
                 "Why not SMC-D"});
    constexpr std::size_t kRxColumn = 8;
    table.align_right(kRxColumn);
    table.align_right(kRxColumn + 1);
    for (const Connection& connection : connections) {
        table.add({connection.state,
                   std::to_string(connection.uid),
                   std::to_string(connection.inode),
                   connection.local.empty() ? "?" : connection.local,
                   connection.peer.empty() ? "?" : connection.peer,
                   hex(connection.interface, 4).substr(2),
                   mode_cell(connection),
                   connection.device.empty() ? "-" : connection.device,
                   std::to_string(connection.rx_bytes),
                   std::to_string(connection.tx_bytes),
                   process_cell(connection),
                   reason_cell(connection)});
    }
    const std::string plain = table.render();
    if (!extended) {
        return plain;
    }
    std::string out;
    std::size_t row = 0; // line 0 is the heading
    for_each_line(plain, [&](std::string_view line) {
        out.append(line).append("\n");
        if (row > 0 && connections[row - 1].block) {
            out += extended_line(*connections[row - 1].block);
        }
        ++row;
    });
    return out;
}

std::string connections_json(const std::vector<Connection>& connections, JsonForm form) {
    nlohmann::ordered_json document;
    document["schema"] = "smcu.ss/1";
    document["connections"] = nlohmann::ordered_json::array();
    for (const Connection& connection : connections) {
        document["connections"].push_back(row_json(connection));
    }
    // replace: names come from other processes and need not be valid UTF-8.
    const int indent = form == JsonForm::indented ? 2 : -1;
    return document.dump(indent, ' ', false, nlohmann::json::error_handler_t::replace) + '\n';
}

} // namespace smcd::tools
