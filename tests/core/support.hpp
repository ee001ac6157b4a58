// Two ends of a connection over plain memory: no device, no process, guard bytes around each DMB.
// Floor 4.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "smcd/core/rx_path.hpp"
#include "smcd/core/tx_path.hpp"

namespace smcd::test {

/// Counts what a device is asked to do; does nothing.
class FakeDevice final : public dev::Device {
public:
    [[nodiscard]] Gid gid() const override { return {}; }
    [[nodiscard]] Chid fabric_id() const override { return kLoopbackChid; }
    [[nodiscard]] Result<void> query_remote_gid(Gid /*gid*/) const override { return {}; }
    [[nodiscard]] std::uint32_t max_dmbs() const override { return 0; }
    [[nodiscard]] Result<dev::Dmb> register_dmb(const dev::DmbRequest& /*request*/) override {
        return Error(std::errc::not_supported);
    }
    Result<void> unregister_dmb(DmbToken /*token*/) override { return {}; }
    Result<void> move_data(DmbToken /*token*/,
                           bool signal,
                           std::uint32_t offset,
                           std::span<const std::byte> data) override {
        if (refusal != std::errc() || offset + data.size() > target.size()) {
            return Error(refusal != std::errc() ? refusal : std::errc::bad_address);
        }
        std::copy(data.begin(), data.end(), target.begin() + offset);
        moves.push_back({offset, data.size(), signal});
        return {};
    }
    [[nodiscard]] bool supports_attach() const override { return target.empty(); }
    [[nodiscard]] Result<dev::RemoteDmb> attach_dmb(LinkGroupId /*owner*/,
                                                    DmbToken /*token*/) override {
        return Error(std::errc::not_supported);
    }
    Result<void> detach_dmb(DmbToken /*token*/) override { return {}; }
    void signal(const dev::RemoteDmb& /*dmb*/, std::uint64_t doors) noexcept override {
        ++signals;
        last_doors = doors;
    }
    void wake(const dev::RemoteDmb& /*dmb*/, std::atomic<std::uint32_t>& word) noexcept override {
        ++wakes;
        word.store(0);
        if (on_wake) {
            on_wake();
        }
    }
    std::size_t harvest(unsigned /*door*/,
                        const std::function<void(SbaIndex)>& /*on_signal*/) override {
        return 0;
    }
    [[nodiscard]] bool has_signal(unsigned /*door*/) const noexcept override { return false; }

    struct Move {
        std::uint32_t offset;
        std::size_t bytes;
        bool signal;
        friend bool operator==(const Move&, const Move&) = default;
    };

    std::span<std::byte> target; ///< the peer's DMB of a device that copies
    std::errc refusal{}; ///< of every move
    std::vector<Move> moves;
    int signals = 0;
    int wakes = 0;
    std::function<void()> on_wake; ///< the other side runs before wake() returns
    std::uint64_t last_doors = 0;
};

/// A DMB of any size between two guard areas.
class GuardedDmb {
public:
    explicit GuardedDmb(std::uint32_t ring_bytes)
        : bytes_(kGuardBytes + sizeof(CdcArea) + (ring_bytes + 63) / 64 * 64 + kGuardBytes,
                 kGuard),
          size_(sizeof(CdcArea) + ring_bytes) {
        // Aligned by hand: a vector of bytes promises nothing.
        start_ = bytes_.data() + kGuardBytes;
        start_ += (64 - reinterpret_cast<std::uintptr_t>(start_) % 64) % 64 - 64;
        std::fill(start_, start_ + size_, std::byte{0});
    }

    [[nodiscard]] DmbView view() { return view_dmb(memory()); }
    [[nodiscard]] std::span<std::byte> memory() { return {start_, size_}; }

