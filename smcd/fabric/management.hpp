// The management socket of a fabric server: one Protobuf Request at a time, one Reply. Floor 4,
// docs/fabric.md "management".
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>

#include "management.pb.h"
#include "smcd/base/result.hpp"

namespace smcd::fabric {

inline constexpr std::uint32_t kRequestBytesMax = 4096;
inline constexpr std::uint32_t kReplyBytesMax = 16U << 20U;

/// Thread: that of the io_context. Who sends nothing, or does not take its answer, for ten seconds
/// is hung up on; so is who sends too much, or nonsense. At most 32 at once.
class ManagementServer {
public:
    using Handler = std::function<pb::Reply(const pb::Request&)>;

    ManagementServer(boost::asio::io_context& io, std::string path, Handler handler);
    ~ManagementServer();
    ManagementServer(const ManagementServer&) = delete;
    ManagementServer& operator=(const ManagementServer&) = delete;

    /// Binds (only we and root may connect) and listens. Errors: those of bind().
    [[nodiscard]] Result<void> start();
    void stop();

private:
    struct Session;
    using Protocol = boost::asio::local::stream_protocol;

    void accept();

    std::string path_;
    std::shared_ptr<const Handler> handler_;
    Protocol::acceptor acceptor_;
    boost::asio::steady_timer accept_timer_;
    std::shared_ptr<std::size_t> sessions_ = std::make_shared<std::size_t>(0);
};

/// Sends one request and waits for its answer, ten seconds at most. Errors: those of connect();
/// ETIMEDOUT; EPROTO (no server of ours).
[[nodiscard]] Result<pb::Reply> ask(const std::string& path, const pb::Request& request);

} // namespace smcd::fabric
