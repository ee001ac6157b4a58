// Bytes through libsmcd, with and without a copy, on the ring and on TCP.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "smcd/library/handles.hpp"
#include "smcd/runtime/return_tcp.hpp"
#include "tests/library/peers.hpp"

namespace smcd::library::test {
namespace {

constexpr std::size_t kTotal = 6 << 20U;
/// Sizes that meet the ring's edges: coprime to it, below and above a publication piece.
constexpr std::size_t kSizes[] = {1, 64, 777, 4096, 65'521, 3, 200'003};

void send_all(smcd_sock* sock, std::size_t total) {
    for (std::size_t sent = 0, round = 0; sent < total; ++round) {
        const std::size_t n = std::min(kSizes[round % std::size(kSizes)], total - sent);
        const auto bytes = pattern_bytes(sent, n);
        ASSERT_EQ(::smcd_send(sock, bytes.data(), n, 0), static_cast<ssize_t>(n));
        sent += n;
    }
}

/// Writes into the reserved spans themselves.
void send_in_place(smcd_sock* sock, std::size_t total) {
    for (std::size_t sent = 0, round = 0; sent < total; ++round) {
        const std::size_t wish = std::min(kSizes[round % std::size(kSizes)], total - sent);
        smcd_span spans[2];
        const ssize_t room = ::smcd_send_reserve(sock, spans, wish, 0);
        ASSERT_GT(room, 0);
        const std::size_t n = std::min(wish, static_cast<std::size_t>(room));
        for (std::size_t i = 0; i < n; ++i) {
            const bool in_first = i < spans[0].bytes;
            auto* to = static_cast<unsigned char*>(spans[in_first ? 0 : 1].data);
            to[in_first ? i : i - spans[0].bytes] = pattern(sent + i);
        }
        ASSERT_EQ(::smcd_send_commit(sock, n), 0);
        sent += n;
    }
}

/// Bytes of the stream received until its end, or a number that tells where it was wrong.
std::size_t receive_all(smcd_sock* sock) {
    std::vector<unsigned char> buffer(50'000);
    std::size_t done = 0;
    for (;;) {
        const ssize_t n = ::smcd_recv(sock, buffer.data(), buffer.size(), 0);
        if (n <= 0) {
            return n == 0 ? done : SIZE_MAX;
        }
        if (!matches({buffer.data(), static_cast<std::size_t>(n)}, done)) {
            return done;
        }
        done += static_cast<std::size_t>(n);
    }
}

std::size_t receive_in_place(smcd_sock* sock) {
    std::size_t done = 0;
    for (std::size_t round = 0;; ++round) {
        smcd_span spans[2];
        const ssize_t n = ::smcd_recv_peek(sock, spans, 1, 0);
        if (n <= 0) {
            return n == 0 ? done : SIZE_MAX;
        }
        // Not always everything: the rest must come again.
        const std::size_t take =
            round % 3 == 0 ? (static_cast<std::size_t>(n) + 1) / 2 : static_cast<std::size_t>(n);
        const std::size_t first = std::min(take, spans[0].bytes);
        if (!matches({static_cast<unsigned char*>(spans[0].data), first}, done) ||
            !matches({static_cast<unsigned char*>(spans[1].data), take - first}, done + first) ||
            ::smcd_recv_consume(sock, take) != 0) {
            return done;
        }
        done += take;
    }
}

TEST(Transfer, CopyingCallsOverTheRing) {
    run_pair(
        [](smcd_ctx*, smcd_sock* sock) {
            SMCD_CHILD_CHECK(receive_all(sock) == kTotal);
            SMCD_CHILD_CHECK(::smcd_send(sock, "done", 4, 0) == 4);
        },
        [](smcd_ctx*, smcd_sock* sock) {
            ASSERT_EQ(::smcd_wait_verdict(sock, -1), 1) << ::smcd_last_reason(sock);
            send_all(sock, kTotal);
            EXPECT_EQ(::smcd_shutdown(sock, SHUT_WR), 0);
            char answer[8];
            EXPECT_EQ(::smcd_recv(sock, answer, 4, MSG_WAITALL), 4);
            smcd_info info{};
            info.size = sizeof(info);
            ASSERT_EQ(::smcd_get_info(sock, &info), 0);
            EXPECT_EQ(info.accelerated, 1);
            EXPECT_EQ(info.sent_bytes, kTotal);
            EXPECT_EQ(info.received_bytes, 4U);
            EXPECT_GT(info.ring_bytes, 0U);
            EXPECT_STREQ(::smcd_last_reason(sock), "");
        });
}

TEST(Transfer, ZeroCopyOverTheRing) {
    run_pair(
        [](smcd_ctx*, smcd_sock* sock) {
            SMCD_CHILD_CHECK(receive_in_place(sock) == kTotal);
            SMCD_CHILD_CHECK(::smcd_is_accelerated(sock) == 1);
            SMCD_CHILD_CHECK(::smcd_send(sock, "done", 4, 0) == 4);
        },
        [](smcd_ctx*, smcd_sock* sock) {
            ASSERT_EQ(::smcd_wait_verdict(sock, -1), 1) << ::smcd_last_reason(sock);
            send_in_place(sock, kTotal);
            EXPECT_EQ(::smcd_shutdown(sock, SHUT_WR), 0);
            char answer[8];
            EXPECT_EQ(::smcd_recv(sock, answer, 4, MSG_WAITALL), 4);
        });
}

TEST(Transfer, ZeroCopyFromTheFirstByteOn) {
    // Without waiting for the verdict: the first reservations are no ring yet.
    run_pair([](smcd_ctx*, smcd_sock* sock) { SMCD_CHILD_CHECK(receive_in_place(sock) == kTotal); },
             [](smcd_ctx*, smcd_sock* sock) { send_in_place(sock, kTotal); });
}

TEST(Transfer, MoreHoldsBytesBackUntilTheFlush) {
    Line line;
    run_pair(
        [&](smcd_ctx*, smcd_sock* sock) {
            SMCD_CHILD_CHECK(::smcd_wait_verdict(sock, -1) == 1);
            char byte = 0;
            line.child_hears();
            SMCD_CHILD_CHECK(::smcd_recv(sock, &byte, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN);
            line.child_says();
            std::vector<unsigned char> all(30'000);
            SMCD_CHILD_CHECK(::smcd_recv(sock, all.data(), all.size(), MSG_WAITALL) == 30'000);
            SMCD_CHILD_CHECK(matches(all, 0));
            SMCD_CHILD_CHECK(receive_all(sock) == 0); // the flush at close() finds nothing
        },
        [&](smcd_ctx*, smcd_sock* sock) {
            ASSERT_EQ(::smcd_wait_verdict(sock, -1), 1) << ::smcd_last_reason(sock);
            const auto bytes = pattern_bytes(0, 30'000);
            for (std::size_t i = 0; i < bytes.size(); i += 100) {
                ASSERT_EQ(::smcd_send(sock, &bytes[i], 100, MSG_MORE), 100);
            }
            line.parent_says();
            line.parent_hears();
            EXPECT_EQ(::smcd_flush(sock), 0);
        });
}

TEST(Transfer, RowsOfMoreKeepTheOrder) {
    run_pair([](smcd_ctx*, smcd_sock* sock) { SMCD_CHILD_CHECK(receive_all(sock) == kTotal); },
             [](smcd_ctx*, smcd_sock* sock) {
                 ASSERT_EQ(::smcd_wait_verdict(sock, -1), 1);
                 for (std::size_t sent = 0, round = 0; sent < kTotal; ++round) {
                     const std::size_t n = std::min(kSizes[round % 7], kTotal - sent);
                     const auto bytes = pattern_bytes(sent, n);
                     // Every fifth ends a row; vectors come in between.
                     const iovec part{const_cast<unsigned char*>(bytes.data()), n};
                     const ssize_t rc =
                         round % 11 == 0
                             ? ::smcd_sendv(sock, &part, 1, 0)
                             : ::smcd_send(sock, bytes.data(), n, round % 5 == 0 ? 0 : MSG_MORE);
                     ASSERT_EQ(rc, static_cast<ssize_t>(n));
                     sent += n;
                 }
             });
}

TEST(Transfer, PeekWaitsForTheMinimum) {
    run_pair(
        [](smcd_ctx*, smcd_sock* sock) {
            smcd_span spans[2];
            const ssize_t n = ::smcd_recv_peek(sock, spans, 1000, 0);
            SMCD_CHILD_CHECK(n >= 1000);
            SMCD_CHILD_CHECK(::smcd_recv_consume(sock, 1000) == 0);
            SMCD_CHILD_CHECK(::smcd_recv_peek(sock, spans, 1, MSG_DONTWAIT) == -1 &&
                             errno == EAGAIN);
            SMCD_CHILD_CHECK(::smcd_send(sock, "done", 4, 0) == 4);
            SMCD_CHILD_CHECK(::smcd_recv_peek(sock, spans, 1, 0) == 0);
        },
        [](smcd_ctx*, smcd_sock* sock) {
            for (int i = 0; i < 10; ++i) {
                const auto bytes = pattern_bytes(static_cast<std::size_t>(i) * 100, 100);
                ASSERT_EQ(::smcd_send(sock, bytes.data(), 100, 0), 100);
            }
            char answer[4];
            EXPECT_EQ(::smcd_recv(sock, answer, 4, MSG_WAITALL), 4);
        });
}

TEST(Transfer, ReservationsAndSendsInTurns) {
    run_pair([](smcd_ctx*, smcd_sock* sock) { SMCD_CHILD_CHECK(receive_all(sock) == kTotal); },
             [](smcd_ctx*, smcd_sock* sock) {
                 ASSERT_EQ(::smcd_wait_verdict(sock, -1), 1);
                 for (std::size_t sent = 0, round = 0; sent < kTotal; ++round) {
                     const std::size_t wish = std::min(kSizes[round % 7], kTotal - sent);
                     if (round % 4 == 0) {
                         const auto bytes = pattern_bytes(sent, wish);
                         ASSERT_EQ(::smcd_send(sock, bytes.data(), wish, 0),
                                   static_cast<ssize_t>(wish));
                         sent += wish;
                         continue;
                     }
                     // Several commits out of what one look at the ring gave.
                     smcd_span spans[2];
                     const ssize_t room = ::smcd_send_reserve(sock, spans, 1, 0);
                     ASSERT_GT(room, 0);
                     const std::size_t n = std::min(wish, spans[0].bytes);
                     const auto bytes = pattern_bytes(sent, n);
                     std::memcpy(spans[0].data, bytes.data(), n);
                     ASSERT_EQ(::smcd_send_commit(sock, n), 0);
                     sent += n;
                 }
             });
}

TEST(Transfer, CommitsToAPeerThatIsGone) {
    Line line;
    run_pair(
        [&](smcd_ctx*, smcd_sock* sock) {
            SMCD_CHILD_CHECK(::smcd_wait_verdict(sock, -1) == 1);
            SMCD_CHILD_CHECK(::smcd_close(sock) == 0);
            line.child_says();
            line.child_hears();
        },
        [&](smcd_ctx*, smcd_sock* sock) {
            ASSERT_EQ(::smcd_wait_verdict(sock, -1), 1);
            line.parent_hears();
            // The first vanishes as on TCP, the next is told.
            smcd_span spans[2];
            ASSERT_GT(::smcd_send_reserve(sock, spans, 1, 0), 0);
            EXPECT_EQ(::smcd_send_commit(sock, 1), 0);
            const bool told =
                ::smcd_send_reserve(sock, spans, 1, 0) < 0 || ::smcd_send_commit(sock, 1) < 0;
            EXPECT_TRUE(told);
            EXPECT_EQ(errno, EPIPE);
            line.parent_says();
        });
}

TEST(Transfer, SurvivesTheReturnToTcp) {
    // The other side takes the connection back to TCP while this one holds a reservation and unread
    // spans.
    Line line;
    run_pair(
        [&](smcd_ctx*, smcd_sock* sock) {
            SMCD_CHILD_CHECK(::smcd_wait_verdict(sock, -1) == 1);
            const auto bytes = pattern_bytes(0, 5000);
            SMCD_CHILD_CHECK(::smcd_send(sock, bytes.data(), bytes.size(), 0) == 5000);
            line.child_says();
            line.child_hears();
            SMCD_CHILD_CHECK(
                return_to_tcp(sock->process(), *sock->socket, Reason::returned_on_request));
            line.child_says();
            std::vector<unsigned char> got(300);
            SMCD_CHILD_CHECK(::smcd_recv(sock, got.data(), got.size(), MSG_WAITALL) == 300);
            SMCD_CHILD_CHECK(matches(got, 0));
            const auto more = pattern_bytes(5000, 100);
            SMCD_CHILD_CHECK(::smcd_send(sock, more.data(), 100, 0) == 100);
            SMCD_CHILD_CHECK(receive_all(sock) == 0);
        },
        [&](smcd_ctx*, smcd_sock* sock) {
            ASSERT_EQ(::smcd_wait_verdict(sock, -1), 1);
            line.parent_hears();
            smcd_span unread[2];
            ASSERT_EQ(::smcd_recv_peek(sock, unread, 5000, 0), 5000);
            smcd_span free_spans[2];
            ASSERT_GE(::smcd_send_reserve(sock, free_spans, 300, 0), 300);
            line.parent_says();
            line.parent_hears(); // frozen now
            const auto bytes = pattern_bytes(0, 300);
            std::memcpy(free_spans[0].data, bytes.data(), 300);
            EXPECT_TRUE(matches({static_cast<unsigned char*>(unread[0].data), 5000}, 0));
            ASSERT_EQ(::smcd_recv_consume(sock, 2000), 0);
            ASSERT_EQ(::smcd_send_commit(sock, 300), 0);
            std::vector<unsigned char> rest(3100);
            ASSERT_EQ(::smcd_recv(sock, rest.data(), rest.size(), MSG_WAITALL), 3100);
            EXPECT_TRUE(matches(rest, 2000));
            EXPECT_EQ(::smcd_is_accelerated(sock), 0);
            EXPECT_EQ(::smcd_shutdown(sock, SHUT_WR), 0);
        });
}

TEST(Transfer, EndOfTheStream) {
    Line line;
    run_pair(
        [&](smcd_ctx*, smcd_sock* sock) {
            SMCD_CHILD_CHECK(::smcd_wait_verdict(sock, -1) == 1);
            SMCD_CHILD_CHECK(::smcd_close(sock) == 0);
            line.child_says();
            line.child_hears();
        },
        [&](smcd_ctx*, smcd_sock* sock) {
            line.parent_hears();
            smcd_span spans[2];
            EXPECT_EQ(::smcd_recv_peek(sock, spans, 1, 0), 0);
            char byte = 0;
            EXPECT_EQ(::smcd_recv(sock, &byte, 1, 0), 0);
            // As on TCP the first send may vanish; the next one tells.
            static_cast<void>(::smcd_send(sock, "x", 1, 0));
            EXPECT_EQ(::smcd_send(sock, "x", 1, 0), -1);
            EXPECT_EQ(errno, EPIPE);
            EXPECT_EQ(::smcd_send_reserve(sock, spans, 1, 0), -1);
            EXPECT_EQ(errno, EPIPE);
            line.parent_says();
        });
}

/// A plain TCP echo server, for one connection, that ends with its client.
class PlainEcho {
public:
    PlainEcho() {
        listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const sockaddr_in any = loopback(0);
        EXPECT_EQ(::bind(listener_, as_sockaddr(any), sizeof(any)), 0);
        EXPECT_EQ(::listen(listener_, 1), 0);
        child_ = ::fork();
        if (child_ == 0) {
            const int fd = ::accept(listener_, nullptr, nullptr);
            char buffer[4096];
            ssize_t n = 0;
            while ((n = ::read(fd, buffer, sizeof(buffer))) > 0) {
                SMCD_CHILD_CHECK(::send(fd, buffer, static_cast<std::size_t>(n), 0) == n);
            }
            ::_exit(0);
        }
    }

    ~PlainEcho() {
        ::close(listener_);
        int status = 0;
        ::waitpid(child_, &status, 0);
        EXPECT_EQ(status, 0);
    }

    PlainEcho(const PlainEcho&) = delete;
    PlainEcho& operator=(const PlainEcho&) = delete;

    [[nodiscard]] std::uint16_t port() const { return port_of(listener_); }

private:
    int listener_ = -1;
    pid_t child_ = -1;
};

TEST(Transfer, EveryCallWorksOnPlainTcp) {
    const PlainEcho server;
    smcd_ctx* ctx = ::smcd_ctx_create(nullptr);
    smcd_sock* sock = ::smcd_socket(ctx, AF_INET, 0);
    const sockaddr_in address = loopback(server.port());
    ASSERT_EQ(::smcd_connect(sock, as_sockaddr(address), sizeof(address)), 0);
    EXPECT_EQ(::smcd_wait_verdict(sock, -1), 0);
    EXPECT_STRNE(::smcd_last_reason(sock), "");
    EXPECT_NE(::smcd_reason_code(sock), 0U);
    std::size_t sent = 0;
    std::size_t got = 0;
    for (int round = 0; round < 50; ++round) {
        const auto bytes = pattern_bytes(sent, 1000);
        ASSERT_EQ(::smcd_send(sock, bytes.data(), 400, MSG_MORE), 400);
        smcd_span spans[2];
        ASSERT_GE(::smcd_send_reserve(sock, spans, 600, 0), 600);
        std::memcpy(spans[0].data, bytes.data() + 400, 600);
        ASSERT_EQ(::smcd_send_commit(sock, 600), 0);
        sent += 1000;
        while (got < sent) {
            const ssize_t n = ::smcd_recv_peek(sock, spans, 1, 0);
            ASSERT_GT(n, 0);
            const std::size_t take = (static_cast<std::size_t>(n) + 1) / 2;
            ASSERT_TRUE(matches({static_cast<unsigned char*>(spans[0].data), take}, got));
            ASSERT_EQ(::smcd_recv_consume(sock, take), 0);
            got += take;
            unsigned char byte = 0;
            if (got < sent) {
                ASSERT_EQ(::smcd_recv(sock, &byte, 1, 0), 1);
                ASSERT_EQ(byte, pattern(got));
                ++got;
            }
        }
    }
    EXPECT_EQ(::smcd_recv_consume(sock, 1), -1);
    ::smcd_ctx_destroy(ctx);
}

} // namespace
} // namespace smcd::library::test