    [[nodiscard]] bool guards_intact() const {
        const auto is_guard = [](std::byte b) { return b == kGuard; };
        return std::all_of(bytes_.data(), static_cast<const std::byte*>(start_), is_guard) &&
               std::all_of(static_cast<const std::byte*>(start_) + size_,
                           bytes_.data() + bytes_.size(), is_guard);
    }

private:
    static constexpr std::size_t kGuardBytes = 4096;
    static constexpr std::byte kGuard{0xA5};
    std::vector<std::byte> bytes_;
    std::size_t size_;
    std::byte* start_ = nullptr;
};

/// One side: its own words, its DMB, and a view of the other side's.
struct End {
    explicit End(std::uint32_t ring_bytes) : dmb(ring_bytes) {}

    GuardedDmb dmb;
    dev::Bells bells{};
    ConnBlock block{};
    FakeDevice device;
    std::vector<std::uint64_t> send_buffer; ///< of a device that copies
    Channel channel;
    TxPath tx{channel};
    RxPath rx{channel};
};

/// Two connected ends. The rings may have different sizes; ring_bytes is that of each end's DMB.
struct Connection {
    explicit Connection(std::uint32_t ring_bytes_a = 65504, std::uint32_t ring_bytes_b = 65504)
        : a(std::make_unique<End>(ring_bytes_a)), b(std::make_unique<End>(ring_bytes_b)) {
        join(*a, *b);
        join(*b, *a);
        open_channel(a->channel);
        open_channel(b->channel);
    }

    /// Both ends over a device that copies.
    static Connection copying(std::uint32_t ring_bytes_a, std::uint32_t ring_bytes_b) {
        Connection connection(ring_bytes_a, ring_bytes_b);
        use_copies(*connection.a, *connection.b);
        use_copies(*connection.b, *connection.a);
        return connection;
    }

    static void use_copies(End& end, End& other) {
        end.device.target = other.dmb.memory();
        std::fill(end.device.target.begin(), end.device.target.end(), std::byte{0});
        const std::size_t bytes = 4096 + end.device.target.size();
        end.send_buffer.assign(bytes / 8 + 1, 0);
        use_send_buffer(end.channel, std::as_writable_bytes(std::span(end.send_buffer)).first(bytes));
        open_channel(end.channel);
    }

    static void join(End& end, End& other) {
        end.channel.block = &end.block;
        end.channel.device = &end.device;
        end.channel.own = end.dmb.view();
        end.channel.peer = other.dmb.view();
        end.channel.own_bells = &end.bells;
        end.channel.peer_bells = &other.bells;
    }

    [[nodiscard]] bool guards_intact() const {
        return a->dmb.guards_intact() && b->dmb.guards_intact();
    }

    std::unique_ptr<End> a;
    std::unique_ptr<End> b;
};

inline IoResult send(End& end, std::string_view text) {
    const iovec buffer{const_cast<char*>(text.data()), text.size()};
    return end.tx.send({&buffer, 1}, 0);
}

struct Received {
    IoResult result;
    std::string text;
};

inline Received receive(End& end, std::size_t wanted, ReceiveMode mode = {}) {
    Received received;
    received.text.assign(wanted, '#');
    const iovec buffer{received.text.data(), wanted};
    received.result = end.rx.receive({&buffer, 1}, mode);
    received.text.resize(received.result.bytes);
    return received;
}

/// What a hostile peer of `end` can do: write the words of its DMB.
inline void forge_producer(End& end, Cursor cursor) {
    end.channel.own.cdc->producer.store(pack(cursor));
}

inline void forge_consumer(End& end, const CdcWord& word) {
    end.channel.own.cdc->consumer.store(pack(word));
}

using Random = std::mt19937_64;

inline std::uint64_t test_seed() {
    const char* given = std::getenv("SMCD_SEED");
    const std::uint64_t seed =
        given != nullptr ? std::strtoull(given, nullptr, 0) : std::random_device()();
    std::cout << "SMCD_SEED=" << seed << '\n';
    ::testing::Test::RecordProperty("seed", std::to_string(seed));
    return seed;
}

} // namespace smcd::test
