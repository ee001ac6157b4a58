// Contexts, options, readiness and the C++ owners of libsmcd.
#include <netinet/tcp.h>
#include <poll.h>

#include <array>
#include <smcd/smcd.hpp>
#include <string>

#include "tests/library/peers.hpp"

namespace smcd::library::test {
namespace {

TEST(Context, RefusesOptionsThatItDoesNotKnow) {
    smcd_options options{};
    EXPECT_EQ(::smcd_ctx_create(&options), nullptr);
    EXPECT_EQ(errno, EINVAL);
    options.size = sizeof(options);
    options.profile = "fastest";
    EXPECT_EQ(::smcd_ctx_create(&options), nullptr);
    EXPECT_EQ(errno, EINVAL);
    options.profile = "efficient";
    options.receive_buffer = 65'536;
    smcd_ctx* ctx = ::smcd_ctx_create(&options);
    EXPECT_NE(ctx, nullptr);
    ::smcd_ctx_destroy(ctx);
    ::smcd_ctx_destroy(nullptr);
}

TEST(Context, ComesAndGoesWithItsThread) {
    for (int round = 0; round < 5; ++round) {
        run_pair(
            [](smcd_ctx*, smcd_sock* sock) {
                char byte = 0;
                SMCD_CHILD_CHECK(::smcd_recv(sock, &byte, 1, 0) == 1);
                SMCD_CHILD_CHECK(::smcd_recv(sock, &byte, 1, 0) == 0);
            },
            [](smcd_ctx*, smcd_sock* sock) { EXPECT_EQ(::smcd_send(sock, "x", 1, 0), 1); });
    }
}

TEST(Options, ByNumberAndByName) {
    smcd_ctx* ctx = ::smcd_ctx_create(nullptr);
    smcd_sock* sock = ::smcd_socket(ctx, AF_INET6, 0);
    ASSERT_NE(sock, nullptr);
    EXPECT_EQ(::smcd_setopt_str(sock, "nodelay", "1"), 0);
    int value = 0;
    socklen_t length = sizeof(value);
    EXPECT_EQ(::smcd_getsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &value, &length), 0);
    EXPECT_EQ(value, 1);
    EXPECT_EQ(::smcd_setopt_str(sock, "receive_buffer", "64k"), 0);
    EXPECT_EQ(::smcd_setopt_str(sock, "nonblocking", "1"), 0);
    EXPECT_EQ(::smcd_setopt_str(sock, "nonblocking", "maybe"), -1);
    EXPECT_EQ(errno, EINVAL);
    EXPECT_EQ(::smcd_setopt_str(sock, "colour", "1"), -1);
    EXPECT_EQ(errno, EINVAL);
    EXPECT_EQ(::smcd_socket(ctx, AF_UNIX, 0), nullptr);
    EXPECT_EQ(errno, EAFNOSUPPORT);
    ::smcd_ctx_destroy(ctx);
}

TEST(Connect, NobodyListens) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = loopback(0);
    ASSERT_EQ(::bind(fd, as_sockaddr(address), sizeof(address)), 0);
    address = loopback(port_of(fd));
    smcd_ctx* ctx = ::smcd_ctx_create(nullptr);
    smcd_sock* sock = ::smcd_socket(ctx, AF_INET, 0);
    EXPECT_EQ(::smcd_connect(sock, as_sockaddr(address), sizeof(address)), -1);
    EXPECT_EQ(errno, ECONNREFUSED);
    ::smcd_ctx_destroy(ctx);
    ::close(fd);
}

TEST(Poll, WakesForTheRingAndForOtherDescriptors) {
    Line line;
    run_pair(
        [&](smcd_ctx*, smcd_sock* sock) {
            SMCD_CHILD_CHECK(::smcd_wait_verdict(sock, -1) == 1);
            line.child_hears();
            SMCD_CHILD_CHECK(::smcd_send(sock, "x", 1, 0) == 1);
            char byte = 0;
            SMCD_CHILD_CHECK(::smcd_recv(sock, &byte, 1, 0) == 0);
        },
        [&](smcd_ctx*, smcd_sock* sock) {
            ASSERT_EQ(::smcd_wait_verdict(sock, -1), 1);
            std::array<int, 2> ends{};
            ASSERT_EQ(::pipe(ends.data()), 0);
            std::array<smcd_pollfd, 2> entries{
                {{sock, -1, POLLIN, 0}, {nullptr, ends[0], POLLIN, 0}}
            };
            EXPECT_EQ(::smcd_poll(entries.data(), 2, 0), 0);
            ASSERT_EQ(::write(ends[1], "x", 1), 1);
            EXPECT_EQ(::smcd_poll(entries.data(), 2, -1), 1);
            EXPECT_EQ(entries[0].revents, 0);
            EXPECT_EQ(entries[1].revents, POLLIN);
            char byte = 0;
            ASSERT_EQ(::read(ends[0], &byte, 1), 1);
            line.parent_says();
            EXPECT_EQ(::smcd_poll(entries.data(), 2, -1), 1);
            EXPECT_EQ(entries[0].revents, POLLIN);
            entries[0].events = POLLOUT;
            EXPECT_EQ(::smcd_poll(entries.data(), 1, -1), 1);
            EXPECT_EQ(entries[0].revents, POLLOUT);
            EXPECT_EQ(::smcd_recv(sock, &byte, 1, 0), 1); // unread, it would make the close a reset
            ::close(ends[0]);
            ::close(ends[1]);
        });
}

