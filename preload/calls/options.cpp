// getsockopt() and setsockopt() on TCP sockets that we follow. Floor 4.
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <cerrno>
#include <cstring>
#include <string_view>

#include "preload/calls/calls.hpp"
#include "preload/leaving.hpp"
#include "smcd/runtime/opening.hpp"
#include "smcd/base/raw_syscall.hpp"
#include "smcd/runtime/settle.hpp"
#include "smcd/runtime/stream.hpp"

namespace smcd::preload::calls {
namespace {

/// Our own options. The program asks for plain TCP; the value is ignored.
constexpr int kReturnToTcp = 0x0FE0;
/// The profile of one socket, by name; a listener hands it on.
constexpr int kProfile = 0x0FE1;
/// The device under the connection goes away for the whole process, as one that is taken out: for tests of what follows.
constexpr int kDisableDevice = 0x0FE2;
constexpr socklen_t kProfileNameMax = 32;

ssize_t set_profile(Shim& shim, Socket& socket, const void* value, socklen_t length) {
    if (value == nullptr || length == 0 || length > kProfileNameMax) {
        return -EINVAL;
    }
    std::string_view name(static_cast<const char*>(value), length);
    name = name.substr(0, name.find('\0'));
    const Profile* profile = find_profile(name);
    if (profile == nullptr) {
        return -EINVAL;
    }
    shim.process.set_profile(socket, *profile);
    return 0;
}

ssize_t get_profile(const Shim& shim, const Socket& socket, void* value, socklen_t* length) {
    if (value == nullptr || length == nullptr) {
        return -EFAULT;
    }
    const std::string_view name = shim.process.profile_of(socket).name;
    if (*length < name.size() + 1) {
        return -EINVAL;
    }
    std::memcpy(value, name.data(), name.size());
    static_cast<char*>(value)[name.size()] = '\0';
    *length = static_cast<socklen_t>(name.size() + 1);
    return 0;
}

ssize_t disable_device(const Socket& socket) {
    dev::LinkedDevice* const device = socket.device;
    if (device == nullptr) {
        return -ENOTCONN;
    }
    return device->disable(dev::kFabricDeviceDisabled) ? 0 : -EOPNOTSUPP;
}

constexpr int kTcpAoAddKey = 38;  // TCP_AO_ADD_KEY; older than the headers here

/// Whether a switch is turned on. SO_MAX_PACING_RATE and SO_PEEK_OFF are off at -1.
bool is_on(int name, const void* value, socklen_t length) noexcept {
    int number = 0;
    if (value == nullptr || length < sizeof(number)) {
        return false;  // the kernel says what is wrong
    }
    std::memcpy(&number, value, sizeof(number));
    return name == SO_MAX_PACING_RATE || name == SO_PEEK_OFF ? number != -1 : number != 0;
}

/// Options whose effect lies in the kernel's stream of bytes: time stamps, rates, signatures and queues of its segments.
bool kernel_alone_serves(int level, int name, const void* value, socklen_t length) noexcept {
    if (level == IPPROTO_TCP) {
        return name == TCP_ULP || name == TCP_REPAIR || name == TCP_MD5SIG || name == TCP_MD5SIG_EXT ||
               name == kTcpAoAddKey;
    }
    if (level != SOL_SOCKET) {
        return false;
    }
    switch (name) {
        case SO_OOBINLINE:
            return true;
        case SO_TIMESTAMP_OLD:
        case SO_TIMESTAMP_NEW:
        case SO_TIMESTAMPNS_OLD:
        case SO_TIMESTAMPNS_NEW:
        case SO_TIMESTAMPING_OLD:
        case SO_TIMESTAMPING_NEW:
        case SO_MAX_PACING_RATE:
        case SO_PEEK_OFF:
            return is_on(name, value, length);
        default:
            return false;
    }
}

/// The connection goes to TCP; one that is to come of this socket begins there. A listener hands that on with the option.
void leave_to_kernel(Shim& shim, Socket& socket, int fd) {
    if (socket.kind.load(std::memory_order_acquire) != SocketKind::connection) {
        socket.stays_on_tcp = true;
    }
    leave(shim, fd, Reason::unsupported_option);
}

}  // namespace

ssize_t set_option(
    Shim& shim, Socket& socket, int fd, int level, int name, const void* value, socklen_t length) {
    if (level == kSolSmc && name == kReturnToTcp) {
        return leave(shim, fd, Reason::returned_on_request) ? 0 : -ENOTCONN;
    }
    if (level == kSolSmc && name == kProfile) {
        return set_profile(shim, socket, value, length);
    }
    if (level == kSolSmc && name == kDisableDevice) {
        return disable_device(socket);
    }
    if (kernel_alone_serves(level, name, value, length)) {
        leave_to_kernel(shim, socket, fd);
    }
    const ssize_t rc = value_of(shim.real.setsockopt(fd, level, name, value, length));
    if (rc == 0 && level == IPPROTO_TCP && name == TCP_INQ) {
        socket.set_tells_inq(is_on(name, value, length));
    }
    if (rc == 0 && level == SOL_SOCKET) {
        note_socket_option(socket, name, value, length);
        if (name == SO_RCVLOWAT && socket.accelerated()) {
            if (stream_tells_of_data(socket)) {
                socket.tcp_events.fetch_add(1, std::memory_order_release);  // an edge
            }
            shim.process.wake_local(socket);  // what is there may be enough now
        }
    }
    return rc;
}

ssize_t get_option(
    Shim& shim, Socket& socket, int fd, int level, int name, void* value, socklen_t* length) {
    if (level == kSolSmc && name == kProfile) {
        return get_profile(shim, socket, value, length);
    }
    if (level == IPPROTO_TCP && name == TCP_ZEROCOPY_RECEIVE) {
        leave_to_kernel(shim, socket, fd);  // it maps the pages of what has arrived
    }
    const bool ours = socket.kind.load(std::memory_order_acquire) == SocketKind::connection &&
                      Socket::is_ours(socket.phase());
    const bool error_wanted = level == SOL_SOCKET && name == SO_ERROR;
    const ssize_t rc = value_of(shim.real.getsockopt(fd, level, name, value, length));
    if (rc == 0 && ours && level == SOL_SOCKET && name == SO_RCVLOWAT && *length >= sizeof(int)) {
        const int mark = static_cast<int>(socket.low_water);
        std::memcpy(value, &mark, sizeof(mark));
    }
    if (rc != 0 || !error_wanted || *length < sizeof(int)) {
        return rc;
    }
    if (!socket.accelerated()) {
        if (const int met = take_settling_error(shim.process, socket, SettlingCall::other); met != 0) {
            std::memcpy(value, &met, sizeof(met));
        }
        return rc;
    }
    if (int pending = 0; stream_take_error(socket, pending)) {
        std::memcpy(value, &pending, sizeof(pending));
    }
    return rc;
}

}  // namespace smcd::preload::calls
