// LastThread: ends a process of which only our own thread is left. Floor 3.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

namespace smcd {

/// A process ends with status 0 when its last thread does, if the main thread left by
/// pthread_exit(). Ours is not to keep it: once the main thread has left, the number of threads is
/// looked at fifty times a second.
class LastThread {
public:
    explicit LastThread(boost::asio::io_context& io) : timer_(io) {}

    /// The main thread is about to leave. Thread: progress.
    void start();

private:
    boost::asio::steady_timer timer_;
};

} // namespace smcd