TEST(EventDescriptor, TellsOfDataAndOfTheEnd) {
    Line line;
    run_pair(
        [&](smcd_ctx*, smcd_sock* sock) {
            SMCD_CHILD_CHECK(::smcd_wait_verdict(sock, -1) == 1);
            for (int i = 0; i < 20; ++i) {
                line.child_hears();
                SMCD_CHILD_CHECK(::smcd_send(sock, "x", 1, 0) == 1);
            }
            line.child_hears();
        },
        [&](smcd_ctx*, smcd_sock* sock) {
            ASSERT_EQ(::smcd_wait_verdict(sock, -1), 1);
            pollfd entry{::smcd_get_event_fd(sock), POLLIN, 0};
            ASSERT_GE(entry.fd, 0);
            const auto wait = [&] {
                int ready = 0;
                while ((ready = ::smcd_events(sock, POLLIN)) == 0) {
                    ASSERT_EQ(::poll(&entry, 1, -1), 1);
                }
                EXPECT_NE(ready & POLLIN, 0);
            };
            for (int i = 0; i < 20; ++i) {
                EXPECT_EQ(::smcd_events(sock, POLLIN), 0);
                line.parent_says();
                wait();
                char byte = 0;
                ASSERT_EQ(::smcd_recv(sock, &byte, 1, 0), 1);
            }
            line.parent_says();
            wait();
            char byte = 0;
            EXPECT_EQ(::smcd_recv(sock, &byte, 1, 0), 0);
        });
}

TEST(EventDescriptor, OfAListenerAndWithinOneProcess) {
    std::error_code error;
    const Context context = Context::create(error);
    ASSERT_FALSE(error);
    sockaddr_in address = loopback(0);
    Listener listener = Listener::listen(context, as_sockaddr(address), sizeof(address), error);
    ASSERT_FALSE(error) << error.message();
    address = loopback(port_of(::smcd_fd(listener.get())));
    pollfd entry{::smcd_get_event_fd(listener.get()), POLLIN, 0};
    EXPECT_EQ(::smcd_events(listener.get(), POLLIN), 0);
    Connection client = Connection::connect(context, as_sockaddr(address), sizeof(address), error);
    ASSERT_FALSE(error) << error.message();
    EXPECT_EQ(::poll(&entry, 1, -1), 1);
    Connection server = listener.accept(error);
    ASSERT_FALSE(error);
    const std::array<std::byte, 3> bytes{};
    EXPECT_EQ(client.send(bytes, error), 3U);
    entry.fd = ::smcd_get_event_fd(server.get());
    while (::smcd_events(server.get(), POLLIN) == 0) {
        ASSERT_EQ(::poll(&entry, 1, -1), 1);
    }
    std::array<std::byte, 8> buffer{};
    EXPECT_EQ(server.receive(buffer, error), 3U);
    EXPECT_EQ(client.wait_accelerated(-1), client.reason().empty());
    EXPECT_FALSE(client.close());
    EXPECT_EQ(server.receive(buffer, error), 0U);
    EXPECT_FALSE(error);
    EXPECT_EQ(server.receive(buffer, error, MSG_DONTWAIT), 0U);
}

TEST(EventDescriptor, OfAConnectionOnTcp) {
    const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = loopback(0);
    ASSERT_EQ(::bind(listener, as_sockaddr(address), sizeof(address)), 0);
    ASSERT_EQ(::listen(listener, 1), 0);
    address = loopback(port_of(listener));
    std::error_code error;
    const Context context = Context::create(error);
    Connection client = Connection::connect(context, as_sockaddr(address), sizeof(address), error);
    ASSERT_FALSE(error) << error.message();
    const int server = ::accept(listener, nullptr, nullptr);
    EXPECT_FALSE(client.wait_accelerated(-1));
    EXPECT_FALSE(client.reason().empty());
    pollfd entry{::smcd_get_event_fd(client.get()), POLLIN, 0};
    EXPECT_EQ(::smcd_events(client.get(), POLLIN), 0);
    ASSERT_EQ(::write(server, "x", 1), 1);
    EXPECT_EQ(::poll(&entry, 1, -1), 1);
    EXPECT_EQ(::smcd_events(client.get(), POLLIN | POLLOUT), POLLIN | POLLOUT);
    smcd_pollfd both{client.get(), -1, POLLIN, 0};
    EXPECT_EQ(::smcd_poll(&both, 1, -1), 1);
    EXPECT_EQ(both.revents, POLLIN);
    ::close(server);
    ::close(listener);
}

TEST(Fork, TheChildGoesOnWithTheConnection) {
#if defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "ThreadSanitizer allows no new thread in the child of a process with several";
#endif
    run_pair(
        [](smcd_ctx*, smcd_sock* sock) {
            char bytes[2];
            SMCD_CHILD_CHECK(::smcd_recv(sock, bytes, 2, MSG_WAITALL) == 2);
            SMCD_CHILD_CHECK(bytes[0] == 'a' && bytes[1] == 'b');
        },
        [](smcd_ctx* ctx, smcd_sock* sock) {
            ASSERT_EQ(::smcd_wait_verdict(sock, -1), 1);
            ASSERT_EQ(::smcd_send(sock, "a", 1, 0), 1);
            const pid_t child = ::fork();
            if (child == 0) {
                const bool sent = ::smcd_send(sock, "b", 1, 0) == 1;
                ::smcd_ctx_destroy(ctx);
                ::_exit(sent ? 0 : 1);
            }
            int status = 0;
            ::waitpid(child, &status, 0);
            EXPECT_EQ(status, 0);
        });
}

} // namespace
} // namespace smcd::library::test
