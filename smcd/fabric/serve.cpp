// `smcu fabric serve`. Floor 4, docs/fabric.md.
#include "smcd/fabric/serve.hpp"

#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

#include "smcd/base/unique_fd.hpp"
#include "smcd/fabric/answers.hpp"
#include "smcd/fabric/event_log.hpp"
#include "smcd/fabric/fabric_region.hpp"
#include "smcd/fabric/ivshmem_server.hpp"
#include "smcd/fabric/management.hpp"
#include "smcd/tools/command.hpp"

namespace smcd::fabric {
namespace {

/// What systemd is told (sd_notify(3)); nothing when it did not start us.
void notify_manager(const char* text) noexcept {
    const char* path = std::getenv("NOTIFY_SOCKET"); // NOLINT(concurrency-mt-unsafe): one thread
    sockaddr_un address{};
    if (path == nullptr || std::strlen(path) >= sizeof(address.sun_path)) {
        return;
    }
    address.sun_family = AF_UNIX;
    const std::size_t length = std::strlen(path);
    std::memcpy(address.sun_path, path, length);
    if (address.sun_path[0] == '@') {
        address.sun_path[0] = '\0';
    }
    const UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ::sendto(fd.get(),
             text,
             std::strlen(text),
             MSG_NOSIGNAL,
             reinterpret_cast<const sockaddr*>(&address),
             static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length));
}

/// Each client costs a socket and its eventfds.
void raise_descriptor_limit() noexcept {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        ::setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int fail(const std::string& what, std::error_code error) {
    tools::complain("fabric serve", what + ": " + error.message());
    return tools::kExitFailure;
}

/// Keeps the region and the log in step with the clients.
class Clients : public IvshmemServer::Observer {
public:
    Clients(FabricRegion& region, EventLog& log) : region_(region), log_(log) {}

    void on_connected(std::uint32_t id) override { log_.add(Happening::client_connected, id); }

    void on_ended(std::uint32_t id) override {
        log_.add(Happening::client_ended, id);
        region_.on_client_ended(id);
    }

    void on_dropped(std::uint32_t id) override { log_.add(Happening::client_dropped, id); }

    void on_refused() override { log_.add(Happening::client_refused); }

private:
    FabricRegion& region_;
    EventLog& log_;
};

std::string open_failure(const ServeOptions& options, std::error_code error) {
    if (error == std::errc::device_or_resource_busy) {
        return options.folder + " is served by another process";
    }
    if (error == std::errc::invalid_argument) {
        return options.folder + "/region has another size, or the size suits no region";
    }
    return "cannot open " + options.folder + "/region";
}

} // namespace

std::string ivshmem_path(const std::string& folder) {
    return folder + "/ivshmem";
}

std::string management_path(const std::string& folder) {
    return folder + "/manage";
}

std::string default_folder() {
    const char* runtime = std::getenv("XDG_RUNTIME_DIR"); // NOLINT(concurrency-mt-unsafe)
    if (::geteuid() == 0 || runtime == nullptr || *runtime == '\0') {
        return "/run/smcd";
    }
    return std::string(runtime) + "/smcd";
}

int serve(const ServeOptions& options) {
    raise_descriptor_limit();
    auto region = FabricRegion::open({options.folder, options.bytes, options.peers});
    if (!region) {
        return fail(open_failure(options, region.error()), region.error());
    }
    boost::asio::io_context io;
    boost::asio::signal_set signals(io, SIGTERM, SIGINT);
    IvshmemServerOptions wanted;
    wanted.path = options.socket.empty() ? ivshmem_path(options.folder) : options.socket;
    wanted.mode = options.mode;
    wanted.vectors = options.vectors;
    wanted.first_id = region->begin_run();
    wanted.ids = dev::ivshmem::kIdsPerBlock;
    wanted.clients_max = options.clients_max;
    wanted.patience = options.patience;
    EventLog log;
    Clients clients(*region, log);
    IvshmemServer server(io, wanted, region->region().file(), clients);
    Answers answers(*region, server, log);
    ManagementServer management(
        io, management_path(options.folder), [&](const pb::Request& request) {
            return answers.answer(request);
        });
    if (const auto started = server.start(); !started) {
        return fail("cannot listen on " + wanted.path, started.error());
    }
    if (const auto started = management.start(); !started) {
        return fail("cannot listen on " + management_path(options.folder), started.error());
    }
    signals.async_wait([&](boost::system::error_code, int) {
        notify_manager("STOPPING=1");
        server.stop();
        management.stop();
        io.stop();
    });
    log.add(Happening::serving);
    std::printf(
        "ready: region %s, ivshmem socket %s\n", region->path().c_str(), wanted.path.c_str());
    std::fflush(stdout);
    notify_manager("READY=1");
    io.run();
    return tools::kExitOk;
}

} // namespace smcd::fabric
