// DeviceNews: waits for the descriptors on which devices announce news, and lets them handle it. Floor 3.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include <memory>
#include <mutex>
#include <vector>

#include "devices/api/device.hpp"

namespace smcd {

class Process;

class DeviceNews {
public:
    DeviceNews(boost::asio::io_context& io, Process& process) : io_(io), process_(process) {}

    /// Waits for each device that has a poll_fd() by now, or another one than before. Thread: any.
    void watch();
    /// Gives the descriptors back, which are the devices' own. The progress thread has ended.
    void release() noexcept;

private:
    struct Watched {
        Watched(boost::asio::io_context& io, dev::LinkedDevice& watched) : device(watched), news(io) {}

        dev::LinkedDevice& device;
        boost::asio::posix::stream_descriptor news; ///< its poll_fd(), borrowed
        int fd = -1;                                ///< the same; -1: nobody waits. Under the mutex
    };

    void wait(Watched& watched);
    void on_news(Watched& watched);

    boost::asio::io_context& io_;
    Process& process_;
    std::mutex mutex_;
    std::vector<std::unique_ptr<Watched>> devices_; ///< under the mutex
};

} // namespace smcd
