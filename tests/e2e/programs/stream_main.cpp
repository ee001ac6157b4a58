// e2e_stream serve|connect|self: moves verified streams over some connections in a chosen manner.
// Room tests/e2e, no protocol section. See stream_test.py for the combinations.
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <string>

#include "tests/e2e/programs/net.hpp"
#include "tests/e2e/programs/wait_modes.hpp"

namespace {

using namespace smcd::e2e;

struct Options {
    std::string role;
    std::string host;
    std::uint16_t port = 0;
    std::size_t connections = 1;
    std::string wait;
    unsigned threads = 1;
    bool shared = false;
    PumpOptions pump;
};

// --tx and --rx are this end's; --chunk N or --chunk random:N.
Options parse(int argc, char** argv) {
    Options options;
    options.role = argc > 1 ? argv[1] : "";
    options.host = option(argc, argv, "host", "127.0.0.1");
    options.port = static_cast<std::uint16_t>(number_option(argc, argv, "port", 0));
    options.connections = number_option(argc, argv, "conns", 1);
    options.wait = option(argc, argv, "wait", "blocking");
    options.threads = static_cast<unsigned>(number_option(argc, argv, "threads", 1));
    options.shared = flag_option(argc, argv, "shared");
    options.pump.call = parse_call(option(argc, argv, "call", "send-recv"));
    options.pump.tx_bytes = number_option(argc, argv, "tx", 0);
    options.pump.rx_bytes = number_option(argc, argv, "rx", 0);
    options.pump.seed = number_option(argc, argv, "seed", 1);
    std::string chunk = option(argc, argv, "chunk", "65536");
    if (chunk.starts_with("random:")) {
        options.pump.random_chunks = true;
        chunk.erase(0, sizeof("random:") - 1);
    }
    options.pump.chunk_bytes = parse_number(chunk);
    options.pump.blocking = is_blocking_mode(options.wait) || options.pump.call == Call::dont_wait;
    return options;
}

void add_pump(Pumps& pumps, int fd, Options options, bool client) {
    options.pump.client = client;
    if (client != (options.role == "connect")) {
        std::swap(options.pump.tx_bytes, options.pump.rx_bytes); // "self": the other end
    }
    set_nonblocking(fd, !options.pump.blocking);
    pumps.push_back(std::make_unique<Pump>(fd, options.pump));
}

Pumps open_connections(const Options& options) {
    Pumps pumps;
    if (options.role == "connect") {
        for (std::size_t i = 0; i < options.connections; ++i) {
            add_pump(pumps, connect_to(options.host, options.port), options, true);
        }
        return pumps;
    }
    const int listener =
        listen_on(options.host, options.port, static_cast<int>(options.connections) + 1);
    announce_port(local_port(listener));
    for (std::size_t i = 0; i < options.connections; ++i) {
        if (options.role == "self") {
            const std::string host = options.host == "::" ? "::1" : options.host;
            add_pump(pumps, connect_to(host, local_port(listener)), options, true);
        }
        add_pump(pumps, accept_one(listener), options, false);
    }
    ::close(listener);
    return pumps;
}

} // namespace

int main(int argc, char** argv) {
    ::signal(SIGPIPE, SIG_IGN);
    const Options options = parse(argc, argv);
    if (options.wait == "blocking" && options.pump.call == Call::dont_wait) {
        die("MSG_DONTWAIT needs a wait mode that waits");
    }
    if (options.role != "serve" && options.role != "connect" && options.role != "self") {
        die("usage: e2e_stream serve|connect|self [--port N] [--wait MODE] [--call CALL] ...");
    }
    const double start = now_s();
    Pumps pumps = open_connections(options);
    run_pumps(pumps, options.wait, options.threads, options.shared);
    for (const auto& pump : pumps) {
        check(::close(pump->fd()), "close");
    }
    std::printf("ok tx=%llu rx=%llu conns=%zu seconds=%.3f\n",
                static_cast<unsigned long long>(options.pump.tx_bytes * options.connections),
                static_cast<unsigned long long>(options.pump.rx_bytes * options.connections),
                options.connections,
                now_s() - start);
    return 0;
}
