// Waiting for devices. Floor 3.
#include "smcd/runtime/device_news.hpp"

#include <algorithm>
#include <boost/asio/post.hpp>

#include "smcd/runtime/process.hpp"

namespace smcd {

void DeviceNews::wait(Watched& watched) {
    watched.news.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                            [this, &watched](const boost::system::error_code& error) {
                                if (!error) {
                                    on_news(watched);
                                }
                            });
}

void DeviceNews::on_news(Watched& watched) {
    watched.device.service();
    const int fd = watched.device.poll_fd();
    const std::lock_guard guard(mutex_);
    if (fd >= 0 && fd == watched.fd) {
        wait(watched);
        return;
    }
    // The device will close what we borrowed; it may come back with another.
    watched.news.release();
    watched.fd = -1;
}

void DeviceNews::watch() {
    for (const auto& device : process_.devices().all()) {
        const int fd = device->poll_fd();
        if (fd < 0) {
            continue;
        }
        const std::lock_guard guard(mutex_);
        const auto known = std::find_if(devices_.begin(), devices_.end(), [&](const auto& watched) {
            return &watched->device == device.get();
        });
        if (known != devices_.end() && (*known)->fd == fd) {
            continue;
        }
        Watched& watched = known != devices_.end()
                               ? **known
                               : *devices_.emplace_back(std::make_unique<Watched>(io_, *device));
        watched.fd = fd;
        boost::asio::post(io_, [this, fd, &watched] {
            boost::system::error_code error;
            if (watched.news.is_open()) {
                watched.news.release();
            }
            watched.news.assign(fd, error);
            wait(watched);
        });
    }
}

void DeviceNews::release() noexcept {
    for (const auto& watched : devices_) {
        static_cast<void>(watched->news.release());
    }
}

} // namespace smcd
