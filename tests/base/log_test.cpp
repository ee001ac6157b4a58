// Tests of smcd/base/log.hpp. Floor 4.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "smcd/base/clock.hpp"
#include "smcd/base/limits.hpp"
#include "smcd/base/log.hpp"
#include "smcd/base/unique_fd.hpp"

namespace smcd {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

/// Puts another descriptor in the place of stderr and restores the old one.
class StderrSwap {
public:
    explicit StderrSwap(int fd) : saved_(::dup(STDERR_FILENO)) { ::dup2(fd, STDERR_FILENO); }

    StderrSwap(const StderrSwap&) = delete;
    StderrSwap& operator=(const StderrSwap&) = delete;

    ~StderrSwap() { ::dup2(saved_.get(), STDERR_FILENO); }

private:
    UniqueFd saved_;
};

std::string read_available(int fd) {
    std::array<char, 8192> buffer{};
    const ssize_t size = ::read(fd, buffer.data(), buffer.size());
    return size <= 0 ? std::string() : std::string(buffer.data(), static_cast<std::size_t>(size));
}

class LogTest : public ::testing::Test {
protected:
    void SetUp() override {
        std::array<int, 2> ends{-1, -1};
        ASSERT_EQ(::pipe2(ends.data(), O_NONBLOCK | O_CLOEXEC), 0);
        read_end_.reset(ends[0]);
        write_end_.reset(ends[1]);
    }

    void TearDown() override { set_log_level(LogLevel::off); }

    template <typename Call>
    std::string stderr_of(Call call) {
        const StderrSwap swap(write_end_.get());
        call();
        return read_available(read_end_.get());
    }

    UniqueFd read_end_;
    UniqueFd write_end_;
};

TEST_F(LogTest, OnlyOneDigitOfTheRangeIsALevel) {
    EXPECT_EQ(parse_log_level(nullptr), LogLevel::off);
    EXPECT_EQ(parse_log_level(""), LogLevel::off);
    EXPECT_EQ(parse_log_level("0"), LogLevel::off);
    EXPECT_EQ(parse_log_level("1"), LogLevel::error);
    EXPECT_EQ(parse_log_level("2"), LogLevel::info);
    EXPECT_EQ(parse_log_level("3"), LogLevel::debug);
    EXPECT_EQ(parse_log_level("4"), LogLevel::off);
    EXPECT_EQ(parse_log_level("-1"), LogLevel::off);
    EXPECT_EQ(parse_log_level("33"), LogLevel::off);
    EXPECT_EQ(parse_log_level("yes"), LogLevel::off);
}

TEST_F(LogTest, NothingIsPrintedAboveTheLevelAndArgumentsAreNotEvaluated) {
    set_log_level(LogLevel::error);
    int evaluated = 0;

    const std::string text = stderr_of([&evaluated] { SMCD_LOG(info, "value %d", ++evaluated); });

    EXPECT_EQ(text, "");
    EXPECT_EQ(evaluated, 0);
}

TEST_F(LogTest, ALineHasThePidTheTextAndOneNewline) {
    set_log_level(LogLevel::error);

    const std::string text = stderr_of([] { SMCD_LOG(error, "fd %d: %s", 7, "gone"); });

    EXPECT_EQ(text, "smcd[" + std::to_string(::getpid()) + "] fd 7: gone\n");
}

TEST_F(LogTest, LongLinesAreCutAtTheLimit) {
    set_log_level(LogLevel::error);
    const std::string longer(kLogLineBytes * 2, 'x');

    const std::string text = stderr_of([&longer] { SMCD_LOG(error, "%s", longer.c_str()); });

    EXPECT_EQ(text.size(), kLogLineBytes);
    EXPECT_THAT(text, EndsWith("x\n"));
}

TEST_F(LogTest, ErrnoSurvives) {
    set_log_level(LogLevel::error);

    errno = ENOTTY;
    stderr_of([] { SMCD_LOG(error, "text"); });
    const StderrSwap swap(read_end_.get()); // not writable: the write fails
    errno = EXDEV;
    SMCD_LOG(error, "text");

    EXPECT_EQ(errno, EXDEV);
}

TEST_F(LogTest, AnInternetSocketInPlaceOfStderrGetsNothing) {
    set_log_level(LogLevel::error);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    ASSERT_EQ(::listen(listener.get(), 1), 0);
    ASSERT_EQ(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
    const UniqueFd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::connect(client.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    const UniqueFd server(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    ASSERT_TRUE(server.valid());

    {
        const StderrSwap swap(client.get());
        SMCD_LOG(error, "secret");
    }
    // The end of the stream proves that nothing stands before it.
    ASSERT_EQ(::shutdown(client.get(), SHUT_WR), 0);

    std::array<char, 64> buffer{};
    EXPECT_EQ(::read(server.get(), buffer.data(), buffer.size()), 0);
}

TEST_F(LogTest, TheLimiterLetsOneCallThroughPerInterval) {
    LogLimiter limiter;
    const std::uint64_t interval_ns = kLogIntervalMs * kNsPerMs;
    std::uint32_t suppressed = 99;

    EXPECT_TRUE(limiter.allow(5, suppressed));
    EXPECT_EQ(suppressed, 0U);
    EXPECT_FALSE(limiter.allow(6, suppressed));
    EXPECT_FALSE(limiter.allow(4 + interval_ns, suppressed));
    EXPECT_TRUE(limiter.allow(5 + interval_ns, suppressed));
    EXPECT_EQ(suppressed, 2U);
    EXPECT_TRUE(limiter.allow(9 * interval_ns, suppressed));
    EXPECT_EQ(suppressed, 0U);
}

TEST_F(LogTest, ALimitedPlaceSaysHowManyLinesItKeptBack) {
    set_log_level(LogLevel::error);

    const std::string text = stderr_of([] { SMCD_LOG_LIMITED(error, "bad cursor %u", 12U); });

    EXPECT_THAT(text, StartsWith("smcd["));
    EXPECT_THAT(text, HasSubstr("bad cursor 12 (0 more suppressed)\n"));
}

} // namespace
} // namespace smcd
