// The transfer calls of a process under test. Room tests/diff, no protocol section.
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "tests/diff/actor.hpp"

namespace smcd::diff {
namespace {

constexpr std::size_t kBytesMax = std::size_t{1} << 20U;

/// Both directions of a process use one buffer: a call at a time.
std::vector<char>& memory() {
    static std::vector<char> bytes(kBytesMax);
    return bytes;
}

std::size_t size_of(const Op& op) {
    return std::min(static_cast<std::size_t>(op.args[0]), kBytesMax);
}

/// The next bytes of this process: no two places of the streams look the same for long.
char* fill(State& state, std::size_t size) {
    char* bytes = memory().data();
    for (std::size_t i = 0; i < size; ++i) {
        const unsigned n = state.next_byte++;
        bytes[i] = static_cast<char>((n * 167U) ^ (n >> 8U));
    }
    return bytes;
}

/// `size` bytes in `parts` pieces of unlike sizes; one of them is empty if there are more than two.
std::vector<iovec> cut(char* bytes, std::size_t size, std::size_t parts) {
    std::vector<iovec> vector;
    std::size_t done = 0;
    for (std::size_t i = 0; i + 1 < parts; ++i) {
        const std::size_t piece = i == 1 ? 0 : (size - done) / 3;
        vector.push_back({bytes + done, piece});
        done += piece;
    }
    if (parts > 0) {
        vector.push_back({bytes + done, size - done});
    }
    return vector;
}

void taken(Outcome& outcome, const char* bytes, std::int64_t count) {
    if (count <= 0) {
        return;
    }
    const auto size = std::min(static_cast<std::size_t>(count), kBytesMax);
    std::uint32_t hash = 2166136261U;
    for (std::size_t i = 0; i < size; ++i) {
        hash = (hash ^ static_cast<unsigned char>(bytes[i])) * 16777619U;
    }
    outcome.hash = hash;
    std::copy_n(bytes, std::min(size, outcome.bytes.size()), outcome.bytes.begin());
}

struct Messages {
    std::vector<std::vector<iovec>> vectors;
    std::vector<mmsghdr> headers;
};

/// `count` messages that share `size` bytes.
Messages split(char* bytes, std::size_t size, std::size_t count) {
    Messages messages;
    std::size_t done = 0;
    for (std::size_t i = 0; i < count; ++i) {
        const std::size_t piece = i + 1 == count ? size - done : size / count;
        messages.vectors.push_back(cut(bytes + done, piece, 2));
        done += piece;
    }
    for (std::vector<iovec>& vector : messages.vectors) {
        mmsghdr header{};
        header.msg_hdr.msg_iov = vector.data();
        header.msg_hdr.msg_iovlen = vector.size();
        messages.headers.push_back(header);
    }
    return messages;
}

std::int64_t send_file(State& state, int fd, const Op& op) {
    const std::size_t size = std::min<std::size_t>(size_of(op), 65536);
    const char* bytes = fill(state, size);
    off_t offset = ::lseek(state.file, 0, SEEK_END); // what was sent may still be in its pages
    if (::pwrite(state.file, bytes, size, offset) != static_cast<ssize_t>(size)) {
        return -1;
    }
    return ::sendfile(fd, state.file, &offset, size);
}

std::int64_t splice_out(State& state, int fd, const Op& op) {
    const std::size_t size = std::min<std::size_t>(size_of(op), 4096);
    const char* bytes = fill(state, size);
    if (::write(state.pipe[1], bytes, size) != static_cast<ssize_t>(size)) {
        return -1;
    }
    const unsigned flags = op.args[1] != 0 ? SPLICE_F_NONBLOCK : 0;
    const ssize_t moved = ::splice(state.pipe[0], nullptr, fd, nullptr, size, flags);
    const int error = errno;
    std::size_t left = size - static_cast<std::size_t>(std::max<ssize_t>(moved, 0));
    while (left > 0) { // the pipe is empty before the next call
        const ssize_t n = ::read(state.pipe[0], memory().data(), left);
        left -= static_cast<std::size_t>(std::max<ssize_t>(n, 1));
    }
    errno = error;
    return moved;
}

std::int64_t splice_in(State& state, int fd, const Op& op, Outcome& outcome) {
    const std::size_t size = std::min<std::size_t>(size_of(op), 4096);
    const unsigned flags = op.args[1] != 0 ? SPLICE_F_NONBLOCK : 0;
    const ssize_t moved = ::splice(fd, nullptr, state.pipe[1], nullptr, size, flags);
    if (moved > 0) {
        const int error = errno;
        taken(outcome, memory().data(), ::read(state.pipe[0], memory().data(), kBytesMax));
        errno = error;
    }
    return moved;
}

std::int64_t receive_message(int fd, const Op& op, char* bytes, Outcome& outcome) {
    std::vector<iovec> vector = cut(bytes, size_of(op), static_cast<std::size_t>(op.args[2]));
    sockaddr_storage name{};
    alignas(cmsghdr) std::array<char, 64> control{};
    msghdr header{};
    header.msg_iov = vector.data();
    header.msg_iovlen = vector.size();
    header.msg_name = &name;
    header.msg_namelen = sizeof name;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    header.msg_flags = 0x5555;
    const ssize_t n = ::recvmsg(fd, &header, static_cast<int>(op.args[1]));
    outcome.add_extra(header.msg_flags);
    outcome.add_extra(static_cast<std::int64_t>(header.msg_controllen));
    if (const cmsghdr* told = n < 0 ? nullptr : CMSG_FIRSTHDR(&header);
        told != nullptr && told->cmsg_level == IPPROTO_TCP && told->cmsg_type == TCP_INQ) {
        int left = 0;
        std::memcpy(&left, CMSG_DATA(told), sizeof left);
        outcome.add_extra(left);
    }
    outcome.add_extra(header.msg_namelen);
    return n;
}

std::int64_t receive_messages(int fd, const Op& op, char* bytes, Outcome& outcome) {
    Messages messages = split(bytes, size_of(op), static_cast<std::size_t>(op.args[2]));
    const int count = ::recvmmsg(fd,
                                 messages.headers.data(),
                                 static_cast<unsigned>(messages.headers.size()),
                                 static_cast<int>(op.args[1]),
                                 nullptr);
    for (int i = 0; i < count; ++i) {
        outcome.add_extra(messages.headers[static_cast<std::size_t>(i)].msg_len);
    }
    return count;
}

std::int64_t send_messages(int fd, const Op& op, char* bytes, Outcome& outcome) {
    Messages messages = split(bytes, size_of(op), static_cast<std::size_t>(op.args[2]));
    const int count = ::sendmmsg(fd,
                                 messages.headers.data(),
                                 static_cast<unsigned>(messages.headers.size()),
                                 static_cast<int>(op.args[1]));
    for (int i = 0; i < count; ++i) {
        outcome.add_extra(messages.headers[static_cast<std::size_t>(i)].msg_len);
    }
    return count;
}

std::int64_t send_call(State& state, int fd, const Op& op, Outcome& outcome) {
    const std::size_t size = size_of(op);
    const int flags = static_cast<int>(op.args[1]);
    const auto parts = static_cast<std::size_t>(op.args[2]);
    if (op.verb == Verb::sendfile) {
        return send_file(state, fd, op);
    }
    if (op.verb == Verb::splice_out) {
        return splice_out(state, fd, op);
    }
    char* bytes = fill(state, size);
    std::vector<iovec> vector = cut(bytes, size, parts);
    msghdr header{};
    header.msg_iov = vector.data();
    header.msg_iovlen = vector.size();
    sockaddr_in nowhere{};
    nowhere.sin_family = AF_INET;
    switch (op.verb) {
    case Verb::write:
        return ::write(fd, bytes, size);
    case Verb::writev:
        return ::writev(fd, vector.data(), static_cast<int>(vector.size()));
    case Verb::sendto:
        return ::sendto(
            fd, bytes, size, flags, reinterpret_cast<sockaddr*>(&nowhere), sizeof nowhere);
    case Verb::sendmsg:
        return ::sendmsg(fd, &header, flags);
    case Verb::sendmmsg:
        return send_messages(fd, op, bytes, outcome);
    case Verb::pwritev2:
        return ::pwritev2(fd, vector.data(), static_cast<int>(vector.size()), op.args[1], 0);
    default:
        return ::send(fd, bytes, size, flags);
    }
}

std::int64_t receive_call(State& state, int fd, const Op& op, Outcome& outcome) {
    const std::size_t size = size_of(op);
    const int flags = static_cast<int>(op.args[1]);
    char* bytes = memory().data();
    std::vector<iovec> vector = cut(bytes, size, static_cast<std::size_t>(op.args[2]));
    switch (op.verb) {
    case Verb::read:
        return ::read(fd, bytes, size);
    case Verb::readv:
        return ::readv(fd, vector.data(), static_cast<int>(vector.size()));
    case Verb::recvfrom: {
        sockaddr_storage from{};
        socklen_t length = sizeof from;
        const ssize_t n =
            ::recvfrom(fd, bytes, size, flags, reinterpret_cast<sockaddr*>(&from), &length);
        outcome.add_extra(length);
        return n;
    }
    case Verb::recvmsg:
        return receive_message(fd, op, bytes, outcome);
    case Verb::recvmmsg:
        return receive_messages(fd, op, bytes, outcome);
    case Verb::preadv2:
        return ::preadv2(fd, vector.data(), static_cast<int>(vector.size()), op.args[1], 0);
    case Verb::splice_in:
        return splice_in(state, fd, op, outcome);
    default:
        return ::recv(fd, bytes, size, flags);
    }
}

/// The planted difference: a send with SO_KEEPALIVE claims a byte less. Only for the tester's own
/// test.
bool canary_sings(int fd) {
    const char* wish = std::getenv("DIFF_CANARY");
    int alive = 0;
    socklen_t length = sizeof alive;
    return wish != nullptr && *wish == '1' &&
           ::getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &alive, &length) == 0 && alive != 0;
}

} // namespace

void run_send(State& state, const Op& op, Outcome& outcome) {
    outcome.value = send_call(state, state.slots[op.slot], op, outcome);
    outcome.error = outcome.value == -1 ? errno : 0;
    if (outcome.value > 0 && canary_sings(state.slots[op.slot])) {
        --outcome.value;
    }
}

void run_receive(State& state, const Op& op, Outcome& outcome) {
    std::fill(memory().begin(), memory().begin() + static_cast<std::ptrdiff_t>(size_of(op)), '.');
    outcome.value = receive_call(state, state.slots[op.slot], op, outcome);
    outcome.error = outcome.value == -1 ? errno : 0;
    if (op.verb == Verb::recvmmsg) { // the value counts messages
        taken(outcome, memory().data(), outcome.value > 0 ? op.args[0] : 0);
    } else if (op.verb != Verb::splice_in) {
        taken(outcome, memory().data(), outcome.value);
    }
}

} // namespace smcd::diff
