// Fixtures of the loopback tests: an honest party, and a peer that speaks the link protocol by
// hand. Floor 4.
#pragma once

#include <fcntl.h>
#include <sys/eventfd.h>

#include <array>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "devices/loopback/link.hpp"
#include "devices/loopback/link_message.hpp"
#include "devices/loopback/link_socket.hpp"
#include "devices/loopback/loopback.hpp"
#include "smcd/base/high_fd.hpp"
#include "smcd/base/memfd.hpp"
#include "smcd/base/random.hpp"
#include "smcd/base/raw_syscall.hpp"
#include "tests/devices/support.hpp"

namespace smcd::dev::test {

inline constexpr SizeClass kSmall{0};
inline constexpr std::size_t kSmallFile = dmb_file_bytes(kSmall);

/// A loopback device with its doorbells.
struct Party {
    explicit Party(LoopbackOptions options = {})
        : doorbells(*DoorbellTable::create()),
          device(std::make_unique<LoopbackDevice>(*doorbells, std::move(options))) {}

    [[nodiscard]] LinkGroupId group() const { return *device->link_group_id(); }

    [[nodiscard]] Result<Dmb> register_for(LinkGroupId writer,
                                           SizeClass size_class = kSmall) const {
        return device->register_dmb({device->gid(), writer, size_class});
    }

    std::unique_ptr<DoorbellTable> doorbells;
    std::unique_ptr<LoopbackDevice> device;
};

/// Sends any bytes with any descriptors; false when the kernel refused.
inline bool send_raw(int socket, std::span<const std::byte> bytes, const std::vector<int>& fds) {
    iovec piece{const_cast<std::byte*>(bytes.data()), bytes.size()};
    std::vector<std::byte> control(CMSG_SPACE(fds.size() * sizeof(int)));
    msghdr header{};
    header.msg_iov = &piece;
    header.msg_iovlen = 1;
    if (!fds.empty()) {
        header.msg_control = control.data();
        header.msg_controllen = control.size();
        cmsghdr* part = CMSG_FIRSTHDR(&header);
        part->cmsg_level = SOL_SOCKET;
        part->cmsg_type = SCM_RIGHTS;
        part->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
        std::memcpy(CMSG_DATA(part), fds.data(), fds.size() * sizeof(int));
    }
    return raw::sendmsg(socket, &header, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

/// A peer that keeps to the protocol only as far as the test wants.
class RawPeer {
public:
    /// Takes a rendezvous name and prepares what a hello carries.
    RawPeer()
        : id(random_u32()), listener(*listen_at(id)),
          area(*create_sealed_memfd("test-signals", kSignalAreaBytes)),
          page(*create_sealed_memfd("test-page", kDoorbellPageBytes)),
          lines(*Mapping::map_shared(page.get(), kDoorbellPageBytes, PROT_READ | PROT_WRITE)) {}

    /// Connects to a device without a word.
    void connect(LinkGroupId victim) { socket = *connect_to(victim); }

    bool say_hello() {
        const std::array<int, 2> fds{area.get(), page.get()};
        return send_message(socket.get(), hello_message(id), fds).has_value();
    }

    /// Connects and says hello.
    void greet(LinkGroupId victim) {
        connect(victim);
        ASSERT_TRUE(say_hello());
    }

    bool send_dmb(DmbToken token, const std::vector<int>& fds, SizeClass size_class = kSmall) {
        const LinkMessage message = dmb_message(token, SbaIndex(0), size_class);
        return send_raw(socket.get(), std::as_bytes(std::span(&message, 1)), fds);
    }

    /// Announces an honest DMB and keeps its file.
    DmbToken announce(UniqueFd* file = nullptr) {
        const DmbToken token(random_u64());
        auto memory = create_sealed_memfd("test-dmb", kSmallFile);
        EXPECT_TRUE(send_dmb(token, {memory->get()}));
        if (file != nullptr) {
            *file = *std::move(memory);
        }
        return token;
    }

    bool send_doorbell(unsigned door, int fd, std::uint32_t generation = 0) {
        const LinkMessage message = doorbell_message(door, generation);
        return send_message(socket.get(), message, {&fd, 1}).has_value();
    }

    /// Takes the next message of the device, skipping those of other kinds.
    std::optional<ReceivedMessage> expect(MessageKind kind) {
        for (;;) {
            auto received = receive_message(socket.get());
            if (!received) {
                return std::nullopt;
            }
            if (received->message.kind == kind) {
                return *std::move(received);
            }
        }
    }

    /// Accepts the device's connection; one that it made to see whether we hold the name has ended
    /// already.
    bool accept() {
        for (;;) {
            auto accepted = accept_from(listener.get());
            if (!accepted) {
                return false;
            }
            if (!closed_in_silence(accepted->get())) {
                socket = *std::move(accepted);
                return true;
            }
        }
    }

    /// The epoch that the device reads before it rings.
    void set_epoch(unsigned door, std::uint32_t epoch) {
        reinterpret_cast<DoorbellLine*>(lines.data())[door].epoch.store(epoch);
    }

    /// Which eventfd of the index the device should ring.
    void set_generation(unsigned door, std::uint32_t generation) {
        reinterpret_cast<DoorbellLine*>(lines.data())[door].generation.store(generation);
    }

    LinkGroupId id;
    UniqueFd listener;
    UniqueFd area;
    UniqueFd page;
    Mapping lines;
    UniqueFd socket;
};

/// A victim and an honest bystander, whose exchange must survive whatever happens; nothing may be
/// left open in the end.
class LoopbackTest : public ::testing::Test {
protected:
    void SetUp() override {
        before_ = open_descriptors();
        victim.emplace();
        bystander.emplace();
        kept = victim->register_for(bystander->group());
        ASSERT_TRUE(*kept);
        kept_remote = bystander->device->attach_dmb(victim->group(), (*kept)->token);
        ASSERT_TRUE(*kept_remote);
    }

    void TearDown() override {
        expect_bystander_unharmed();
        victim.reset();
        bystander.reset();
        EXPECT_EQ(open_descriptors(), before_);
        EXPECT_EQ(mappings_of("/memfd:smcd"), 0U);
    }

    void expect_bystander_unharmed() {
        auto& writer = **kept_remote;
        writer.memory[50] = static_cast<std::byte>(++stamp_);
        EXPECT_EQ((*kept)->memory[50], static_cast<std::byte>(stamp_));
        bystander->device->signal(writer, 1);
        std::size_t own = 0;
        victim->device->harvest(0, [&](SbaIndex index) { own += index == (*kept)->index ? 1 : 0; });
        EXPECT_EQ(own, 1U);
        auto fresh = victim->register_for(bystander->group());
        ASSERT_TRUE(fresh) << fresh.error().message();
        EXPECT_TRUE(bystander->device->attach_dmb(victim->group(), fresh->token));
        EXPECT_TRUE(bystander->device->detach_dmb(fresh->token));
        EXPECT_TRUE(victim->device->unregister_dmb(fresh->token));
    }

    /// Descriptors that the test itself holds are gone when this is compared.
    std::optional<Party> victim;
    std::optional<Party> bystander;
    std::optional<Result<Dmb>> kept;
    std::optional<Result<RemoteDmb>> kept_remote;

private:
    std::size_t before_ = 0;
    unsigned stamp_ = 0;
};

} // namespace smcd::dev::test
