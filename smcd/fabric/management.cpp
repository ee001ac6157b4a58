// The management socket, both ends. Floor 4, docs/fabric.md "management".
#include "smcd/fabric/management.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>

#include "smcd/base/unique_fd.hpp"

namespace smcd::fabric {

namespace asio = boost::asio;
using boost::system::error_code;

namespace {

constexpr std::chrono::seconds kPatience{10};
constexpr std::chrono::milliseconds kSessionAgain{100};
constexpr std::size_t kSessionsMax = 32;
constexpr std::size_t kLengthBytes = 4;

using Length = std::array<unsigned char, kLengthBytes>;

Length encode(std::size_t bytes) noexcept {
    Length length{};
    for (std::size_t i = 0; i < length.size(); ++i) {
        length[i] = static_cast<unsigned char>(bytes >> (8 * i));
    }
    return length;
}

std::uint32_t decode(const Length& length) noexcept {
    std::uint32_t bytes = 0;
    for (std::size_t i = 0; i < length.size(); ++i) {
        bytes |= std::uint32_t{length[i]} << (8 * i);
    }
    return bytes;
}

std::string framed(const google::protobuf::MessageLite& message) {
    const std::string body = message.SerializeAsString();
    const Length length = encode(body.size());
    return std::string(length.begin(), length.end()) + body;
}

/// All of it, or false: the end, an error, or the receive timeout of the socket.
bool read_all(int fd, char* to, std::size_t bytes) noexcept {
    while (bytes > 0) {
        const ssize_t n = ::recv(fd, to, bytes, 0);
        if (n <= 0) {
            if (n < 0 && errno == EINTR) {
                continue;
            }
            errno = n == 0 ? EPROTO : errno;
            return false;
        }
        to += n;
        bytes -= static_cast<std::size_t>(n);
    }
    return true;
}

Error exchange_error() noexcept {
    return errno == EAGAIN ? Error(std::errc::timed_out) : errno_error();
}

} // namespace

struct ManagementServer::Session : std::enable_shared_from_this<Session> {
    Session(Protocol::socket connection,
            std::shared_ptr<const Handler> serve,
            std::shared_ptr<std::size_t> counter)
        : socket(std::move(connection)), timer(socket.get_executor()), handler(std::move(serve)),
          count(std::move(counter)) {
        ++*count;
    }

    ~Session() { --*count; }

    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    void wait_for_request() {
        start_timer();
        asio::async_read(socket,
                         asio::buffer(length),
                         [self = shared_from_this()](error_code error, std::size_t) {
                             const std::uint32_t bytes = decode(self->length);
                             if (error || bytes > kRequestBytesMax) {
                                 self->hang_up();
                                 return;
                             }
                             self->body.assign(bytes, '\0');
                             self->read_request();
                         });
    }

    void read_request() {
        asio::async_read(
            socket, asio::buffer(body), [self = shared_from_this()](error_code error, std::size_t) {
                pb::Request request;
                if (error || !request.ParseFromString(self->body)) {
                    self->hang_up();
                    return;
                }
                self->body = framed((*self->handler)(request));
                self->write_reply();
            });
    }

    void write_reply() {
        start_timer();
        asio::async_write(
            socket, asio::buffer(body), [self = shared_from_this()](error_code error, std::size_t) {
                if (error) {
                    self->hang_up();
                    return;
                }
                self->wait_for_request();
            });
    }

    void start_timer() {
        timer.expires_after(kPatience);
        timer.async_wait([self = shared_from_this()](error_code error) {
            if (!error) {
                self->hang_up();
            }
        });
    }

    void hang_up() {
        error_code ignored;
        socket.close(ignored);
        timer.cancel();
    }

    Protocol::socket socket;
    asio::steady_timer timer;
    std::shared_ptr<const Handler> handler;
    std::shared_ptr<std::size_t> count;
    Length length{};
    std::string body;
};

ManagementServer::ManagementServer(asio::io_context& io, std::string path, Handler handler)
    : path_(std::move(path)), handler_(std::make_shared<const Handler>(std::move(handler))),
      acceptor_(io), accept_timer_(io) {}

ManagementServer::~ManagementServer() {
    stop();
}

Result<void> ManagementServer::start() {
    error_code error;
    ::unlink(path_.c_str());
    acceptor_.open(Protocol(), error);
    if (!error) {
        const mode_t mask = ::umask(S_IRWXG | S_IRWXO);
        acceptor_.bind(Protocol::endpoint(path_), error);
        ::umask(mask);
    }
    if (!error) {
        acceptor_.listen(asio::socket_base::max_listen_connections, error);
    }
    if (error) {
        return Error(std::error_code(error.value(), std::generic_category()));
    }
    accept();
    return {};
}

void ManagementServer::stop() {
    error_code ignored;
    if (acceptor_.is_open()) {
        acceptor_.close(ignored);
        ::unlink(path_.c_str());
    }
    accept_timer_.cancel();
}

void ManagementServer::accept() {
    acceptor_.async_accept([this](error_code error, Protocol::socket socket) {
        if (error == asio::error::operation_aborted || !acceptor_.is_open()) {
            return;
        }
        if (!error && *sessions_ < kSessionsMax) {
            std::make_shared<Session>(std::move(socket), handler_, sessions_)->wait_for_request();
        }
        if (!error) {
            accept();
            return;
        }
        accept_timer_.expires_after(kSessionAgain);
        accept_timer_.async_wait([this](error_code stopped) {
            if (!stopped) {
                accept();
            }
        });
    });
}

Result<pb::Reply> ask(const std::string& path, const pb::Request& request) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof(address.sun_path)) {
        return Error(std::errc::filename_too_long);
    }
    std::memcpy(address.sun_path, path.data(), path.size());
    const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const timeval limit{kPatience.count(), 0};
    ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
        return errno_error();
    }
    const std::string message = framed(request);
    if (::send(fd.get(), message.data(), message.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(message.size())) {
        return exchange_error();
    }
    Length length{};
    if (!read_all(fd.get(), reinterpret_cast<char*>(length.data()), length.size())) {
        return exchange_error();
    }
    std::string body(std::min(decode(length), kReplyBytesMax), '\0');
    if (!read_all(fd.get(), body.data(), body.size())) {
        return exchange_error();
    }
    pb::Reply reply;
    if (!reply.ParseFromString(body)) {
        return Error(std::errc::protocol_error);
    }
    return reply;
}

} // namespace smcd::fabric
