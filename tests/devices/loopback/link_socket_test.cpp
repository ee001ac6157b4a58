// The sockets under a link, when the other end goes. Floor 4.
#include <sys/socket.h>
#include <unistd.h>

#include <array>

#include <gtest/gtest.h>

#include "devices/loopback/link_socket.hpp"
#include "smcd/base/unique_fd.hpp"

namespace smcd::dev::test {
namespace {

/// The kernel tells of the loss of our own messages first; a peer that is killed behind its Confirm has sent its DMB before.
TEST(LinkSocketTest, MessagesOfAPeerThatHasNotReadOursArrive) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends.data()), 0);
    const UniqueFd own(ends[0]);
    UniqueFd peer(ends[1]);
    ASSERT_TRUE(send_message(own.get(), retire_message(DmbToken(1)), {}));
    ASSERT_TRUE(send_message(peer.get(), retire_message(DmbToken(2)), {}));
    ASSERT_TRUE(send_message(peer.get(), retire_message(DmbToken(3)), {}));
    peer.reset();

    for (const std::uint64_t token : {2U, 3U}) {
        const auto received = receive_message(own.get());
        ASSERT_TRUE(received);
        EXPECT_EQ(received->message.token, token);
    }
    EXPECT_FALSE(receive_message(own.get()));
}

} // namespace
} // namespace smcd::dev::test
